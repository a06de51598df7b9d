"""What every stand-in is built on: an HTTP server on a free loopback port that remembers what it heard.

A reply can also be one that no server should give: none at all, half of one, one that never ends.
"""

import json
import select
import ssl
import sys
import threading
import urllib.parse
from collections import defaultdict, deque
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, Literal

from werkzeug.datastructures import FileStorage
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header


@dataclass(frozen=True)
class Heard:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> tuple[dict[str, str], dict[str, FileStorage]]:
        """The fields and the files of a multipart form."""
        kind, options = parse_options_header(self.headers["Content-Type"])
        parser = FormDataParser(stream_factory=lambda *_, **__: BytesIO())
        _, fields, files = parser.parse(BytesIO(self.body), kind, len(self.body), options)
        return fields.to_dict(), files.to_dict()


@dataclass(frozen=True)
class Reply:
    """One answer. `manner` is how it goes out:

    "whole"; "half" of the promised body and then the connection's end; "hang_up" at once without a word; "silence"
    until the client leaves; "drip", the body by the byte, 20 a second, until the client leaves.
    """

    body: bytes = b""
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    manner: Literal["whole", "half", "hang_up", "silence", "drip"] = "whole"


def json_reply(content: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON answer."""
    return Reply(json.dumps(content).encode(), status, headers=headers)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that left in the middle; everything else is shown."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(*_)


class StandIn:
    """The server. A stand-in gives `answer`; a test may put other replies before it with `next`."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._lock = threading.Lock()
        self._scheme = "http"
        self.connections = 0
        self.reset()

    def secure_with(self, context: ssl.SSLContext) -> None:
        """Speak https from now on."""
        self._scheme = "https"
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def reset(self) -> None:
        """Forget everything; back to good behaviour."""
        self.heard: list[Heard] = []
        self._queued: dict[str, deque[Reply]] = defaultdict(deque)
        self.client_left = threading.Event()

    def answer(self, heard: Heard) -> Reply:
        """How the real service answers this."""
        raise NotImplementedError

    def next(self, path: str, *replies: Reply) -> None:
        """Answer the next requests to this path so."""
        self._queued[path].extend(replies)

    def asked(self, path: str) -> list[Heard]:
        """The requests to this path, in their order."""
        return [heard for heard in self.heard if heard.path == path]

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> "StandIn":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reply_to(self, heard: Heard) -> Reply:
        """Note the request and choose the reply."""
        with self._lock:
            self.heard.append(heard)
            queued = self._queued[heard.path]
            return queued.popleft() if queued else self.answer(heard)


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            stand_in.connections += 1

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _serve(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = dict(urllib.parse.parse_qsl(parts.query))
            reply = stand_in.reply_to(Heard(self.command, parts.path, query, self.headers, body))
            self.close_connection = reply.manner != "whole"
            if reply.manner == "silence":
                self._wait_for_the_end(60)
            elif reply.manner != "hang_up":
                self._send(reply)

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            headers = {"Content-Type": reply.kind, "Content-Length": str(len(reply.body)), **reply.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            match reply.manner:
                case "whole":
                    self._write(reply.body)
                case "half":
                    self._write(reply.body[: len(reply.body) // 2])
                case "drip":
                    for at in range(len(reply.body)):
                        self._write(reply.body[at : at + 1])
                        if self._wait_for_the_end(0.05):
                            return

        def _write(self, data: bytes) -> None:
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                stand_in.client_left.set()

        def _wait_for_the_end(self, seconds: float) -> bool:
            """Whether the client ended the connection within this time; a client that waits says nothing."""
            if select.select([self.connection], [], [], seconds)[0]:
                stand_in.client_left.set()
            return stand_in.client_left.is_set()

    return Handler
