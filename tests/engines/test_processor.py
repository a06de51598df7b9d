"""The processor engine against a stand-in of an outside processor, written from this project's own docs/api.md."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from ghibli_flask.mailbox import Mailbox, Report
from jobs.engines import processor
from jobs.engines.base import (
    CONNECTING,
    DOWNLOADING,
    PAINTING,
    WAITING_FOR_GPU,
    CredentialRejected,
    Deadline,
    DeadlinePassed,
    EngineBroken,
    EngineBusy,
    EngineError,
    News,
    PaintingCancelled,
    QuotaExhausted,
    RequestRejected,
)
from jobs.engines.processor import ProcessorEngine
from scripts.processes import wait_until
from tests.engines.conftest import AT_ONCE_S, listening_stranger, paint, photo
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

SECRET = "the-long-secret-of-outside-processors"
REFERENCE = f"{'a' * 32}-3"
PICTURE = photo(640, 512)
DONE = (200, {"status": "SUCCESS", "urls": [f"/api/image/{REFERENCE}"]})
UNKNOWN = (404, {"code": "not_found"})


@dataclass
class FarSide:
    """What an outside processor answers and what it was asked: each list is used up but for its last answer.

    An answer is (status, JSON object or bytes), or None for a connection that is closed without a word.
    """

    url: str = ""
    process: list[Any] = field(default_factory=lambda: [(200, {"received": True})])
    polls: list[Any] = field(default_factory=lambda: [DONE])
    image: list[Any] = field(default_factory=lambda: [(200, PICTURE)])
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    heard: dict[str, threading.Event] = field(default_factory=dict)

    def answer(self, method: str, target: str, authorization: str | None, body: bytes) -> Any:
        """The answer to one request, by docs/api.md: without the secret nothing is known."""
        path = urlsplit(target).path
        self.asked.append((method, target, json.loads(body) if body else None))
        if event := self.heard.get(path):
            event.set()
        if path == "/health":
            return 200, {"status": "ok"}
        if authorization != f"Bearer {SECRET}":
            return 401, {"code": "unauthorized"}
        answers = {
            "/api/poll-task": self.polls,
            f"/api/image/{REFERENCE}": self.image,
            f"/process/{REFERENCE}": self.process,
            f"/api/tasks/{REFERENCE}/cancel": [(200, {"status": "CANCELLED"})],
        }.get(path, [UNKNOWN])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def paths(self) -> list[str]:
        """Which paths were asked for."""
        return [urlsplit(target).path for _method, target, _body in self.asked]


@pytest.fixture
def far() -> Iterator[FarSide]:
    """A processor that takes everything and has its picture at once, unless a test says otherwise."""
    side = FarSide()

    class Handler(BaseHTTPRequestHandler):
        """Hands each request to the processor."""

        def do_GET(self) -> None:
            """Answer a question."""
            self.reply()

        def do_POST(self) -> None:
            """Take an order or a cancel."""
            self.reply()

        def reply(self) -> None:
            """Send the processor's answer, or hang up."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = side.answer(self.command, self.path, self.headers.get("Authorization"), body)
            if answer is None:
                return
            status, content = answer
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **side.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    side.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield side
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def box(redis_server: RedisServer) -> Iterator[Mailbox]:
    """Where reports arrive, in a real Redis."""
    with redis.Redis.from_url(redis_server.url, socket_timeout=5, retry=None) as client:
        yield Mailbox(client, "ghibli")
    redis_server.empty()


def engine(far: FarSide, box: Mailbox | None = None, **options: Any) -> ProcessorEngine:
    """The engine, asking often enough for a test."""
    return ProcessorEngine(far.url, box, **{"ask_every_s": 0.02, **options})


def ask(far: FarSide, box: Mailbox | None = None, **changes: Any) -> bytes:
    """Have one picture painted with the right secret."""
    return paint(engine(far, box), **{"credential": SECRET, "reference": REFERENCE, **changes})


def fails(far: FarSide, kind: type[EngineError], box: Mailbox | None = None, **changes: Any) -> EngineError:
    """A painting that comes to nothing, in exactly this way."""
    with pytest.raises(EngineError) as raised:
        ask(far, box, **changes)
    assert type(raised.value) is kind
    assert SECRET not in str(raised.value)
    return raised.value


def waiting_for(far: FarSide, path: str) -> threading.Event:
    """An event that is set when this path is asked for."""
    return far.heard.setdefault(path, threading.Event())


def later(action: Callable[[], object], after: threading.Event) -> threading.Thread:
    """Do this in a thread once the event has come."""

    def run() -> None:
        assert after.wait(10)
        action()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


# --- Asking ---


def test_a_picture_is_handed_out_and_fetched(far: FarSide) -> None:
    """The processor gets the documented fields under the attempt's name, and its picture comes back as it is."""
    assert ask(far) == PICTURE
    assert far.paths() == [f"/process/{REFERENCE}", "/api/poll-task", f"/api/image/{REFERENCE}"]
    _method, _target, body = far.asked[0]
    assert {name: body[name] for name in ("prompt", "height", "width", "seed")} == {
        "prompt": "Ghibli Studio style", "height": 256, "width": 320, "seed": 42,
    }  # fmt: skip
    assert base64.b64decode(body["imageBase64"]) == photo()
    assert body.keys() == {"prompt", "height", "width", "seed", "imageBase64"}
    assert far.asked[1][1] == f"/api/poll-task?taskId={REFERENCE}"


