"""All that knows gradio_client: a Space, one call's own conversation with it, and what its exceptions mean.

Only `gradio.py` calls this, and nothing else imports gradio_client: the environment has to be set before.

Two things in gradio_client 2.7.2 need care when many calls share one client:

- `/cancel` stops every running call of a session, and a client has one session. So each call gets a session of
  its own over the shared knowledge of the Space, which costs no request.
- The reader of the event stream waits for ever when nothing comes, drops `unexpected_error`, and cannot be
  stopped. So the session brings its own reader.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import ssl
import threading
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass
from typing import Any

import httpx

# These two are read from the environment alone, the second while huggingface_hub is imported: without them each
# new client reports its start to a third party. Settings are not asked, because engines do not know them.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from gradio_client import Client, handle_file
from gradio_client.client import Job
from gradio_client.exceptions import AppError, AuthenticationError, ValidationError
from gradio_client.utils import CANCEL_URL, QueueError, TooManyRequestsError

from jobs.engines import gradio_messages
from jobs.engines.base import CredentialRejected, EngineBroken, EngineBusy, EngineError, RequestRejected

# A server sends a heartbeat every 15 s: after three of silence it is gone.
TIMEOUT = httpx.Timeout(45.0, connect=10.0)
CANCEL_TIMEOUT_S = 1.0

Message = dict[str, Any]


@functools.cache
def tls() -> ssl.SSLContext:
    """The one TLS context of this process: building one takes 30 ms, and httpx would build one per request."""
    return ssl.create_default_context()


class SpaceClient(Client):  # type: ignore[misc]  # gradio_client brings no types.
    """A gradio_client Client that keeps to itself: no download, no telemetry, no heartbeat, no token but this one."""

    def __init__(self, url: str, token: str | None) -> None:
        """Fetch the configuration and the endpoints of the Space at `url` (http or https): two requests."""
        super().__init__(
            url,
            # False and not None: for None, a token from the environment would be sent to any host.
            token=token or False,
            max_workers=1,
            verbose=False,
            httpx_kwargs={"timeout": TIMEOUT},
            download_files=False,
            ssl_verify=tls(),
            analytics_enabled=False,
        )

    def _get_config(self) -> dict[str, Any]:
        # The heartbeat keeps a session's state alive. Nothing here has any, and it would cost a thread each.
        return {**super()._get_config(), "connect_heartbeat": False}

    def file_url(self, path: str) -> str:
        """Where the Space serves the file that it knows by this path: always an address of the Space itself."""
        return f"{self.src_prefixed}file={urllib.parse.quote(path, safe='/')}"

    def close(self) -> None:
        """Let the threads end as soon as they are idle. Only for a client on which no call is running."""
        super().close()
        for executor in (self.executor, self.helper_executor, self.stream_executor):
            executor.shutdown(wait=False)


@dataclass(frozen=True)
class Space:
    """What stays true between calls: the client that connected, and what the endpoint takes."""

    client: SpaceClient
    parameters: frozenset[str]
    required: frozenset[str]
    looks: frozenset[str]
    connected_at: float
    """Monotonic seconds."""

    @classmethod
    def connect(cls, url: str, token: str | None, api_name: str, now: float) -> Space:
        """Connect and read what `api_name` takes; raises whatever gradio_client raises, or LookupError."""
        client = SpaceClient(url, token)
        try:
            endpoints = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
            if api_name not in endpoints:
                raise LookupError(f"The Space has no endpoint {api_name}.")
            parameters = {p.get("parameter_name"): p for p in endpoints[api_name]["parameters"]}
        except BaseException:
            client.close()
            raise
        return cls(
            client,
            frozenset(parameters),
            frozenset(name for name, p in parameters.items() if not p.get("parameter_has_default")),
            frozenset(parameters.get("control_type", {}).get("type", {}).get("enum", ())),
            now,
        )


class Session(SpaceClient):
    """One call's conversation with a Space that is already known: opening it makes no request.

    `on_message` receives every message of the event stream, from the stream's thread. `answer` becomes what the
    endpoint returned, or the exception that Job.result() would raise. `cut_by` holds why the stream ended early,
    when it did. Always `end()` a session.
    """

    def __init__(self, space: Space, on_message: Callable[[Message], None]) -> None:
        self._known = space.client
        self._on_message = on_message
        self._ended = threading.Event()
        self._socket: socket.socket | None = None
        self._job: Job | None = None
        self._fn_index: int | None = None
        self.answer: Future[object] = Future()
        self.cut_by: Exception | None = None
        super().__init__(self._known.src, self._known.token or None)
        self.cookies = self._known.cookies

    def _get_config(self) -> dict[str, Any]:
        return self._known.config  # type: ignore[no-any-return]

    def _get_api_info(self) -> dict[str, Any]:
        return self._known._info  # type: ignore[no-any-return]

    def start(self, api_name: str, arguments: dict[str, Any]) -> None:
        """Upload what has to be uploaded and join the queue, in the background. What fails becomes the answer."""
        try:
            self._fn_index = self._infer_fn_index(api_name, None)
            self._job = self.submit(api_name=api_name, **arguments)
        except Exception as error:
            self.answer.set_exception(error)
        else:
            self._job.future.add_done_callback(self._take_over)

    def end(self) -> None:
        """Leave nothing behind: a call that still runs is cancelled in the Space, the stream is closed."""
        self._ended.set()
        event_id = self._job.communicator.event_id if self._job else None
        if event_id and not self.answer.done():
            self._cancel(event_id)
        if stream := self._socket:
            # Closing would not wake a thread that reads from this socket; shutting it down does.
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        if not self._job:
            self.close()

    def send_data(self, data: Any, hash_data: Any, protocol: str, request_headers: Any) -> str:
        """Join the queue, as Client does, unless the call was ended while its picture was on the way."""
        if self._ended.is_set():
            raise CancelledError
        event_id: str = super().send_data(data, hash_data, protocol, request_headers)
        if self._ended.is_set():
            self._cancel(event_id)
        return event_id

    def stream_messages(self, protocol: str, session_hash: str) -> None:
        """Read the event stream until the call is over, in place of Client's reader (see the module's head)."""
        try:
            with (
                httpx.Client(verify=self.ssl_verify, cookies=self.cookies, **self.httpx_kwargs) as http,
                http.stream(
                    "GET", self.sse_url, params={"session_hash": session_hash}, headers=self.headers
                ) as response,
            ):
                response.raise_for_status()
                self._socket = response.extensions["network_stream"].get_extra_info("socket")
                for message in _messages(response, self._ended):
                    if not self._take(message, protocol):
                        return
        except Exception as error:
            # Client then ends the waiting call with CancelledError, which says nothing; the cause is kept here.
            self.cut_by = error
        finally:
            self._socket = None

    def _take(self, message: Message, protocol: str) -> bool:
        """Pass one message on; False when it was the last."""
        kind = message.get("msg")
        if kind in ("close_stream", "unexpected_error"):
            if kind == "unexpected_error":
                self.cut_by = ConnectionError(message.get("message") or "unexpected_error")
            return False
        self._on_message(message)
        if kind != "process_completed":
            return True
        with self.pending_lock:
            event_id = message["event_id"]
            self.pending_messages_per_event.setdefault(event_id, deque()).append(message)
            self.pending_event_ids.discard(event_id)
        output = message.get("output") or {}
        if message.get("success") and "data" in output:
            # Client's own thread looks for this message every 50 ms; what went well need not wait for that.
            with contextlib.suppress(InvalidStateError):
                self.answer.set_result(self.endpoints[self._fn_index].process_predictions(*output["data"]))
        # Servers before the third version of the protocol leave the closing to the reader.
        return protocol == "sse_v3"

    def _take_over(self, job: Future[object]) -> None:
        """The job ended, at the latest when its stream did: its outcome is the answer, unless there is one."""
        with contextlib.suppress(InvalidStateError):
            if error := job.exception():
                self.answer.set_exception(error)
            else:
                self.answer.set_result(job.result())
        # Not earlier: a job that finds its helpers' pool shut down waits for ever.
        self.close()

    def _cancel(self, event_id: str) -> None:
        """Ask the Space to stop this call. It may answer only when its function returns: nobody waits for that."""
        body = {"session_hash": self.session_hash, "fn_index": self._fn_index, "event_id": event_id}
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(
                urllib.parse.urljoin(self.src_prefixed, CANCEL_URL),
                json=body,
                headers=self.headers,
                cookies=self.cookies,
                verify=self.ssl_verify,
                timeout=CANCEL_TIMEOUT_S,
            )


def _messages(response: httpx.Response, ended: threading.Event) -> Iterator[Message]:
    """The JSON objects of an event stream, heartbeats left out, until the stream or the call ends."""
    if ended.is_set():
        return
    for line in response.iter_lines():
        if ended.is_set():
            return
        if line.startswith("data:"):
            message: Message = json.loads(line[5:])
            if message.get("msg") != "heartbeat":
                yield message


def file_at(path: str) -> dict[str, Any]:
    """The argument that makes gradio_client upload this file."""
    file: dict[str, Any] = handle_file(path)
    return file


def engine_error(error: BaseException, token: str | None) -> EngineError:
    """What to do about whatever gradio_client raised for a call that carried this token.

    Its own errors are ValueErrors, so the order matters.
    """
    text = f"{type(error).__name__}: {error}"
    match error:
        case EngineError():
            return error
        case AppError():
            return gradio_messages.refusal(error.message, getattr(error, "title", None), credential=token)
        case ValidationError():
            return RequestRejected(text, secret=token, reconnect=True)
        case AuthenticationError() if token:
            return CredentialRejected(text, secret=token)
        case QueueError() | TooManyRequestsError():
            return EngineBusy(text, secret=token)
        case httpx.HTTPStatusError():
            return _status_error(error.response, text, token)
        case httpx.HTTPError() | LookupError() | TypeError():
            return EngineBroken(text, secret=token)
        case CancelledError():
            return EngineBroken("The Space ended the event stream before the picture was done.")
    found = gradio_messages.refusal(str(error), credential=token)
    return EngineBroken(text, secret=token) if type(found) is EngineBroken else found


def _status_error(response: httpx.Response, text: str, token: str | None) -> EngineError:
    """An HTTP status while uploading, joining or listening, by gradio_messages' classes."""
    match response.status_code:
        case 401 | 403 if token:
            return CredentialRejected(text, secret=token, reconnect=True)
        case 413:
            return RequestRejected(text, secret=token)
        case 422:
            # Also what a Space says whose function has other parameters since it was rebuilt.
            return RequestRejected(text, secret=token, reconnect=True)
        case 429 | 502 | 503 | 504:
            seconds = response.headers.get("retry-after", "")
            return EngineBusy(text, retry_after=float(seconds) if seconds.isdigit() else None, secret=token)
        case _:
            return EngineBroken(text, secret=token, reconnect=True)
