"""Connections that another thread can end, for `http`: requests and urllib3 offer no way to stop a wait.

A socket is known here from before its TLS handshake, which is also where an address that a name turned out to mean
can still be refused before anything is sent to it.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Url

from jobs.engines.base import EngineBroken

USER_AGENT = "ghibli-flask"
"""Hosts behind Cloudflare refuse the libraries' own names with 403 and `error code: 1010`."""


class Line:
    """The connections of one session, held so that another thread can end them, and what may be connected to."""

    def __init__(self) -> None:
        self.asked = False
        self._public_only = False
        self._is_cut = False
        self._lock = threading.Lock()
        self._handles: list[tuple[_Held, socket.socket]] = []

    def begin(self, public_only: bool) -> None:
        """A new request: nothing of it has been sent, and those before it have ended."""
        self.asked = False
        self._public_only = public_only
        with self._lock:
            handles, self._handles = self._handles, []
            for connection, handle in handles:
                if connection.is_closed:
                    handle.close()
                else:
                    self._handles.append((connection, handle))

    def take(self, connection: _Held, connected: socket.socket) -> None:
        """Hold a connection that was just made; raises EngineBroken or OSError when it must not be used.

        A proxy resolves names by itself and decides by itself where to connect.
        """
        if self._public_only and connection.proxy is None:
            address = ipaddress.ip_address(connected.getpeername()[0].partition("%")[0])
            if not address.is_global:
                raise EngineBroken("The picture's address is not on the public network.")
        with self._lock:
            if self._is_cut:
                raise OSError("The call has ended.")
            # TLS takes the socket over and leaves the given object empty; a duplicate always reaches the connection.
            self._handles.append((connection, connected.dup()))

    def cut(self) -> None:
        """End every connection, whatever is going on over it, and refuse those that are still being made."""
        with self._lock:
            self._is_cut = True
            handles, self._handles = self._handles, []
        for _, handle in handles:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)
            handle.close()


class _Held:
    """Makes a connection of urllib3 known to its line. Mixed in before HTTPConnection, which has these two."""

    proxy: Url | None
    is_closed: bool

    def __init__(self, line: Line, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._line = line

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        try:
            self._line.take(self, connected)
        except BaseException:
            connected.close()
            raise
        return connected

    def request(self, *args: Any, **options: Any) -> None:
        # Connected first, so that what fails from here on has, or may have, reached the other side.
        if self.is_closed:
            self.connect()  # type: ignore[attr-defined]
        self._line.asked = True
        super().request(*args, **options)  # type: ignore[misc]


class _HeldHTTP(_Held, HTTPConnection):
    pass


class _HeldHTTPS(_Held, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """Makes each connection a held one. It repeats nothing, as is the default of requests."""

    def __init__(self, line: Line) -> None:
        self._line = line
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        held = _HeldHTTPS if pool.scheme == "https" else _HeldHTTP
        pool.ConnectionCls = functools.partial(held, self._line)
        return pool


class _Session(requests.Session):
    """A session that leaves redirects alone.

    `allow_redirects=False` still prepares the next request, which reads the whole body of the redirect, however
    large, and fails at a bad address.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def session_over(line: Line) -> requests.Session:
    """A session of our own name that asks for unpacked answers: packed ones could grow without bounds."""
    session = _Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    session.mount("https://", _Adapter(line))
    session.mount("http://", _Adapter(line))
    return session
