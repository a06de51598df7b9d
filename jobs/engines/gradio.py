"""The `gradio` engine: paints through an endpoint of a Gradio Space, the bundled one or any other of that form.

Made by `registry`, called by `jobs.paint`. A Space says by itself which parameters its endpoint takes; this engine
sends those that both know, by name.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import logging
import queue
import tempfile
import threading
import time
import urllib.parse
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path
from typing import Any

import httpx

from ghibli_flask.engine_catalogue import Mode
from jobs.engines import gradio_messages
from jobs.engines.base import (
    CONNECTING,
    DOWNLOADING,
    PAINTING,
    WAITING_FOR_GPU,
    Deadline,
    EngineBroken,
    EngineError,
    News,
    PaintingCancelled,
    PaintRequest,
    RequestRejected,
    masked,
)
from jobs.engines.gradio_session import Message, Session, Space, SpaceClient, engine_error, file_at, tls

log = logging.getLogger(__name__)

TICK_S = 0.25
"""How often a waiting call looks whether it was cancelled; also the shortest time between two equal stages' news."""

CONNECT_S = 30.0
"""How long a call waits for a connection. A Space that is being built answers nothing for minutes."""

CONNECTION_AGE_S = 600.0
"""A Space may be rebuilt with other parameters at any time, so what is known of it is read again."""

MOST_CONNECTIONS = 32
DOWNLOAD_TIMEOUT_S = 15.0
DEFAULT_LOOK = "Ghibli"
IMAGE_PARAMETER = "spatial_img"


