"""What leaves a process in words: the three log files, what is masked in them, and Sentry."""

import itertools
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from flask import Flask

from ghibli_flask.extensions import runtime
from ghibli_flask.masking import ADDRESSES, WHOLE, Mask
from ghibli_flask.services import alerts
from ghibli_flask.services.alerts import Cause
from ghibli_flask.settings import Settings
from tests.support.checkout import ROOT, offline_env
from tests.support.http_sink import Sink, http_sink

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 \[([^]]+)\] (.*)$")
SECRET = "correct-horse-battery-staple-4711"


@pytest.fixture
def folder(app_factory: Callable[..., Flask], tmp_path: Path) -> Iterator[Path]:
    """The log folder of an application that was just made."""
    app_factory(log_dir=tmp_path / "log", admin_api_key=SECRET)
    yield tmp_path / "log"
    app_factory()  # Takes the handlers to another folder.


def lines(folder: Path, name: str) -> list[tuple[str, str]]:
    """Context and message of each line of a file; a line of another form fails."""
    path = folder / name
    found = [LINE.match(line) for line in path.read_text().splitlines()] if path.exists() else []
    assert all(found), path.read_text()
    return [match.groups() for match in found if match]


def test_each_line_goes_to_its_file(folder: Path) -> None:
    """The monitor's lines, the painting's lines and everybody's errors have a file each, and nothing else has."""
    logging.getLogger("ghibli_flask.services.repair").info("swept")
    logging.getLogger("jobs.engines.gradio").info("painted")
    logging.getLogger("ghibli_flask.api.orders").error("broken")
    logging.getLogger("jobs.paint").error("failed")
    logging.getLogger("jobs.paintings").info("a name that only begins alike")
    assert lines(folder, "task-monitor.log") == [("services.repair", "swept")]
    assert lines(folder, "task-processor.log") == [("jobs.engines.gradio", "painted"), ("jobs.paint", "failed")]
    assert lines(folder, "errors.log") == [("api.orders", "broken"), ("jobs.paint", "failed")]


def test_the_context_names_the_task(folder: Path) -> None:
    """What is bound to the present work stands in the brackets."""
    with structlog.contextvars.bound_contextvars(task="abc"):
        logging.getLogger("jobs.paint").info("begun")
    assert lines(folder, "task-processor.log") == [("jobs.paint task=abc", "begun")]


