"""Starting and ending processes without leaving any behind: used by `make run` and by the test bed."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

LOOPBACK = "127.0.0.1"

_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: between fork and exec only calls that take no lock are safe.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def signal_when_parent_ends(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends, even when the parent is killed outright.

    Linux alone offers this (prctl(2), PR_SET_PDEATHSIG). Elsewhere nothing happens: an orderly stop still ends
    every child, and only a parent that died by SIGKILL leaves them running.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def _die_with_parent() -> None:
    signal_when_parent_ends(signal.SIGKILL)


def start_process(
    command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, output: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, with both of its output streams going to `output`.

    The session keeps a Ctrl-C typed in the terminal away from the child: its parent decides in which order to
    stop. To be called from the main thread, because the kernel ties the child's life to the starting thread.
    """
    return subprocess.Popen(
        [str(part) for part in command],
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )


def signal_session(session: int, number: signal.Signals) -> None:
    """Send a signal to every process of a session, those in process groups of their own included."""
    for pid in _session_members(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _session_members(session: int) -> list[int]:
    members = []
    for pid in _all_pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                members.append(pid)
    return members


def _all_pids() -> list[int]:
    if sys.platform == "linux":
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    listing = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=True).stdout
    return [int(word) for word in listing.split()]


def free_port(first: int = 0, host: str = LOOPBACK) -> int:
    """Give a free TCP port: `first` or the next one above it, or any when `first` is 0."""
    if first == 0:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
            return port
    for port in range(first, min(first + 1000, 65536)):
        if port_is_free(port, host):
            return port
    raise OSError(f"There is no free port between {first} and {first + 999}.")


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on this port now; TIME_WAIT counts as free, as it does for servers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # Binding alone succeeds beside a listener that set SO_REUSEADDR on some systems; listening does not.
            probe.listen(1)
        except OSError:
            return False
        return True


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Ask `condition` again and again until it holds or the time is over; gives its last answer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True