class GradioEngine:
    """Paints through one endpoint of one Space. Safe over threads; connects at the first call."""

    name = "gradio"
    modes = frozenset({Mode.IMAGE_TO_IMAGE})

    def __init__(
        self,
        base_url: str,
        api_name: str,
        token_hosts: Sequence[str],
        temp_dir: Path,
        max_result_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        """Name the Space and what may be sent to it.

        `base_url` is an http or https address; `token_hosts` are patterns such as `*.hf.space`: a credential goes to
        no other host. `temp_dir` must exist; a picture lies there while it is uploaded.
        """
        self.base_url = base_url.rstrip("/") + "/"
        self.api_name = api_name
        self.temp_dir = temp_dir
        self.max_result_bytes = max_result_bytes
        self._takes_tokens = may_carry_token(base_url, token_hosts)
        self._connections = _Connections(self.base_url, api_name)

    def paint(
        self,
        request: PaintRequest,
        *,
        credential: str | None,
        deadline: Deadline,
        on_news: Callable[[News], None],
        is_cancelled: Callable[[], bool],
    ) -> bytes:
        """See `base.Engine`. A refusal that a fresh connection may cure is answered by one, once."""
        if request.mode not in self.modes or request.image is None:
            raise RequestRejected(f"The gradio engine cannot work in the mode {request.mode}.")
        token = credential if self._takes_tokens else None
        call = _Call(deadline, on_news, is_cancelled)
        call.check()
        on_news(News(CONNECTING))
        for reconnected in (False, True):
            space = self._connections.get(token, call)
            known_before = space.connected_at < call.began_at
            try:
                result = self._run(space, request, request.image, call, token)
                return download(space.client, result, self.max_result_bytes, call)
            except EngineError as error:
                if error.reconnect or isinstance(error, EngineBroken):
                    self._connections.drop(token, space)
                if reconnected or not (error.reconnect and known_before):
                    raise
        raise AssertionError("The second round returns or raises.")

    def close(self) -> None:
        """Forget every connection."""
        self._connections.close()

    def _run(self, space: Space, request: PaintRequest, image: bytes, call: _Call, token: str | None) -> object:
        """One call of the endpoint; gives what it returned, which may be anything."""
        with tempfile.NamedTemporaryFile(dir=self.temp_dir, prefix="engine-", suffix=".jpg") as file:
            file.write(image)
            file.flush()
            arguments = arguments_for(space, request, file_at(file.name))
            inbox = _Inbox()
            session = Session(space, inbox.take)
            try:
                session.start(self.api_name, arguments)
                session.answer.add_done_callback(inbox.finish)
                call.wait(inbox)
                return _outcome(session, token)
            finally:
                session.end()


def _outcome(session: Session, token: str | None) -> object:
    """What the endpoint returned, or the EngineError for what went wrong."""
    try:
        return session.answer.result()
    except (Exception, CancelledError) as error:
        # The original may carry headers or a whole answer: only its masked text travels on.
        cause = session.cut_by or error if isinstance(error, CancelledError) else error
        raise engine_error(cause, token) from None


class _Call:
    """One call's clock and its line to the caller."""

    def __init__(self, deadline: Deadline, on_news: Callable[[News], None], is_cancelled: Callable[[], bool]) -> None:
        self.deadline = deadline
        self.on_news = on_news
        self.is_cancelled = is_cancelled
        self.began_at = time.monotonic()
        self._last_look = 0.0
        self._last_news = News(CONNECTING)
        self._last_told = 0.0

    def check(self) -> None:
        """Raise when the call must not go on. The caller is asked at most once a tick: its answer may cost a query."""
        now = time.monotonic()
        if now - self._last_look >= TICK_S:
            self._last_look = now
            if self.is_cancelled():
                raise PaintingCancelled("The call was cancelled.")
        self.deadline.check()

    def tell(self, news: News) -> None:
        """Pass news on: a change of stage or rank at once, the rest at most once a tick."""
        last, now = self._last_news, time.monotonic()
        moved = (news.stage, news.rank) != (last.stage, last.rank)
        if moved or (news != last and now - self._last_told >= TICK_S):
            self._last_news, self._last_told = news, now
            self.on_news(news)

    def tick(self) -> float:
        """Seconds to wait before looking again."""
        return min(TICK_S, self.deadline.remaining())

    def wait(self, inbox: _Inbox) -> None:
        """Wait until the call is done, passing news on; raises when it is cancelled or out of time."""
        while True:
            self.check()
            try:
                news = inbox.queue.get(timeout=self.tick())
            except queue.Empty:
                continue
            if news is None:
                return
            self.tell(news)


class _Inbox:
    """Where the stream's thread leaves news for the calling thread; None means that the call is done."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self._expected_end: float | None = None

    def take(self, message: Message) -> None:
        """Translate one message of the event stream."""
        news = self._news(message)
        if news:
            self.queue.put(news)

    def finish(self, _: Future[Any]) -> None:
        """The call is done, well or not."""
        self.queue.put(None)

    def _news(self, message: Message) -> News | None:
        match message.get("msg"):
            case "estimation":
                return News(WAITING_FOR_GPU, rank=message.get("rank"), eta_seconds=message.get("rank_eta"))
            case "process_starts":
                eta = message.get("eta")
                self._expected_end = time.monotonic() + eta if eta else None
                return News(PAINTING, eta_seconds=eta)
            case "progress":
                return self._progress(message.get("progress_data") or [])
            case "log":
                return self._notice(str(message.get("log")))
        return None

    def _progress(self, units: list[dict[str, Any]]) -> News | None:
        # Nested bars come outermost first; the outermost is the whole painting.
        if not units:
            return None
        unit = units[0]
        if gradio_messages.WAITING_FOR_GPU_TEXT.search(unit.get("desc") or ""):
            return News(WAITING_FOR_GPU)
        fraction = unit.get("progress")
        if fraction is None and unit.get("length"):
            fraction = (unit.get("index") or 0) / unit["length"]
        left = max(0.0, self._expected_end - time.monotonic()) if self._expected_end else None
        return News(PAINTING, None if fraction is None else min(1.0, max(0.0, fraction)), eta_seconds=left)

    def _notice(self, text: str) -> News | None:
        if gradio_messages.TOKEN_NOT_TAKEN.search(text):
            log.warning("The Space did not accept the token: %s", masked(text))
        return News(WAITING_FOR_GPU) if gradio_messages.WAITING_FOR_GPU_TEXT.search(text) else None


class _Connections:
    """The Spaces that this process knows, one for each token, connected at most once at a time for each."""

    def __init__(self, url: str, api_name: str) -> None:
        self._url = url
        self._api_name = api_name
        self._lock = threading.Lock()
        self._futures: OrderedDict[str | None, Future[Space]] = OrderedDict()

    def get(self, token: str | None, call: _Call) -> Space:
        """The Space as this token sees it; connects when it must, for at most CONNECT_S and under the deadline."""
        future = self._future(token)
        give_up_at = time.monotonic() + CONNECT_S
        while not future.done():
            call.check()
            if time.monotonic() >= give_up_at:
                raise EngineBroken("The Space did not answer while connecting.")
            wait((future,), timeout=call.tick())
        try:
            return future.result()
        except Exception as error:
            raise engine_error(error, token) from None

    def drop(self, token: str | None, space: Space) -> None:
        """Forget this connection, unless another call has replaced it meanwhile."""
        with self._lock:
            future = self._futures.get(token)
            if future and future.done() and not future.exception() and future.result() is space:
                del self._futures[token]

    def close(self) -> None:
        """Forget all of them."""
        with self._lock:
            futures = list(self._futures.values())
            self._futures.clear()
        for future in futures:
            if future.done() and not future.exception():
                future.result().client.close()

    def _future(self, token: str | None) -> Future[Space]:
        with self._lock:
            future = self._futures.get(token)
            if future and not _outdated(future):
                self._futures.move_to_end(token)
                return future
            future = self._futures[token] = Future()
            while len(self._futures) > MOST_CONNECTIONS:
                self._futures.popitem(last=False)
        # A thread of its own, because gradio_client's constructor cannot be given a deadline; a daemon, because a
        # process that ends must not wait for a Space that does not answer.
        threading.Thread(target=self._connect, args=(token, future), name="space-connect", daemon=True).start()
        return future

    def _connect(self, token: str | None, future: Future[Space]) -> None:
        try:
            future.set_result(Space.connect(self._url, token, self._api_name, time.monotonic()))
        except Exception as error:
            future.set_exception(error)


def _outdated(future: Future[Space]) -> bool:
    """A failed connection is tried again, and one that stands is renewed now and then."""
    if not future.done():
        return False
    if future.exception():
        return True
    return time.monotonic() - future.result().connected_at > CONNECTION_AGE_S


def may_carry_token(url: str, token_hosts: Sequence[str]) -> bool:
    """Whether a credential may be sent to this address: a named host, over https or to a loopback address."""
    parts = urllib.parse.urlsplit(url)
    host = (parts.hostname or "").lower()
    if not any(fnmatch.fnmatchcase(host, pattern.strip().lower()) for pattern in token_hosts):
        return False
    return parts.scheme == "https" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def arguments_for(space: Space, request: PaintRequest, image: dict[str, Any]) -> dict[str, Any]:
    """What to send, by name: of all that this engine knows to say, what the endpoint takes.

    Raises EngineBroken when the endpoint insists on something else.
    """
    known = {
        "prompt": request.prompt,
        IMAGE_PARAMETER: image,
        "height": request.height,
        "width": request.width,
        "seed": request.seed,
        "control_type": request.look if request.look in space.looks else DEFAULT_LOOK,
        "use_zero_init": False,
        "zero_steps": 1,
    }
    missing = space.required - known.keys()
    if missing or IMAGE_PARAMETER not in space.parameters:
        raise EngineBroken(f"The endpoint does not take {IMAGE_PARAMETER}, or needs {sorted(missing)}.")
    return {name: value for name, value in known.items() if name in space.parameters}


def download(client: SpaceClient, result: object, max_bytes: int, call: _Call) -> bytes:
    """Fetch the picture that the endpoint returned, from the Space itself and from nowhere else.

    The address is built from the path on the Space, never taken from the answer, and no redirect is followed. The
    bytes are not proven to be a picture. Raises EngineBroken.
    """
    call.check()
    call.tell(News(DOWNLOADING))
    first = result[0] if isinstance(result, tuple | list) and result else result
    path = first.get("path") if isinstance(first, dict) else None
    if not isinstance(path, str) or path.startswith(("http://", "https://")):
        # A Space that was rebuilt since may know another function by the number that this one had.
        raise EngineBroken("The endpoint returned no picture.", reconnect=True)
    picture = bytearray()
    try:
        with httpx.stream(
            "GET",
            client.file_url(path),
            # Packed answers could grow without bounds while they are unpacked.
            headers={**client.headers, "accept-encoding": "identity"},
            cookies=client.cookies,
            verify=tls(),
            timeout=min(DOWNLOAD_TIMEOUT_S, max(TICK_S, call.deadline.remaining())),
            follow_redirects=False,
        ) as response:
            _check_answer(response, max_bytes)
            for chunk in response.iter_raw():
                picture += chunk
                if len(picture) > max_bytes:
                    raise EngineBroken(f"The picture is larger than {max_bytes} bytes.")
                call.check()
    except httpx.HTTPError as error:
        call.check()
        raise EngineBroken(f"The picture could not be fetched: {type(error).__name__}.") from None
    return bytes(picture)


def _check_answer(response: httpx.Response, max_bytes: int) -> None:
    if response.status_code != httpx.codes.OK:
        raise EngineBroken(f"The picture's address answered {response.status_code}.")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise EngineBroken(f"The endpoint returned {kind or 'no type'} instead of a picture.")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise EngineBroken("The picture came packed although it was asked for unpacked.")
    if int(response.headers.get("content-length", 0)) > max_bytes:
        raise EngineBroken(f"The picture is larger than {max_bytes} bytes.")
