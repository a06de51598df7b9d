"""The `gradio` engine: paints through an endpoint of a Gradio Space, the bundled one or any other of that form.

Made by `registry`, called by `jobs.chain`. A Space says by itself which parameters its endpoint takes; this engine
sends those that both know, by name.
"""

from __future__ import annotations

import functools
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

import httpx

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.token_hosts import may_carry_token
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
    PaintRequest,
    RequestRejected,
    masked,
)
from jobs.engines.call import Call
from jobs.engines.event_loop import EventLoop, forgetful_client
from jobs.engines.gradio_http import TIMEOUT, Message, tls
from jobs.engines.gradio_session import FORM, Session, Space, engine_error

log = logging.getLogger(__name__)

CONNECTION_AGE_S = 600.0
"""A Space may be rebuilt with other parameters at any time, so what is known of it is read again."""

MOST_CONNECTIONS = 32
DEFAULT_LOOK = "Ghibli"
IMAGE_PARAMETER = "spatial_img"

T = TypeVar("T")


class GradioEngine:
    """Paints through one endpoint of one Space. Safe over threads; connects at the first call."""

    name = "gradio"
    modes = frozenset({Mode.IMAGE_TO_IMAGE})

    def __init__(
        self,
        base_url: str,
        api_name: str,
        token_hosts: Sequence[str],
        max_result_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        """Name the Space and what may be sent to it.

        `base_url` is an http or https address, a path included; `token_hosts` are patterns such as `*.hf.space`: a
        credential goes to no other host.
        """
        self.base_url = base_url.rstrip("/") + "/"
        self.api_name = api_name
        self.max_result_bytes = max_result_bytes
        self._takes_tokens = may_carry_token(base_url, token_hosts)
        self._streams = EventLoop(functools.partial(forgetful_client, verify=tls(), timeout=TIMEOUT))
        self._connections = _Connections(self._streams, self.base_url, api_name)

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
        call.tell(News(CONNECTING))
        for reconnected in (False, True):
            space = self._connections.get(token, call)
            known_before = space.connected_at < call.began_at
            try:
                return self._run(space, request, request.image, call, token)
            except EngineError as error:
                if error.reconnect or isinstance(error, EngineBroken):
                    self._connections.drop(token, space)
                if reconnected or not (error.reconnect and known_before):
                    raise
        raise AssertionError("The second round returns or raises.")

    def check(self, *, credential: str | None, deadline: Deadline) -> str:
        """See `base.Engine`: read anew what the Space is and whether its endpoint takes what is sent here."""
        token = credential if self._takes_tokens else None
        connecting = self._streams.start(lambda http: Space.connect(http, self.base_url, token, self.api_name))
        try:
            space = _Call(deadline, lambda _: None, lambda: False).result(connecting, token)
        finally:
            connecting.cancel()
        check_form(space)
        return f"Gradio {space.client.app_version}, {self.api_name} with {len(space.parameters)} parameters"

    def close(self) -> None:
        """Forget every connection; a call that still runs ends with EngineBroken."""
        self._connections.close()
        self._streams.close()

    def _run(self, space: Space, request: PaintRequest, image: bytes, call: _Call, token: str | None) -> bytes:
        """One painting over one connection: waits for it, and ends it when the call must not go on."""
        arguments = arguments_for(space, request)
        inbox = _Inbox()

        async def painting(http: httpx.AsyncClient) -> bytes:
            session = Session(http, space, request.headers)
            photo = await session.upload("photo.jpg", image, "image/jpeg")
            result = await session.call({**arguments, IMAGE_PARAMETER: photo}, inbox.take)
            inbox.put(News(DOWNLOADING))
            return await session.download(path_of(result), self.max_result_bytes)

        picture = self._streams.start(painting)
        picture.add_done_callback(inbox.finish)
        try:
            call.wait(inbox)
        finally:
            picture.cancel()
        return call.result(picture, token)


class _Call(Call):
    """One painting's clock and its line to the caller, for work that goes on in the event loop."""

    def __init__(self, deadline: Deadline, on_news: Callable[[News], None], is_cancelled: Callable[[], bool]) -> None:
        super().__init__(deadline, on_news, is_cancelled)
        self.began_at = time.monotonic()

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

    def result(self, future: Future[T], token: str | None) -> T:
        """Wait for what the event loop makes; raises when it fails, or when this call is cancelled or out of time."""
        while not future.done():
            self.check()
            wait((future,), timeout=self.tick())
        try:
            return future.result()
        except (Exception, CancelledError) as error:
            # The original may carry headers or a whole answer: only its masked text travels on.
            raise engine_error(error, token) from None


class _Inbox:
    """Where the event loop leaves news for the calling thread; None means that the call is done."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self._expected_end: float | None = None

    def take(self, message: Message) -> None:
        """Translate one message of the event stream."""
        news = self._news(message)
        if news:
            self.put(news)

    def put(self, news: News) -> None:
        """Leave news."""
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

    def __init__(self, streams: EventLoop, url: str, api_name: str) -> None:
        self._streams = streams
        self._url = url
        self._api_name = api_name
        self._lock = threading.Lock()
        self._futures: OrderedDict[str | None, Future[Space]] = OrderedDict()

    def get(self, token: str | None, call: _Call) -> Space:
        """The Space as this token sees it; connects when it must, under the call's deadline."""
        return call.result(self._future(token), token)

    def drop(self, token: str | None, space: Space) -> None:
        """Forget this connection, unless another call has replaced it meanwhile."""
        with self._lock:
            future = self._futures.get(token)
            if future and _stands(future) and future.result() is space:
                del self._futures[token]

    def close(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._futures.clear()

    def _future(self, token: str | None) -> Future[Space]:
        with self._lock:
            future = self._futures.get(token)
            if future and not _outdated(future):
                self._futures.move_to_end(token)
                return future
            future = self._futures[token] = self._streams.start(
                lambda http: Space.connect(http, self._url, token, self._api_name)
            )
            while len(self._futures) > MOST_CONNECTIONS:
                self._futures.popitem(last=False)
        return future


def _stands(future: Future[Space]) -> bool:
    return future.done() and not future.cancelled() and not future.exception()


def _outdated(future: Future[Space]) -> bool:
    """A failed connection is tried again, and one that stands is renewed now and then."""
    if not future.done():
        return False
    return not _stands(future) or time.monotonic() - future.result().connected_at > CONNECTION_AGE_S


def arguments_for(space: Space, request: PaintRequest) -> dict[str, Any]:
    """What to send beside the picture, by name: of all that this engine knows to say, what the endpoint takes.

    Raises EngineBroken when the endpoint takes no picture or insists on something else.
    """
    check_form(space)
    known = {
        "prompt": request.prompt,
        "height": request.height,
        "width": request.width,
        "seed": request.seed,
        "control_type": request.look if request.look in space.looks else DEFAULT_LOOK,
        "use_zero_init": False,
        "zero_steps": 1,
    }
    return {name: value for name, value in known.items() if name in space.parameters}


def check_form(space: Space) -> None:
    """Raise EngineBroken when the endpoint takes no picture or insists on what this engine cannot say."""
    missing = space.required - FORM.keys()
    if missing or IMAGE_PARAMETER not in space.parameters:
        raise EngineBroken(f"The endpoint does not take {IMAGE_PARAMETER}, or needs {sorted(missing)}.")


def path_of(result: object) -> str:
    """The Space's own path of the picture that the endpoint returned, the first one of several.

    An address is none, not even one of the Space: what is fetched is always built here. Raises EngineBroken.
    """
    while isinstance(result, tuple | list) and result:
        result = result[0]
    if isinstance(result, dict):
        # A gallery holds each picture beside its caption.
        result = result.get("image") or result
    path = result.get("path") if isinstance(result, dict) else None
    if not isinstance(path, str) or path.lower().startswith(("http:", "https:")):
        # A Space that was rebuilt since may know another function by the number that this one had.
        raise EngineBroken("The endpoint returned no picture.", reconnect=True)
    return path
