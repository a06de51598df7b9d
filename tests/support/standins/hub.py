"""A stand-in of the Hugging Face Hub's quota endpoint, which cannot be called from tests.

Written from the Hub's OpenAPI document (huggingface.co/.well-known/openapi.json, GET /api/spaces/zero-gpu/quota), a
comment of 29 July 2026 on issue 2842 of github.com/huggingface/huggingface_hub, and docs/hub/rate-limits.md of
github.com/huggingface/hub-docs: a bearer token in, `{base, current, resetsAt, overquotaUsed, runs?}` out, 401 for a
token that it does not know, 429 with a `RateLimit` field.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/api/spaces/zero-gpu/quota"
LIMIT_FIELDS = {"RateLimit": '"api";r=0;t=180'}


def quota(current: float, base: float = 300, resets_at: str | None = None, **more: Any) -> dict[str, Any]:
    """One account's quota as the Hub tells it: `current` is what is left, in seconds."""
    return {"base": base, "current": current, "resetsAt": resets_at, "overquotaUsed": 0, **more}


class HubStandIn:
    """A server on a free loopback port, in threads of this process. `accounts` holds each token's quota.

    `behave` may be set to misbehave: `busy`, `hang`, `drip`, `garbage`, `page`, `redirect`, `huge` or `broken`;
    `limit_fields` are the header fields of the 429 that `busy` answers.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.elsewhere: list[str] = []
        self.behave = ""
        self.limit_fields = dict(LIMIT_FIELDS)
        self.let_go = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), name="hub", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End every call, hanging ones included, and free the port."""
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def forget(self) -> None:
        """As new: no accounts, no memory, good manners."""
        self.accounts.clear()
        self.asked.clear()
        self.elsewhere.clear()
        self.behave = ""
        self.limit_fields = dict(LIMIT_FIELDS)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != PATH:
                    hub.elsewhere.append(self.path)
                    self.send_error(404)
                    return
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                hub.asked.append(token)
                answer: Callable[[str], None] = getattr(self, hub.behave or "well")
                answer(token)

            def well(self, token: str) -> None:
                known = hub.accounts.get(token)
                self.send(200 if known else 401, json.dumps(known or {"error": "Invalid credentials in Authorization"}))

            def busy(self, _token: str) -> None:
                self.send(429, '{"error": "Too many requests"}', **hub.limit_fields)

            def hang(self, _token: str) -> None:
                hub.let_go.wait(30)

            def drip(self, _token: str) -> None:
                self.send_response(200)
                self.end_headers()
                while not hub.let_go.wait(0.02):
                    self.wfile.write(b" ")

            def garbage(self, _token: str) -> None:
                self.send(200, '{"base": "much", "current": true, "resetsAt": 5}')

            def page(self, _token: str) -> None:
                self.send(200, "<html>Just a moment</html>")

            def redirect(self, _token: str) -> None:
                self.send(302, "", Location=f"{hub.url}/elsewhere")

            def huge(self, token: str) -> None:
                self.send(200, json.dumps({**hub.accounts[token], "more": "x" * 1_000_000}))

            def broken(self, _token: str) -> None:
                self.send(503, "")

            def send(self, status: int, body: str, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    self.close_connection = True  # The caller has hung up, as it does on what is too long.

            def log_message(self, *_: object) -> None:
                """Nothing: the tests look at what was asked."""

        return Handler
