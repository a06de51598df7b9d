"""R2 on loopback: a real S3 server behind a door that refuses what R2 refuses, and that can break at a chosen moment.

The refusals are those of Cloudflare's page on R2's S3 compatibility (r2/api/s3/api, November 2026) and of the 501
answers that are reported for checksum headers: no access lists, tags, encryption headers, object lock or request payer,
no streaming signatures, and nothing unsigned.
"""

import http.client
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from tests.support.s3_server import BUCKET, S3Server

REFUSED = (
    "x-amz-checksum-", "x-amz-sdk-checksum-algorithm", "x-amz-trailer", "x-amz-acl", "x-amz-grant-", "x-amz-tagging",
    "x-amz-server-side-encryption", "x-amz-object-lock-", "x-amz-request-payer", "x-amz-expected-bucket-owner",
    "x-amz-website-redirect-location", "x-amz-security-token",
)  # fmt: skip
"""Beginnings of header names; a session token is none of R2's, it comes from another program's environment."""

ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message></Error>'

Fault = Literal["before", "during", "after", "half_answer", "silence", "error"]


class R2StandIn:
    """The door. `fault` breaks every request of a method until it is cleared.

    "before": the connection ends without a word; "during": half of the body reaches the store, then both connections
    end; "after": the store has done it and the answer is lost; "half_answer": only half of the answer's body arrives;
    "silence"; "error": 500, as in an outage.
    """

    def __init__(self, s3_server: S3Server) -> None:
        self._s3 = s3_server
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.socket.listen(64)  # Five waiting connections, the default, are few for a test with many threads.
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.reset()

    def reset(self) -> None:
        """Forget everything; back to good behaviour."""
        self.faults: dict[str, Fault] = {}
        self.heard: list[tuple[str, str, dict[str, str]]] = []
        self.let_go = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def s3(self) -> S3Server:
        """What is behind the door."""
        return self._s3

    def settings(self, **more: Any) -> dict[str, Any]:
        """The settings of an application that keeps its pictures here."""
        return {
            "cloudflare_r2_access_key_id": "a" * 32,
            "cloudflare_r2_secret_access_key": "b" * 64,
            "cloudflare_r2_endpoint": self.url,
            "cloudflare_r2_bucket": BUCKET,
            **more,
        }

    def __enter__(self) -> "R2StandIn":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def refusal(self, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Why R2 would not do this: status and XML."""
        for name, value in headers.items():
            is_streamed = value.startswith("STREAMING-") or "aws-chunked" in value
            if name.startswith(REFUSED) or is_streamed:
                return 501, ERROR.format("NotImplemented", f"Header '{name}' with value '{value}' not implemented")
        query = parse_qs(urlsplit(path).query)
        if "X-Amz-Signature" in query:
            signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if signed_at + timedelta(seconds=int(query["X-Amz-Expires"][0])) < datetime.now(UTC):
                return 403, ERROR.format("ExpiredRequest", "Request has expired")
        elif not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=" + "a" * 32):
            return 400, ERROR.format("InvalidArgument", "Authorization")
        return None


def _handler(door: R2StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._serve()

        do_PUT = do_DELETE = do_HEAD = do_POST = do_GET  # noqa: N815 - http.server looks for these names.

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            door.heard.append((self.command, self.path, headers))
            body = self.rfile.read(int(headers.get("content-length", 0)))
            fault = door.faults.get(self.command)
            if refusal := door.refusal(self.path, headers):
                self._send(refusal[0], {"Content-Type": "application/xml"}, refusal[1].encode())
            elif fault == "error":
                self._send(500, {}, ERROR.format("InternalError", "We encountered an internal error.").encode())
            elif fault in {"before", "silence"}:
                door.let_go.wait(30 if fault == "silence" else 0)
                self.close_connection = True
            else:
                self._pass_on(headers, body, fault)

        def _pass_on(self, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
            port = door.s3.port
            behind = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in headers.items():
                    behind.putheader(name, value)
                behind.endheaders(body[: len(body) // 2] if fault == "during" else body)
                self.close_connection = fault is not None
                if fault != "during":
                    answer = behind.getresponse()
                    data = answer.read()
                    if fault in {None, "half_answer"}:
                        self._send(answer.status, dict(answer.getheaders()), data, half=fault is not None)
            except OSError:
                self.close_connection = True  # Whoever is behind the door is dead.
            finally:
                behind.close()

        def _send(self, status: int, headers: dict[str, str], data: bytes, *, half: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in {"connection", "content-length", "transfer-encoding"}:
                    self.send_header(name, value)
            length = next((value for name, value in headers.items() if name.lower() == "content-length"), len(data))
            self.send_header("Content-Length", str(length if self.command == "HEAD" else len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if half else data)

    return Handler
