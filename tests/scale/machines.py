"""Machines with a network between them: network namespaces on a bridge, or processes where those are not allowed.

Every address is one of 127.9.0.0/24. On one machine these are loopback addresses like any other, so the same settings
serve both ways; in namespaces the kernel is told to send them over the wire. They stay loopback addresses to our
programs, which speak plain http with tokens to no other, and to the guard that keeps the tests on this machine.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from scripts.processes import start_process, wait_until
from tests.support.server import Server

HUB = "127.9.0.1"
"""Where everything lies that the machines share."""

_WAYS = (("unshare", "--net", "--uts"), ("unshare", "--user", "--map-root-user", "--net", "--uts"))
"""As root; and as anybody, where the kernel lets people make user namespaces."""

_ROUTED = "echo 1 > /proc/sys/net/ipv4/conf/{link}/route_localnet"
"""Loopback addresses pass over this link."""

_LOOPBACK = "ip address add 127.0.0.1/32 dev lo && ip link set lo up"
"""Only 127.0.0.1 itself is this machine; a /8, as usual, would hide the neighbours."""

_HUB_UP = f"{_LOOPBACK} && ip link add hub type bridge && {_ROUTED.format(link='hub')} && " \
    f"ip address add {HUB}/24 dev hub && ip link set hub up"  # fmt: skip
_TRIAL = f"{_HUB_UP} && ip link add end0 type veth peer name end1 && unshare --net --uts true"


def way_to_namespaces() -> tuple[str, ...]:
    """The words before a command that give it a network of its own to build machines in; none where it may not."""
    for way in _WAYS:
        try:
            tried = subprocess.run([*way, "sh", "-ec", _TRIAL], capture_output=True, check=False, timeout=20)
        except FileNotFoundError:
            continue
        if tried.returncode == 0:
            return way
    return ()


class Machine:
    """A machine as a group of processes: cutting it off freezes those that paint, and kills those that serve.

    For a frozen server the kernel goes on accepting connections, which a machine that is cut off does not.
    """

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.folder.mkdir(parents=True)
        self.processes: dict[str, Server] = {}

    def inside(self, command: Sequence[str | Path]) -> Sequence[str | Path]:
        """The command as it is run on this machine."""
        return command

    def cut_off(self) -> None:
        """From now on nobody hears of this machine, and it of nobody."""
        for role, process in self.processes.items():
            process.kill() if role == "web" else process.pause()

    def rejoin(self) -> None:
        """The machine is back, in the state in which it was left alone."""
        for process in self.processes.values():
            process.resume()
            process.start()

    def stop(self) -> None:
        """Stop everything on this machine."""
        for process in self.processes.values():
            process.stop()


class NamespaceMachine(Machine):
    """A machine as a network and a host name of its own; its one wire to the hub is taken down to cut it off."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        super().__init__(name, address, folder)
        self._holder = start_process(
            ["unshare", "--net", "--uts", "sleep", "infinity"], env=os.environ, cwd=folder, output=subprocess.DEVNULL
        )
        self._namespaces = Path(f"/proc/{self._holder.pid}/ns")
        wait_until(lambda: (self._namespaces / "net").readlink() != Path("/proc/self/ns/net").readlink(), 10)
        _sh(f"ip link add {name} type veth peer name wire netns {self._holder.pid} && ip link set {name} master hub up")
        wire_up = f"{_ROUTED.format(link='wire')} && ip address add {address}/24 dev wire && ip link set wire up"
        subprocess.run(self.inside(["sh", "-ec", f"{_LOOPBACK} && {wire_up} && hostname {name}"]), check=True)

    def inside(self, command: Sequence[str | Path]) -> Sequence[str | Path]:
        return ["nsenter", f"--net={self._namespaces}/net", f"--uts={self._namespaces}/uts", *command]

    def cut_off(self) -> None:
        _sh(f"ip link set {self.name} down")

    def rejoin(self) -> None:
        _sh(f"ip link set {self.name} up")

    def stop(self) -> None:
        super().stop()
        self._holder.kill()
        self._holder.wait()


def open_hub() -> None:
    """Build the hub's end of the network; to be called once, in a network of our own."""
    _sh(_HUB_UP)


def _sh(script: str) -> None:
    subprocess.run(["sh", "-ec", script], check=True)
