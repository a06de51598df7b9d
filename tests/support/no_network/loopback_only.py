"""Keeps the tests, and the processes that they start, from reaching anything beyond this machine."""

import ipaddress
import socket
from typing import Any

LOCAL_NAMES = {"localhost", "", None}

attempts: list[str] = []


class NetworkBlockedError(OSError):
    """Raised for a connection or a name look-up that would leave this machine."""


def refuse_unless_local(host: Any) -> None:
    """Raise NetworkBlockedError, and remember the attempt, unless `host` is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in LOCAL_NAMES:
        return
    try:
        local = ipaddress.ip_address(name).is_loopback or ipaddress.ip_address(name).is_unspecified
    except ValueError:
        local = False
    if not local:
        attempts.append(str(name))
        raise NetworkBlockedError(f"The tests may not reach {name}.")


def install() -> None:
    """Guard connections and name look-ups of this process from now on."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            refuse_unless_local(address[0])
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            refuse_unless_local(address[0])
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_unless_local(host)
        return getaddrinfo(host, *args, **kwargs)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = guarded_getaddrinfo