def test_no_line_can_be_forged_and_no_secret_is_written(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Line ends inside of a message are shown as such; secrets are masked, in tracebacks and on the console too."""
    logging.getLogger("jobs.paint").error("a\n2026-01-01T00:00:00.000+00:00 [jobs.paint] %s", SECRET)
    assert [message for _context, message in lines(folder, "errors.log")] == [
        "a\\n2026-01-01T00:00:00.000+00:00 [jobs.paint] [masked]"
    ]
    try:
        raise ValueError(f"Bearer {SECRET}")
    except ValueError:
        logging.getLogger("jobs.paint").exception("it broke")
    assert SECRET not in capfd.readouterr().err
    text = (folder / "errors.log").read_text()
    assert "\n  ValueError: Bearer [masked]" in text
    assert SECRET not in text


def test_a_moved_file_is_opened_anew(folder: Path) -> None:
    """After a rotation the next line goes to a new file, and the old one keeps what it had."""
    log = logging.getLogger("jobs.paint")
    log.info("before")
    (folder / "task-processor.log").rename(folder / "task-processor.log.1")
    log.info("after")
    assert [message for _context, message in lines(folder, "task-processor.log.1")] == ["before"]
    assert [message for _context, message in lines(folder, "task-processor.log")] == ["after"]


def test_a_folder_that_is_gone_fails_nobody(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A log file that cannot be written costs its line and nothing else."""
    folder.rename(tmp_path / "elsewhere")
    logging.getLogger("jobs.paint").error("nowhere to go")
    assert "Traceback" not in capfd.readouterr().err


def test_a_folder_that_cannot_be_made_fails_nobody(app_factory: Callable[..., Flask], tmp_path: Path) -> None:
    """Without a log folder the application starts, and says so on the console."""
    (tmp_path / "file").write_text("")
    app = app_factory(log_dir=tmp_path / "file/log")
    assert app.test_client().get("/health").status_code == 200


def test_many_processes_write_whole_lines(tmp_path: Path) -> None:
    """Four processes that write to one file at once leave every line whole."""
    code = (
        "import logging, sys; from pathlib import Path; from ghibli_flask.log_files import open_log_files;"
        "from ghibli_flask.masking import Mask; from ghibli_flask.settings import Settings;"
        "log = logging.getLogger('jobs.paint'); log.setLevel('INFO'); log.propagate = False;"
        "[log.addHandler(h) for h in open_log_files(Path(sys.argv[1]), Mask(Settings(_env_file=None)))];"
        "[log.info('x' * 500) for _ in range(300)]"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, env=offline_env()) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert [message for _context, message in lines(tmp_path, "task-processor.log")] == ["x" * 500] * 1200


def test_every_secret_setting_is_masked() -> None:
    """Each setting whose name says that it is a secret is one that the mask knows, and its value is taken out."""
    says_secret = re.compile(r"(secret|_key|key_id|token|password|dsn|webhook)")
    named = {name for name in Settings.model_fields if says_secret.search(name)}
    assert named - {*WHOLE, *ADDRESSES} == {"gradio_token_hosts"}
    values = {"mysql_password": SECRET, "redis_url": "redis://:p%40ssword-of-redis@host:6379/0", "mysql_user": "root"}
    mask = Mask(Settings(_env_file=None, **values))
    assert mask(f"{SECRET}, p%40ssword-of-redis and p@ssword-of-redis, root") == "[masked], [masked] and [masked], root"


# --- Sentry ---

SENTRY = """
import logging, sys
from pathlib import Path
import sentry_sdk
from flask import request
from ghibli_flask.factory import create_app
from ghibli_flask.services import alerts
from ghibli_flask.settings import Settings

secret = "correct-horse-battery-staple-4711"
app = create_app(Settings(_env_file=None, instance_dir=Path(sys.argv[1]), sentry_dsn=sys.argv[2], admin_api_key=secret))

@app.get("/breaks/<token>/<task_id>")
def breaks(token, task_id):
    local = secret
    raise ValueError("no use for " + secret)

cookie = {"Cookie": "session=cookie-of-a-visitor"}
app.test_client().get("/breaks/mailed-link-token/task-4711?q=wanted-words", headers=cookie)
with app.app_context():
    alerts.raise_alert("full_disk", "0.5 GB free, " + secret)
    alerts.mended("full_disk")
sentry_sdk.flush(10)
"""


def events(sink: Sink) -> list[dict[str, object]]:
    """The events among what Sentry was sent; an envelope holds a line of headers before each item."""
    found = []
    for body in sink.bodies:
        rows = [json.loads(row) for row in body.splitlines() if row]
        found += [item for head, item in itertools.pairwise(rows[1:]) if head.get("type") == "event"]
    return found


def test_sentry_is_told_without_secrets(tmp_path: Path) -> None:
    """An error of a request and an alert reach Sentry, once each: without secrets, cookies, links, local variables."""
    with http_sink() as sink:
        command = [sys.executable, "-c", SENTRY, str(tmp_path), f"http://public-part@127.0.0.1:{sink.port}/1"]
        done = subprocess.run(command, cwd=ROOT, env=offline_env(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = events(sink)
    exceptions = [event for event in told if "exception" in event]
    assert len(exceptions) == 1
    assert exceptions[0]["transaction"] == "breaks"
    assert re.fullmatch(r"[0-9a-f]{16}", exceptions[0]["tags"]["request_id"])
    assert exceptions[0]["tags"]["task_id"] == "task-4711"
    assert exceptions[0]["exception"]["values"][-1]["value"] == "no use for [masked]"
    messages = [event for event in told if event.get("fingerprint") == ["alert", "full_disk"]]
    assert [(event["level"], str(event["message"])[:17]) for event in messages] == [
        ("error", "Alert: full disk:"),
        ("info", "Mended: full disk"),
    ]
    sent = "\n".join(sink.bodies)
    for private in (SECRET, "mailed-link-token", "cookie-of-a-visitor", "wanted-words"):
        assert private not in sent, private


def test_without_sentry_nothing_is_sent(app: Flask) -> None:
    """Without SENTRY_DSN an alert is written to the log and goes nowhere else."""
    with app.app_context():
        assert runtime().settings.sentry_dsn is None
        assert alerts.raise_alert(Cause.FULL_DISK, "0.5 GB free")