def test_the_news_are_passed_on(far: FarSide) -> None:
    """Waiting with its rank, painting with its part, fetching: in the engine's own words and in this order."""
    far.polls = [
        (200, {"status": "PENDING", "stage": "queued", "queuePosition": 4, "progress": 0}),
        (200, {"status": "PROCESSING", "stage": "waiting_for_gpu", "progress": 20}),
        (200, {"status": "PROCESSING", "stage": "painting", "progress": 50}),
        (200, {"status": "PROCESSING", "stage": "in others' words"}),
        DONE,
    ]
    news: list[News] = []
    ask(far, news=news)
    assert list(dict.fromkeys(item.stage for item in news)) == [CONNECTING, WAITING_FOR_GPU, PAINTING, DOWNLOADING]
    assert next(item.fraction for item in news if item.stage == PAINTING) == 0.5


def test_it_asks_every_two_seconds() -> None:
    """Where nothing else is said, two seconds lie between two questions."""
    assert ProcessorEngine("http://127.0.0.1:1").ask_every_s == 2.0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((401, {"code": "unauthorized"}), CredentialRejected),
        ((402, {"code": "no_credits"}), EngineBroken),
        ((404, {"code": "not_found"}), EngineBroken),
        ((409, {"code": "conflict"}), EngineBroken),
        ((413, {"code": "too_large"}), RequestRejected),
        ((415, {"code": "not_a_picture"}), RequestRejected),
        ((422, {"code": "invalid_fields"}), RequestRejected),
        ((429, {"code": "too_many_requests"}), EngineBusy),
        ((500, b"<html>"), EngineBroken),
        ((503, {"code": "queue_full"}), EngineBusy),
        ((302, b""), EngineBroken),
    ],
)
def test_a_refusal_says_what_to_do(far: FarSide, answer: Any, kind: type[EngineError]) -> None:
    """Each status of POST /process has its error, and nothing more is asked after it."""
    far.process = [answer]
    fails(far, kind)
    assert far.paths() == [f"/process/{REFERENCE}"]


def test_a_busy_processor_names_its_time(far: FarSide) -> None:
    """`Retry-After` of a 503 is how long to wait."""
    far.process, far.headers = [(503, {"code": "queue_full"})], {"Retry-After": "17"}
    error = fails(far, EngineBusy)
    assert isinstance(error, EngineBusy)
    assert error.retry_after == 17


def test_a_lost_answer_may_be_sent_again(far: FarSide) -> None:
    """A hand-over whose answer was lost is worth one more try, because a repeat does nothing there."""
    far.process = [None]
    error = fails(far, EngineBusy)
    assert isinstance(error, EngineBusy)
    assert error.retries == 1


def test_nobody_there() -> None:
    """A processor that cannot be reached is busy for one more try; the check says so too."""
    away = FarSide(url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(EngineBusy):
        ask(away)
    with pytest.raises(EngineBusy):
        engine(away).check(credential=SECRET, deadline=Deadline(2))


def test_the_check_costs_nothing(far: FarSide) -> None:
    """The check asks for /health alone, without the secret; a processor that knows no such address is there too."""
    assert engine(far).check(credential=None, deadline=Deadline(2)) == f"{far.url} answers"
    assert far.paths() == ["/health"]


@pytest.mark.parametrize("ended", ["FAILED", "CANCELLED"])
def test_a_task_that_ended_badly(far: FarSide, ended: str) -> None:
    """A processor whose task failed or was cancelled is broken: the next engine has its chance."""
    far.polls = [(200, {"status": ended, "error": f"no paint left, said {SECRET}"})]
    assert "no paint left" in fails(far, EngineBroken).safe_text


def test_an_original_is_no_painting(far: FarSide) -> None:
    """A processor that gives the photograph back for want of quota has no quota."""
    far.polls = [(200, {**DONE[1], "code": "quota", "note": "Using original image due to GPU quota exceeded"})]
    fails(far, QuotaExhausted)
    assert f"/api/image/{REFERENCE}" not in far.paths()


@pytest.mark.parametrize("miss", [(500, b""), None])
def test_a_processor_that_stumbles_is_asked_again(far: FarSide, miss: Any) -> None:
    """Some questions may go unanswered; after too many in a row the processor counts as gone."""
    far.polls = [miss] * (processor.MOST_MISSES - 1) + [DONE]
    assert ask(far) == PICTURE
    far.polls = [miss]
    assert "lost from sight" in fails(far, EngineBroken).safe_text


def test_the_picture_is_fetched_from_the_processor_alone(far: FarSide) -> None:
    """An address elsewhere is not asked, by whatever trick it is written: the secret would travel along."""
    with listening_stranger() as stranger:
        port = urlsplit(far.url).port
        for url in (
            f"http://127.0.0.1:{stranger.port}/a.png",
            f"//127.0.0.1:{stranger.port}/a.png",
            f"http://127.0.0.1:{port}@127.0.0.1:{stranger.port}/a.png",
            f"http://127.0.0.1:{port}.example/a.png",
        ):
            far.polls = [(200, {"status": "SUCCESS", "urls": [url]})]
            assert "another address" in fails(far, EngineBroken).safe_text
        far.polls, far.image = [DONE], [(302, b"")]
        far.headers = {"Location": f"http://127.0.0.1:{stranger.port}/a.png"}
        fails(far, EngineBroken)
        assert stranger.visits == 0


@pytest.mark.parametrize("urls", [None, [], [7], {}])
def test_a_success_without_a_picture(far: FarSide, urls: Any) -> None:
    """A success that names no picture is no success."""
    far.polls = [(200, {"status": "SUCCESS", "urls": urls})]
    fails(far, EngineBroken)


def test_a_picture_beyond_all_bounds(far: FarSide) -> None:
    """A picture of more bytes than allowed is not read to its end."""
    far.image = [(200, b"x" * 100_001)]
    with pytest.raises(EngineBroken):
        paint(engine(far, max_result_bytes=100_000), credential=SECRET, reference=REFERENCE)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"mode": "text-to-image", "image": None}, RequestRejected),
        ({"image": None}, RequestRejected),
        ({"reference": ""}, RequestRejected),
        ({"credential": None}, CredentialRejected),
        ({"credential": "two\nlines"}, CredentialRejected),
    ],
)
def test_what_is_not_handed_out(far: FarSide, changes: dict[str, Any], kind: type[EngineError]) -> None:
    """Words alone, what came from outside itself, and a secret that fits no header never leave this machine."""
    fails(far, kind, **changes)
    assert far.asked == []


