"""A visitor who orders and asks how it goes, over one connection that is kept: the load of `make bench`.

It speaks HTTP by http.client, which costs a fifth of a millisecond a request: what is measured shares the cores.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection

from bench.site import HOST, Site
from scripts.processes import LOOPBACK

BOUNDARY = "a-line-between-the-parts"
PATIENCE_S = 300.0
IDLE_S = 1.0
"""A connection that lay still for so long is opened anew: gunicorn closes it after two seconds."""
WAITING = frozenset({"PENDING", "PROCESSING"})


class RefusedError(Exception):
    """The site gave another answer than the case needs; the text is the answer.

    `retry_after_s` is set when the site is busy and says when to come again.
    """

    def __init__(self, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s


@dataclass
class Order:
    """One order and its moments, in seconds of the monotonic clock that the Space writes down too."""

    task: str
    mark: str
    sent_at: float
    accepted_at: float
    next_poll_ms: int
    done_at: float = 0.0
    state: str = "PENDING"
    polls: int = 0
    turned_away: int = 0

    @property
    def accept_s(self) -> float:
        """From the first byte of the order to its acceptance."""
        return self.accepted_at - self.sent_at

    @property
    def seconds(self) -> float:
        """From the first byte of the order to the last of the picture."""
        return self.done_at - self.sent_at


@dataclass
class Visitor:
    """One browser with its cookies and an address of its own, as nginx would tell it."""

    site: Site
    number: int
    cookies: dict[str, str] = field(default_factory=dict)
    token: str = ""

    def __post_init__(self) -> None:
        self._connection = HTTPConnection(LOOPBACK, self.site.port, timeout=PATIENCE_S)
        self._used_at = 0.0
        self.token = json.loads(self._ask("GET", "/api/csrf"))["csrfToken"]

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def order(self, photo: bytes, mark: str | None = None) -> Order:
        """Send a photograph, again as long as the site is busy; raises RefusedError when it is not accepted."""
        mark = mark or uuid.uuid4().hex
        body = _form({"prompt": mark}, photo)
        headers = {"X-CSRFToken": self.token, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        sent_at = time.monotonic()
        turned_away = 0
        while True:
            try:
                answer = json.loads(self._ask("POST", "/api/generate-image", body, headers))
                break
            except RefusedError as error:
                if error.retry_after_s is None or time.monotonic() - sent_at > PATIENCE_S:
                    raise
                turned_away += 1
                time.sleep(error.retry_after_s)
        accepted_at, next_poll_ms = time.monotonic(), answer["nextPollMs"] or 0
        return Order(answer["taskId"], mark, sent_at, accepted_at, next_poll_ms, turned_away=turned_away)

    def follow(self, order: Order, poll_every_s: float | None = None) -> Order:
        """Poll until the order has ended, and fetch its picture; without `poll_every_s` as often as the site says."""
        wait_s = order.next_poll_ms / 1000
        while order.state in WAITING:
            time.sleep(wait_s if poll_every_s is None else poll_every_s)
            answer = self.poll(order.task)
            order.polls += 1
            order.state, wait_s = answer["status"], (answer["nextPollMs"] or 0) / 1000
            if time.monotonic() - order.sent_at > PATIENCE_S:
                raise RefusedError(f"an order of {PATIENCE_S:.0f} s ago has not ended")
        if order.state != "SUCCESS":
            raise RefusedError(f"an order ended {order.state}: {answer['error']}")
        self._ask("GET", answer["urls"][0])
        order.done_at = time.monotonic()
        return order

    def poll(self, task: str) -> dict:
        """How the order is doing."""
        return json.loads(self._ask("GET", f"/api/poll-task?taskId={task}"))

    def get(self, path: str) -> bytes:
        """Any page of the site; raises RefusedError unless it is there."""
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        told = {
            "Host": HOST,
            "X-Forwarded-For": f"10.{self.number >> 16 & 255}.{self.number >> 8 & 255}.{self.number & 255}",
            "X-Forwarded-Proto": "https",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        }
        if time.monotonic() - self._used_at > IDLE_S:
            self._connection.close()
        self._connection.request(method, path, body, {**told, **(headers or {})})
        answer = self._connection.getresponse()
        content = answer.read()
        self._used_at = time.monotonic()
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        if answer.status >= 300:
            words = f"{method} {path} answered {answer.status}: {content[:300].decode(errors='replace')}"
            busy = answer.status == HTTPStatus.SERVICE_UNAVAILABLE and answer.headers["Retry-After"]
            raise RefusedError(words, float(busy) if busy else None)
        return content


@contextmanager
def visitors(site: Site, count: int) -> Iterator[list[Visitor]]:
    """So many browsers, each with its cookies, address and connection."""
    with ExitStack() as stack:
        crowd = []
        for number in range(1, count + 1):
            visitor = Visitor(site, number)
            stack.callback(visitor.close)
            crowd.append(visitor)
        yield crowd


def _form(fields: dict[str, str], photo: bytes) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    file = 'Content-Disposition: form-data; name="image"; filename="photo.jpg"\r\nContent-Type: image/jpeg'
    return b"".join([*parts, f"--{BOUNDARY}\r\n{file}\r\n\r\n".encode(), photo, f"\r\n--{BOUNDARY}--\r\n".encode()])


def side_by_side(tasks: Iterable[Callable[[], None]]) -> None:
    """Run all of these at once, each in a thread of its own; raises the first error when all have ended."""
    errors: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
