"""The id of each request, the line that production writes about it, and that no secret gets into any line."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from rq import Queue
from sqlalchemy import update
from structlog.contextvars import bound_contextvars, clear_contextvars

from ghibli_flask import queueing
from ghibli_flask.database import transaction
from ghibli_flask.extensions import runtime, worker_redis
from ghibli_flask.masking import ADDRESSES, MASKED, WHOLE, Mask
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import repair
from ghibli_flask.settings import Settings
from jobs.application_worker import ApplicationWorker
from tests.support.checkout import ROOT, offline_env
from tests.support.visitor import Visitor

MADE_HERE = re.compile(r"[0-9a-f]{16}")
SECRET = 'quoted"and\\slashed-and-ümläuted-4711'
TOKEN = "a-token-of-a-mailed-link-which-is-long"


@pytest.fixture(autouse=True)
def nothing_bound() -> Iterator[None]:
    """Leave no id behind for the next test on this thread."""
    yield
    clear_contextvars()


@pytest.fixture
def json_client(app_factory: Callable[..., Flask]) -> Iterator[Callable[..., FlaskClient]]:
    """Make a visitor of an application that writes JSON; to be called in the test, so that `capfd` has the lines."""

    def make(**settings: Any) -> FlaskClient:
        return app_factory(log_format="json", admin_api_key=SECRET, **settings).test_client()

    yield make
    app_factory()  # The next one on this process writes as usual.


def told(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines that were written since the last look."""
    return [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]


# --- The id ---


def test_each_answer_has_an_id_of_its_own(client: FlaskClient) -> None:
    """Every answer carries an id that was made for it; without a proxy of ours what the visitor sends is not taken."""
    ids = [client.get("/health", headers={"X-Request-ID": "chosen-by-me"}).headers["X-Request-ID"] for _ in range(3)]
    assert all(MADE_HERE.fullmatch(one) for one in ids)
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("sent", "is_taken"),
    [("0123456789abcdef0123456789abcdef", True), ("short", False), ("with blanks in it", False), ("x" * 65, False)],
)
def test_the_id_of_our_proxy_is_taken_when_it_is_sane(
    app_factory: Callable[..., Flask], sent: str, is_taken: bool
) -> None:
    """Behind a proxy of ours the id is the proxy's, unless it is nothing that belongs into a log."""
    answer = app_factory(trusted_proxies=1).test_client().get("/health", headers={"X-Request-ID": sent})
    assert (answer.headers["X-Request-ID"] == sent) is is_taken


def test_an_error_tells_its_id(client: FlaskClient) -> None:
    """A page shows the id in small print and a program gets it as requestId, each the one of the header."""
    page = client.get("/no-such-page")
    assert f"request {page.headers['X-Request-ID']}</p>" in page.get_data(as_text=True)
    problem = client.get("/api/no-such-route")
    assert problem.get_json()["requestId"] == problem.headers["X-Request-ID"]


def test_a_ring_carries_the_id_of_whoever_rang(app: Flask) -> None:
    """The job of an order has the id of its request; one that the sweep rings for has the sweep's."""
    visitor = Visitor(app)
    answer = visitor.order()
    task_id = answer.get_json()["taskId"]
    clear_contextvars()
    with app.app_context():
        queue = queueing.paint_queue()
        assert queue.fetch_job(f"{task_id}-1").meta == {"request_id": answer.headers["X-Request-ID"]}
        queue.empty()
        run_later(task_id)
        assert repair.sweep().rung == 1
        caller = queue.fetch_job(f"{task_id}-2").meta["request_id"]
    assert re.fullmatch(r"sweep-[0-9a-f]{8}", caller)


def run_later(task_id: str) -> None:
    """Let a task have waited for a minute."""
    then = runtime().clock.now() - timedelta(minutes=1)
    waiting = update(ImageTask).where(ImageTask.public_id == task_id).values(queued_at=then)
    transaction(lambda session: session.execute(waiting))


# --- The line ---


def test_a_request_is_one_line(json_client: Callable[..., FlaskClient], capfd: pytest.CaptureFixture[str]) -> None:
    """Method, route, path without query, status, seconds, bytes and the id, as one JSON object."""
    answer = json_client().get("/api/poll-task?taskId=not-for-the-log")
    (line,) = told(capfd)
    assert 0 < line.pop("seconds") < 30
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "ghibli_flask.requests",
        "request_id": answer.headers["X-Request-ID"],
        "method": "GET",
        "route": "/api/poll-task",
        "path": "/api/poll-task",
        "status": 404,
        "bytes": len(answer.data),
    }


def test_a_path_holds_no_token(json_client: Callable[..., FlaskClient], capfd: pytest.CaptureFixture[str]) -> None:
    """The token of a mailed link is cut out of its path, also where the address is misspelt or asked in another way."""
    client = json_client()
    client.get(f"/auth/reset/{TOKEN}")
    client.get(f"/auth/reset/{TOKEN}/")
    client.put(f"/auth/confirm/{TOKEN}")
    lines = [line for line in told(capfd) if line["event"] == "request"]
    assert [line["path"] for line in lines] == ["/auth/reset/…", "/auth/reset/…/", "/auth/confirm/…"]
    assert TOKEN not in json.dumps(lines)


def test_a_task_in_the_path_is_bound_and_nothing_else(
    json_client: Callable[..., FlaskClient], capfd: pytest.CaptureFixture[str]
) -> None:
    """A task's id in the address stands in every line of its request; what is no id, such as a line end, does not."""
    client = json_client()
    client.get("/api/image/0123456789abcdef0123456789abcdef")
    client.get("/api/image/forged%0A2026-11-22T00:00:00")
    assert [line.get("task_id") for line in told(capfd)] == ["0123456789abcdef0123456789abcdef", None]


