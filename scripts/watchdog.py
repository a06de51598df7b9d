"""Starts dead and silent workers of this machine again, from outside of all of them. Called by `monitor_tasks.py`.

A worker is looked after here when somebody wanted it here: start_worker.sh left its pid file, or its systemd unit is
enabled. Dead is known without anybody's help. Silent is known from Redis, so without Redis nobody is called silent:
a healthy worker that waits for Redis says nothing either.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from redis.exceptions import RedisError
from rq import worker_registration

from ghibli_flask import queueing
from ghibli_flask.extensions import runtime
from ghibli_flask.services import alerts
from ghibli_flask.services.alerts import Cause
from scripts.processes import wait_until

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
LOOK_AGAIN_FOR_S = 15.0
"""Longer than the ten seconds between two life signs: what was missed in an outage of Redis has come by then."""
LOOK_EVERY_S = 3.0
END_WITHIN_S = 5.0
START_WITHIN_S = 60.0


@dataclass(frozen=True)
class Role:
    """One kind of worker: after how many silent seconds it is started again, and what people are told then."""

    name: str
    unit: str
    silent_after_s: float
    cause: Cause


ROLES = (
    Role("paint", "ghibli-worker.service", 45, Cause.DEAD_WORKER),
    # RQ's idle worker gives a sign every 405 s, and its longest job, of 300 s, is silent.
    Role("maintenance", "ghibli-maintenance.service", 480, Cause.NO_MAINTENANCE_WORKER),
    Role("scheduler", "ghibli-scheduler.service", 60, Cause.SCHEDULER_SILENT),
)


class Keeper(Protocol):
    """Whoever starts a role's worker on this machine."""

    def pid(self) -> int | None:
        """The worker's process id, None when it is dead."""

    def start_again(self, pid: int | None) -> bool:
        """End what is left of the worker and start it; says whether it runs then."""


@dataclass(frozen=True)
class ByPidFile:
    """A worker that start_worker.sh started."""

    role: str
    file: Path

    def pid(self) -> int | None:
        """The process of the pid file, when it lives and is this worker."""
        try:
            pid = int(self.file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if [b"worker.py", self.role.encode()] == words[1:3] else None

    def start_again(self, pid: int | None) -> bool:
        """Kill what does not answer, and have start_worker.sh start it, unless it was stopped meanwhile."""
        if pid is not None:
            _end(pid)
        return _succeeds([ROOT / "scripts/start_worker.sh", "--again", self.role])


@dataclass(frozen=True)
class BySystemd:
    """A worker that is a unit of systemd."""

    unit: str

    def pid(self) -> int | None:
        """The unit's main process."""
        told = subprocess.run(
            ["systemctl", "show", "--property=MainPID", "--value", self.unit],
            capture_output=True, text=True, timeout=START_WITHIN_S, check=False,
        )  # fmt: skip
        return int(told.stdout.strip() or 0) or None

    def start_again(self, pid: int | None) -> bool:
        """Have systemd start it again. Without root's rights what is silent is ended, and Restart= does the rest."""
        if pid is None or os.geteuid() == 0:
            return _succeeds(["systemctl", "restart", self.unit])
        _end(pid)
        return wait_until(lambda: self.pid() not in {None, pid}, START_WITHIN_S, every=1.0)


@dataclass(frozen=True)
class Restart:
    """One worker that was started again, or could not be."""

    role: Role
    text: str
    worked: bool


def look_after_workers() -> list[Restart]:
    """Look at each worker that is wanted on this machine, and start again what is dead or silent."""
    restarts = []
    for role in ROLES:
        keeper = _keeper_of(role)
        if keeper is None:
            continue
        pid = keeper.pid()
        if pid is not None and not _is_silent(role, pid):
            continue
        restarts.append(_start_again(role, keeper, pid))
    return restarts


def _start_again(role: Role, keeper: Keeper, pid: int | None) -> Restart:
    what = f"The {role.name} worker on {socket.gethostname()} was {'dead' if pid is None else 'silent'}"
    log.warning("%s and is started again", what)
    worked = keeper.start_again(pid)
    text = f"{what} and {'was started again' if worked else 'could not be started again'}."
    log.log(logging.WARNING if worked else logging.ERROR, text)
    alerts.raise_alert(role.cause, text)
    return Restart(role, text, worked)


def _keeper_of(role: Role) -> Keeper | None:
    file = runtime().settings.instance_dir / "run" / f"{role.name}.pid"
    if file.exists():
        return ByPidFile(role.name, file)
    if shutil.which("systemctl") and _succeeds(["systemctl", "is-enabled", "--quiet", role.unit]):
        return BySystemd(role.unit)
    return None


# --- Silence ---


def _is_silent(role: Role, pid: int) -> bool:
    """Whether nothing was heard of a living worker for too long, though Redis has been there to be told."""
    if _age_of(pid) < role.silent_after_s:
        return False
    heard = _HEARD[role.name]

    def speaks() -> bool:
        try:
            if float(runtime().redis.info("server")["uptime_in_seconds"]) < role.silent_after_s:
                return True
            moment = heard(pid)
        except RedisError:
            return True
        return moment is not None and (datetime.now(UTC) - moment).total_seconds() < role.silent_after_s

    return not wait_until(speaks, LOOK_AGAIN_FOR_S, every=LOOK_EVERY_S)


def _painter_heard(pid: int) -> datetime | None:
    """When the painting worker of this process last told its load."""
    return queueing.heard_of(_own_names("paint", pid))


def _maintenance_heard(pid: int) -> datetime | None:
    """When RQ last noted a life sign of the maintenance worker of this process."""
    queue = queueing.maintenance_queue()
    is_own = _own_names("maintenance", pid)
    for key in worker_registration.get_keys(queue):
        if is_own(key.removeprefix("rq:worker:")):
            told = cast("bytes | None", runtime().redis.hget(key, "last_heartbeat"))
            return datetime.fromisoformat(told.decode()) if told else None
    return None


def _scheduler_heard(_pid: int) -> datetime | None:
    """The scheduler's sign is there or not: it expires."""
    return datetime.now(UTC) if queueing.scheduler_lives() else None


_HEARD: dict[str, Callable[[int], datetime | None]] = {
    "paint": _painter_heard,
    "maintenance": _maintenance_heard,
    "scheduler": _scheduler_heard,
}


def _own_names(role: str, pid: int) -> Callable[[str], bool]:
    """Whether a worker's name is that of this process: `<prefix>-<role>-<machine>-…-<process id>`."""
    begin = f"{runtime().settings.queue_prefix}-{role}-{socket.gethostname()}-"
    return lambda name: name.startswith(begin) and name.endswith(f"-{pid}")


# --- Processes ---


def _age_of(pid: int) -> float:
    """Seconds since a process began; 0 for one that has ended meanwhile."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return 0.0
    return up - int(fields[19]) / os.sysconf("SC_CLK_TCK")  # Field 22 of proc(5), counted from behind the name.


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        if not wait_until(lambda: _age_of(pid) == 0.0, END_WITHIN_S):
            os.kill(pid, signal.SIGKILL)  # It did not listen; its orders are queued again by the sweep.
            time.sleep(0.2)


def _succeeds(command: list[str | Path]) -> bool:
    try:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, timeout=START_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.error("%s: %s", command[0], error)
        return False
    if done.stderr:
        log.warning("%s: %s", Path(command[0]).name, done.stderr.strip())
    return done.returncode == 0