# --- Cancel and deadline ---


def test_a_cancelled_painting_is_cancelled_outside(far: FarSide) -> None:
    """A cancel ends the call at once and tells the processor, with the secret."""
    far.polls = [(200, {"status": "PROCESSING", "progress": 30})]
    begun = waiting_for(far, "/api/poll-task")
    fails(far, PaintingCancelled, is_cancelled=begun.is_set)
    assert far.paths()[-1] == f"/api/tasks/{REFERENCE}/cancel"


def test_a_deadline_ends_the_call(far: FarSide) -> None:
    """When the time is over the call ends within two seconds, and the processor is told."""
    far.polls = [(200, {"status": "PENDING"})]
    began_at = time.monotonic()
    fails(far, DeadlinePassed, seconds=0.5)
    assert time.monotonic() - began_at < 0.5 + 2 * AT_ONCE_S
    assert far.paths()[-1] == f"/api/tasks/{REFERENCE}/cancel"


# --- Reports ---


def test_a_reported_picture_is_taken(far: FarSide, box: Mailbox) -> None:
    """A processor that knows no poll reports its picture, and that is the answer; afterwards the box is closed."""
    far.polls = [UNKNOWN]
    begun = waiting_for(far, "/api/poll-task")
    news: list[News] = []

    def report() -> None:
        assert box.is_open(REFERENCE)
        box.drop_in(REFERENCE, Report("processing", 40, "painting"))
        assert wait_until(lambda: any(item.stage == PAINTING for item in news), 10)
        box.drop_in(REFERENCE, Report("completed", 100, picture=PICTURE))

    thread = later(report, begun)
    assert ask(far, box, news=news) == PICTURE
    thread.join()
    assert [item.fraction for item in news if item.stage == PAINTING] == [0.4]
    assert not box.is_open(REFERENCE)
    assert box.picture_of(REFERENCE) is None


def test_a_reported_failure_ends_the_call(far: FarSide, box: Mailbox) -> None:
    """A processor that reports its failure is broken, and the next engine has its chance."""
    far.polls = [UNKNOWN]
    thread = later(lambda: box.drop_in(REFERENCE, Report("failed", 0)), waiting_for(far, "/api/poll-task"))
    fails(far, EngineBroken, box)
    thread.join()


def test_the_first_ending_stands(far: FarSide, box: Mailbox) -> None:
    """A failure reported after the picture changes nothing, and neither does a late progress."""
    far.polls = [UNKNOWN]

    def report() -> None:
        for told in (Report("completed", 100, picture=PICTURE), Report("failed", 0), Report("processing", 1)):
            box.drop_in(REFERENCE, told)

    thread = later(report, waiting_for(far, f"/process/{REFERENCE}"))
    assert ask(far, box) == PICTURE
    thread.join()


def test_without_redis_it_asks(far: FarSide, redis_server: RedisServer) -> None:
    """With Redis away no report is heard, and the picture comes by asking all the same."""
    redis_server.stop()
    try:
        with redis.Redis.from_url(redis_server.url, socket_timeout=0.5, retry=None) as client:
            assert ask(far, Mailbox(client, "ghibli")) == PICTURE
    finally:
        redis_server.empty()