def test_watchers_and_people_are_spared(
    json_client: Callable[..., FlaskClient], app_factory: Callable[..., Flask], capfd: pytest.CaptureFixture[str]
) -> None:
    """What is asked every few seconds has a line at DEBUG alone, and a console for people has none."""
    json_client().get("/health")
    assert told(capfd) == []
    json_client(log_level="DEBUG").get("/health")
    assert [line["route"] for line in told(capfd) if line["event"] == "request"] == ["/health"]
    app_factory(log_format="console").test_client().get("/help")
    assert "/help" not in capfd.readouterr().err


def test_a_request_forgets_the_one_before(
    json_client: Callable[..., FlaskClient], capfd: pytest.CaptureFixture[str]
) -> None:
    """On a thread that serves many, nothing that one request has bound stands in the lines of the next."""
    client = json_client()
    client.get("/api/image/0123456789abcdef0123456789abcdef")
    with bound_contextvars(left="over"):
        client.get("/help")
    assert [sorted(line.keys() & {"task_id", "left"}) for line in told(capfd)] == [["task_id"], []]


# --- Secrets ---


def test_every_hidden_setting_is_masked() -> None:
    """Whatever setting hides its value from its own representation is one that the mask takes out, and so by itself."""
    hidden = {name for name, field in Settings.model_fields.items() if not field.repr}
    assert hidden == {*WHOLE, *ADDRESSES}


@pytest.mark.parametrize("form", [str, json.dumps, repr, lambda text: json.dumps(text, ensure_ascii=False)])
def test_a_secret_is_known_in_every_dress(form: Callable[[str], str]) -> None:
    """Characters that JSON, Python or an address write otherwise hide no secret from the mask."""
    mask = Mask(Settings(_env_file=None, admin_api_key=SECRET))
    assert mask(form(SECRET)).strip("\"'") == MASKED
    assert mask(f"/path?key={quote(SECRET)}&again={quote(SECRET, safe='')}") == f"/path?key={MASKED}&again={MASKED}"


def test_every_secret_is_masked_in_every_line(
    app_factory: Callable[..., Flask], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With all secrets set: lines as JSON and for people, files, a request's path, and tracebacks hold none of them."""
    secrets = {name: f"{name}-{SECRET}" for name in WHOLE if name not in {"alert_webhook_url", "sentry_dsn"}}
    many = {name: (value,) for name, value in secrets.items() if name in {"secret_key", "hugging_face_tokens"}}
    for form in ("json", "console"):
        app = app_factory(
            log_format=form,
            log_dir=tmp_path / form,
            alert_webhook_url=f"https://hooks.example.org/{'w' * 20}",
            mail_url="smtp://post:mail-password-4711@mail.example.org:587",
            **{**secrets, **many},
        )
        everything = [*secrets.values(), f"https://hooks.example.org/{'w' * 20}", "mail-password-4711"]
        for value in everything:
            logging.getLogger("jobs.paint").error("said %s and %r", value, {"key": value})
            try:
                raise ValueError(value)
            except ValueError:
                logging.getLogger("gunicorn.error").exception("broke")
            app.test_client().get("/no/such/page/" + value.replace("/", "-"))
        written = capfd.readouterr().err + "".join(path.read_text() for path in (tmp_path / form).iterdir())
        assert MASKED in written
        forms = {dress for value in everything for dress in (value, json.dumps(value)[1:-1], repr(value)[1:-1])}
        assert [dress for dress in forms if dress in written] == []
    app_factory()


def fail_telling(secret: str) -> None:
    """A job whose failure tells a secret."""
    raise ValueError(f"no use for {secret}")


def test_a_failed_job_is_kept_without_secrets(app_factory: Callable[..., Flask]) -> None:
    """The traceback that RQ keeps in Redis for a day is masked, and the job's lines carry its caller's id."""
    app = app_factory(admin_api_key="correct-horse-battery-staple-4711")
    with app.app_context():
        redis = worker_redis(runtime().settings.redis_address)
        queue = Queue("ghibli-maintenance", connection=redis)
        job = queue.enqueue(fail_telling, "correct-horse-battery-staple-4711", meta={"request_id": "of-a-request"})
        ApplicationWorker(app, queue, "a-worker").work(burst=True, logging_level="WARNING")
        result = job.latest_result()
        redis.close()
    assert result is not None
    assert "ValueError: no use for [masked]" in str(result.exc_string)
    assert "correct-horse" not in str(result.exc_string)


UNCAUGHT = """
import sys, threading
from pathlib import Path
from ghibli_flask.factory import create_app
from ghibli_flask.logs import log_uncaught
from ghibli_flask.settings import Settings

secret = "correct-horse-battery-staple-4711"
create_app(Settings(_env_file=None, instance_dir=Path(sys.argv[1]), admin_api_key=secret, log_format="json"))
log_uncaught()

def breaks():
    raise ValueError("no use for " + secret)

thread = threading.Thread(target=breaks)
thread.start()
thread.join()
breaks()
"""


def test_what_nobody_caught_is_logged_without_secrets(tmp_path: Path) -> None:
    """An error that ends a thread, or the process, is a line of the log and masked like any other."""
    command = [sys.executable, "-c", UNCAUGHT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=offline_env(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["This was caught by nobody"] * 2
    assert all("no use for [masked]" in line["exception"] for line in lines)
