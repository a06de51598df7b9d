"""A real HTTP proxy on loopback that remembers whom it was asked for; it alone knows where its hosts are.

It forwards absolute addresses and opens tunnels (CONNECT), as RFC 9110 (7.1, 9.3.6) and RFC 9112 (3.2) describe.
"""

import base64
import contextlib
import http.client
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, urlsplit

CHUNK = 65536
ONE_HOP = {"connection", "proxy-connection", "proxy-authorization", "keep-alive", "transfer-encoding", "host"}


@dataclass
class Proxy:
    """Where the proxy listens, which hosts it knows by which loopback ports, and what it was asked."""

    port: int
    hosts: Mapping[str, int]
    login: str | None
    asked: list[str] = field(default_factory=list)
    """`CONNECT host` for a tunnel, `GET host` and the like for a forwarded request."""

    @property
    def url(self) -> str:
        """The address that a client is given, with name and password."""
        login = f"{quote(self.login, safe=':')}@" if self.login else ""
        return f"http://{login}127.0.0.1:{self.port}"


@contextlib.contextmanager
def running_proxy(hosts: Mapping[str, int], login: str | None = None) -> Iterator[Proxy]:
    """Run a proxy that knows these hosts; with `login` (name:password) it serves nobody else."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.proxy = Proxy(server.server_address[1], hosts, login)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.proxy  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    @property
    def proxy(self) -> Proxy:
        found: Proxy = self.server.proxy  # type: ignore[attr-defined]
        return found

    def do_CONNECT(self) -> None:
        host, _, _ = self.path.partition(":")
        if not self._is_served(f"CONNECT {host}", host):
            return
        with socket.create_connection(("127.0.0.1", self.proxy.hosts[host])) as far:
            self.send_response(200)
            self.end_headers()
            relay(self.connection, far)
        self.close_connection = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        host = parts.hostname or ""
        self.close_connection = True
        if not self._is_served(f"{self.command} {host}", host):
            return
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ONE_HOP}
        far = http.client.HTTPConnection("127.0.0.1", self.proxy.hosts[host])
        with contextlib.closing(far):
            far.request(self.command, self.path[self.path.index(parts.netloc) + len(parts.netloc) :], body, headers)
            answer = far.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ONE_HOP:
                    self.send_header(name, value)
            self.send_header("connection", "close")
            self.end_headers()
            while chunk := answer.read1(CHUNK):
                self.wfile.write(chunk)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815

    def _is_served(self, asked: str, host: str) -> bool:
        self.proxy.asked.append(asked)
        login = base64.b64encode(self.proxy.login.encode()).decode() if self.proxy.login else None
        if login and self.headers.get("proxy-authorization") != f"Basic {login}":
            self.send_error(407)
        elif host not in self.proxy.hosts:
            self.send_error(502)
        else:
            return True
        return False

    def log_message(self, *_: object) -> None:
        """Say nothing: the tests read `asked`."""


@contextlib.contextmanager
def tls_in_front_of(port: int, certificate: str) -> Iterator[int]:
    """Serve TLS with this certificate and key (one PEM file) before a plain loopback port; gives the new port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(near: socket.socket) -> None:
            # A client that does not trust the certificate hangs up during the handshake.
            with (
                near,
                contextlib.suppress(OSError),
                context.wrap_socket(near, server_side=True) as secure,
                socket.create_connection(("127.0.0.1", port)) as far,
            ):
                relay(secure, far)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near, _ = server.accept()
                    threading.Thread(target=serve, args=(near,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def relay(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    with contextlib.suppress(OSError):
        while True:
            pending = [end for end in (one, other) if isinstance(end, ssl.SSLSocket) and end.pending()]
            for end in pending or select.select([one, other], [], [])[0]:
                chunk = end.recv(CHUNK)
                if not chunk:
                    return
                (other if end is one else one).sendall(chunk)
