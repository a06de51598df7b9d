"""The monitor: looks at every part of the installation, keeps what it saw, and tells people what is wrong.

Started every five minutes by rq-scheduler (`jobs.monitor`) and by the watchdog outside of all workers, and by hand as
`flask monitor run`. Each look says well, not well or unknown; an alert begins with "not well" and ends with "well",
while "unknown" changes neither: with Redis away nobody can say whether a worker is dead.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select

from ghibli_flask import queueing
from ghibli_flask.database import reading
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import alerts, files, flags, gpu_tokens, health, incidents, upkeep
from ghibli_flask.services.alerts import Cause
from ghibli_flask.storage import stores
from ghibli_flask.task_states import Outcome, TaskState

log = logging.getLogger(__name__)

LEAST_FREE_BYTES = 1024**3
"""Less free disk than this, and the next photographs may not find room."""
LATELY = timedelta(minutes=30)
FAILURES_THAT_TELL = 3
ENGINE_FAILURES = ("engine_unavailable", "engine_timeout", "engine_busy")
PROBE = b"The monitor wrote this and takes it away again."


@dataclass(frozen=True)
class Look:
    """What one look saw: well, not well, or None for unknown; a sentence for people; numbers for machines."""

    ok: bool | None
    text: str
    numbers: dict[str, float | str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class MonitorReport:
    """Everything that one run of the monitor saw, by the name of the part."""

    at: datetime
    looks: dict[str, Look]

    @property
    def ok(self) -> bool:
        """Whether nothing is known to be wrong."""
        return all(look.ok is not False for look in self.looks.values())

    @property
    def line(self) -> str:
        """The summary line for logs and for a person."""
        wrong = [f"{name}: {look.text}" for name, look in self.looks.items() if look.ok is False]
        return "monitor: " + ("; ".join(wrong) if wrong else "all well")


@dataclass(frozen=True)
class _Ground:
    """What the other looks stand on: the answers of `health.checks()`, and the time."""

    up: dict[str, bool]
    now: datetime

    @property
    def has_redis(self) -> bool:
        return self.up["redis"]

    @property
    def has_database(self) -> bool:
        return self.up["database"]


def check() -> MonitorReport:
    """Look at every part, keep the result, raise and end alerts. Never raises: what cannot be seen is unknown."""
    report = look()
    try:
        if report.looks["database"].ok:
            health.keep("monitor", ok=report.ok, details={name: asdict(one) for name, one in report.looks.items()})
    except Exception:
        log.exception("The monitor's result could not be kept")
    log.log(logging.INFO if report.ok else logging.WARNING, report.line)
    _tell(report)
    return report


def look() -> MonitorReport:
    """Look at every part without keeping or telling anything; only the storage is written to and read back."""
    ground = _Ground(health.checks(), runtime().clock.now())
    return MonitorReport(ground.now, {name: _try(name, one, ground) for name, (one, _cause) in LOOKS.items()})


def _try(name: str, one: Callable[[_Ground], Look], ground: _Ground) -> Look:
    try:
        return one(ground)
    except Exception as error:
        log.exception("The monitor could not look at %s", name)
        return Look(None, f"could not be looked at ({type(error).__name__})")


def _tell(report: MonitorReport) -> None:
    is_open = {incident.cause for incident in incidents.open_incidents()}
    for name, (_look, cause) in LOOKS.items():
        seen = report.looks[name]
        if seen.ok is False:
            alerts.raise_alert(cause, seen.text)
        elif seen.ok and cause in is_open:
            alerts.mended(cause)


# --- The looks ---


def _database(ground: _Ground) -> Look:
    return Look(ground.has_database, "answers" if ground.has_database else "The database does not answer.")


def _redis(ground: _Ground) -> Look:
    return Look(ground.has_redis, "answers" if ground.has_redis else "Redis does not answer.")


def _storage(ground: _Ground) -> Look:
    """Write, read and give up a small file, as an order does; a crash in between leaves nothing behind."""
    if not ground.up["storage"]:
        return Look(False, "No store takes new files.")
    if not ground.has_database:
        return Look(True, "answers; nothing can be written for trial while the database is away")
    try:
        kept = files.keep(PROBE, "health", "jpg")
        came_back = files.read(kept) == PROBE
        files.abandon(kept)
    except Unavailable:
        return Look(False, "No store takes new files.")
    if not came_back:
        return Look(False, f"The store {kept.store} does not give back what was written.")
    complaints = {name: complaint for name, complaint in stores().check().items() if complaint}
    wanted = stores().takers("health")[0]
    if kept.store != wanted:
        complaints.setdefault(wanted, "takes no files")
    if complaints:
        told = "; ".join(f"{name}: {complaint}" for name, complaint in complaints.items())
        return Look(False, f"Files go to {kept.store}, but not every store is well. {told}", {"store": kept.store})
    return Look(True, f"{kept.store} writes and reads", {"store": kept.store})


def _queue(ground: _Ground) -> Look:
    depth = queueing.waiting() if ground.has_redis else None
    if not ground.has_database:
        return Look(None, "unknown while the database is away", {"depth": depth})
    oldest = (
        select(ImageTask.queued_at)
        .where(ImageTask.status == TaskState.QUEUED.value)
        .order_by(ImageTask.deadline_at)
        .limit(1)
    )
    with reading() as session:
        since = session.scalar(oldest)
    age = (ground.now - since).total_seconds() if since else 0.0
    numbers: dict[str, float | str | None] = {"depth": depth, "oldest_s": round(age)}
    if age > runtime().settings.stuck_after_s / 2:
        return Look(False, f"The oldest order has been waiting for {age / 60:.0f} minutes.", numbers)
    return Look(True, f"{'an unknown number of' if depth is None else depth} waiting, the oldest {age:.0f} s", numbers)


def _workers(ground: _Ground) -> Look:
    load = queueing.load() if ground.has_redis else None
    if load is None:
        return Look(None, "unknown while Redis is away")
    if not load.workers:
        return Look(False, "No painting worker is heard of.", {"workers": 0})
    text = f"{load.workers} painting, {load.busy} of {load.slots} slots busy"
    return Look(True, text, {"workers": load.workers, "slots": load.slots, "busy": load.busy})


def _maintenance_worker(ground: _Ground) -> Look:
    return _heard(ground, "maintenance_worker", "No maintenance worker is heard of, so no sweep runs by itself.")


def _scheduler(ground: _Ground) -> Look:
    return _heard(ground, "scheduler", "The scheduler has been silent, so nothing runs by the clock.")


def _heard(ground: _Ground, name: str, otherwise: str) -> Look:
    if not ground.has_redis:
        return Look(None, "unknown while Redis is away")
    return Look(ground.up[name], "heard of" if ground.up[name] else otherwise)


def _sweep(ground: _Ground) -> Look:
    runs = health.last_runs("sweep") if ground.has_database else []
    if not runs:
        return Look(None, "no sweep has run yet" if ground.has_database else "unknown while the database is away")
    age = (ground.now - runs[0].finished_at).total_seconds()
    numbers: dict[str, float | str | None] = {"age_s": round(age)}
    if not runs[0].ok:
        broken = ", ".join(runs[0].details.get("broken", []))
        return Look(False, f"The last sweep did not do everything: {broken}.", numbers)
    if ground.up["sweep"]:
        return Look(True, f"finished {age:.0f} s ago", numbers)
    # Without Redis only the watchdog sweeps, every five minutes: less often, and not failing.
    return Look(False if ground.has_redis else None, f"The last sweep finished {age / 60:.0f} minutes ago.", numbers)


def _engines(ground: _Ground) -> Look:
    if not ground.has_database:
        return Look(None, "unknown while the database is away")
    engines = flags.current().engines
    if not engines:
        return Look(False, "No engine is configured and switched on.")
    painted, failed = _lately(ground.now)
    names, numbers = ", ".join(engines), {"painted": painted, "failed": failed}
    if failed >= FAILURES_THAT_TELL and not painted:
        return Look(False, f"None of the last {failed} orders was painted ({names}).", {**numbers})
    return Look(True, f"{names}; lately {painted} painted, {failed} failed by an engine", {**numbers})


def _lately(now: datetime) -> tuple[int, int]:
    """How many orders ended painted, and how many because of an engine, within LATELY."""
    ended = (
        select(ImageTask.outcome, ImageTask.error_code, func.count())
        .where(
            ImageTask.status.in_((TaskState.COMPLETED.value, TaskState.FAILED.value)),
            ImageTask.finished_at > now - LATELY,
            # The same once more for the index: no order outlives its deadline by as much as this.
            ImageTask.deadline_at > now - 2 * LATELY,
        )
        .group_by(ImageTask.outcome, ImageTask.error_code)
    )
    painted = failed = 0
    with reading() as session:
        for outcome, code, count in session.execute(ended):
            painted += count if outcome == Outcome.PAINTED.value else 0
            failed += count if code in ENGINE_FAILURES else 0
    return painted, failed


def _tokens(ground: _Ground) -> Look:
    if not gpu_tokens.is_configured():
        return Look(True, "none are set")
    if not ground.has_redis:
        return Look(None, "unknown while Redis is away")
    gpu_tokens.refresh()
    tokens = gpu_tokens.statuses()
    refused = [token.mask for token in tokens if token.state == "disabled"]
    usable = sum(token.state in {"available", "leased"} for token in tokens)
    numbers: dict[str, float | str | None] = {"tokens": len(tokens), "usable": usable, "refused": len(refused)}
    if refused:
        return Look(False, f"The Hub refuses {', '.join(refused)}.", numbers)
    return Look(True, f"{usable} of {len(tokens)} can be used now", numbers)


def _disk(ground: _Ground) -> Look:
    settings = runtime().settings
    folders = [folder for folder in (settings.instance_dir, settings.logs) if folder.exists()]
    free = min(shutil.disk_usage(folder).free for folder in folders)
    text = f"{free / 1024**3:.1f} GB free"
    numbers: dict[str, float | str | None] = {"free_bytes": free}
    if free < LEAST_FREE_BYTES:
        return Look(False, f"The disk under {settings.instance_dir} is nearly full: {text}.", numbers)
    return Look(True, text, numbers)


def _certificate(ground: _Ground) -> Look:
    return Look(*upkeep.look_at_certificate(ground.now))


def _backup(ground: _Ground) -> Look:
    return Look(*upkeep.look_at_backup(ground.now))


LOOKS: dict[str, tuple[Callable[[_Ground], Look], Cause]] = {
    "database": (_database, Cause.DATABASE_AWAY),
    "redis": (_redis, Cause.REDIS_AWAY),
    "storage": (_storage, Cause.STORAGE_AWAY),
    "queue": (_queue, Cause.QUEUE_TOO_OLD),
    "workers": (_workers, Cause.DEAD_WORKER),
    "maintenance_worker": (_maintenance_worker, Cause.NO_MAINTENANCE_WORKER),
    "scheduler": (_scheduler, Cause.SCHEDULER_SILENT),
    "sweep": (_sweep, Cause.FAILING_SWEEP),
    "engines": (_engines, Cause.NO_ENGINE_LEFT),
    "tokens": (_tokens, Cause.REJECTED_TOKEN),
    "disk": (_disk, Cause.FULL_DISK),
    "certificate": (_certificate, Cause.CERTIFICATE_ENDS),
    "backup": (_backup, Cause.BACKUP_LATE),
}
"""Every part, how it is looked at, and the cause that people are told about."""
