"""An HTTP server on loopback that takes whatever is posted: a webhook's receiver, or Sentry's."""

import gzip
import importlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Sink:
    """What was posted, as text, and the status that is answered."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.status = 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                elif self.headers.get("Content-Encoding") == "br":  # Sentry's choice wherever brotli is installed.
                    body = importlib.import_module("brotli").decompress(body)
                sink.bodies.append(body.decode())
                self.send_response(sink.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook/a-secret-part"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The bodies as JSON."""
        return [json.loads(body) for body in self.bodies]

    def serve(self) -> None:
        """Answer until closed."""
        self._server.serve_forever(poll_interval=0.02)

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def http_sink() -> Iterator[Sink]:
    """A sink that answers until the block ends."""
    sink = Sink()
    thread = threading.Thread(target=sink.serve)
    thread.start()
    try:
        yield sink
    finally:
        sink.close()
        thread.join()
