"""The sweep: whatever died on the way is rung for again, queued again, or failed and given back.

One idempotent function. rq-scheduler starts it every minute through `jobs.sweep`, the watchdog every five from outside
of all workers, and a person at any time (`flask tasks fix-stuck`). A short lock in Redis keeps two of them from doing
the same work, and the guards keep it right without one. It needs the database alone.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import InstrumentedAttribute
from structlog.contextvars import bound_contextvars

from ghibli_flask import queueing
from ghibli_flask.database import reading
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import (
    alerts,
    allowances,
    batches,
    credits,
    exports,
    files,
    health,
    progress,
    retention,
    sessions,
    sharing,
    wishes,
)
from ghibli_flask.services.alerts import Cause
from ghibli_flask.task_states import TaskState

log = logging.getLogger(__name__)

MOST_A_SWEEP = 2000
"""So many rows of each kind are taken up by one sweep; the next one goes on."""
BATCH = 100
"""So many rows move in one transaction: few enough that nobody waits long for their locks."""
RING_AGAIN_AFTER = timedelta(seconds=30)
SILENT_AFTER = timedelta(seconds=45)
PAST_DEADLINE = timedelta(seconds=30)
TRUSTED_GAP = timedelta(seconds=90)
LATE_BY = timedelta(seconds=30)
LOCK_S = 55

Mover = Callable[[Sequence[ImageTask]], Sequence[ImageTask]]


@dataclass
class SweepReport:
    """What one sweep did, or what a dry one would do, in counts."""

    failed: int = 0
    requeued: int = 0
    rung: int = 0
    wishes_kept: int = 0
    expired: int = 0
    files_deleted: int = 0
    skipped: bool = False
    """Another sweep was running."""
    has_more: bool = False
    """More was stuck than one sweep takes up; the next one goes on."""
    is_dry: bool = False
    broken: list[str] = field(default_factory=list)
    """What did not work, in a few words each; the log has the tracebacks."""

    @property
    def stuck(self) -> int:
        """How many orders were stuck."""
        return self.failed + self.requeued + self.rung

    @property
    def counts(self) -> dict[str, int]:
        """The numbers by their names."""
        return {name: value for name, value in vars(self).items() if type(value) is int}

    @property
    def line(self) -> str:
        """The summary line for logs and for a person."""
        if self.skipped:
            return "sweep: another sweep is running, nothing done"
        counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in self.counts.items())
        more = "; more is stuck" if self.has_more else ""
        trouble = f"; did not work: {', '.join(self.broken)}" if self.broken else ""
        return f"{'dry sweep, nothing done: ' if self.is_dry else 'sweep: '}{counts}{more}{trouble}"


def sweep(older_than: timedelta | None = None) -> SweepReport:
    """Run one sweep under a name of its own, which its lines carry, and the jobs that it rings for; see `_run`."""
    with bound_contextvars(request_id=f"sweep-{secrets.token_hex(4)}"):
        return _run(older_than)


def _run(older_than: timedelta | None) -> SweepReport:
    """Repair what is stuck, in bounded batches, and keep a record of the run. Needs only the database.

    With `older_than` every unfinished order that was accepted longer ago counts as late, whatever its deadline says.
    Raises Unavailable when the database is away.
    """
    try:
        with _alone() as alone:
            if not alone:
                return SweepReport(skipped=True)
            report = _sweep(runtime().clock.now(), older_than)
            health.keep("sweep", ok=not report.broken, details={**report.counts, "broken": report.broken})
    except Unavailable:
        alerts.raise_alert(Cause.DATABASE_AWAY, "The sweep cannot reach the database.")
        raise
    except Exception as error:
        alerts.raise_alert(Cause.FAILING_SWEEP, f"The sweep ended with {type(error).__name__}; see errors.log.")
        raise
    log.log(logging.ERROR if report.broken else logging.INFO, report.line)
    if report.broken:
        alerts.raise_alert(Cause.FAILING_SWEEP, f"The sweep runs, but not all of it works: {', '.join(report.broken)}.")
    else:
        alerts.mended(Cause.FAILING_SWEEP)
    return report


def look(older_than: timedelta | None = None) -> SweepReport:
    """What a sweep would do to the orders now; changes nothing. Raises Unavailable."""
    now = runtime().clock.now()
    late = _late(now, older_than)
    ended = {task.id for task in late}
    silent = [task for task in _silent(now) if task.id not in ended]
    unheard = [task for task in _unheard(now) if task.id not in ended]
    given_up = sum(task.deaths > 0 for task in silent)
    return SweepReport(failed=len(late) + given_up, requeued=len(silent) - given_up, rung=len(unheard), is_dry=True)


def _sweep(now: datetime, older_than: timedelta | None) -> SweepReport:
    report = SweepReport()
    # These three need the database alone: without it there is no sweep. What follows may lack a store, too.
    with _part(report, "late orders", fatal=(Unavailable,)):
        report.failed += _in_batches(_late(now, older_than), _fail_late, report)
    with _part(report, "dead runs", fatal=(Unavailable,)):
        silent = _silent(now)
        report.has_more = report.has_more or len(silent) >= MOST_A_SWEEP
        report.requeued += _in_batches([task for task in silent if not task.deaths], _queue_again, report)
        report.failed += _in_batches([task for task in silent if task.deaths], _give_up, report)
    with _part(report, "lost rings", fatal=(Unavailable,)):
        report.rung += _in_batches(_unheard(now), _ring_again, report)
    with _part(report, "sessions"):
        sessions.drop_expired()
    with _part(report, "departures"):
        credits.drop_departures()
    with _part(report, "counts of past days"):
        allowances.drop_old()
    with _part(report, "pictures for the gallery"):
        sharing.publish_wished()
    with _part(report, "wishes"):
        report.wishes_kept += wishes.keep_due()
    with _part(report, "retention"):
        report.expired += retention.expire()
    with _part(report, "exports"):
        exports.drop_strays()
    with _part(report, "discarded files"):
        report.files_deleted += files.drain()
    return report


@contextmanager
def _part(report: SweepReport, name: str, fatal: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """One part of the sweep: when it fails the others still run, unless the failure is one that would fail them all."""
    try:
        yield
    except fatal:
        raise
    except Exception:
        log.exception("The sweep's part for %s failed", name)
        report.broken.append(name)


def _in_batches(stuck: Sequence[ImageTask], move: Mover, report: SweepReport) -> int:
    """Move these tasks batch by batch; one that cannot be moved is left out, and keeps no other from moving."""
    report.has_more = report.has_more or len(stuck) >= MOST_A_SWEEP
    moved = 0
    for begin in range(0, len(stuck), BATCH):
        batch = stuck[begin : begin + BATCH]
        try:
            moved += len(move(batch))
        except Unavailable:
            raise
        except Exception:
            log.exception("A batch of %d tasks did not move and is tried one by one", len(batch))
            moved += sum(_one(task, move, report) for task in batch)
    return moved


def _one(task: ImageTask, move: Mover, report: SweepReport) -> int:
    try:
        return len(move([task]))
    except Unavailable:
        raise
    except Exception:
        log.exception("task %s cannot be repaired", task.public_id)
        report.broken.append(f"task {task.public_id}")
        return 0


@contextmanager
def _alone() -> Iterator[bool]:
    """A short lock in Redis; with Redis away the sweep goes on without it, because the guards make it safe."""
    run = runtime()
    lock = run.redis.lock(f"{run.settings.queue_prefix}:sweep-lock", timeout=LOCK_S, blocking=False)
    try:
        mine = lock.acquire()
    except RedisError:
        yield True
        return
    try:
        yield mine
    finally:
        if mine:
            # Redis may have gone, or the lock may have expired under a long sweep: it ends by itself.
            with suppress(RedisError):
                lock.release()


# --- What is stuck ---


def _late(now: datetime, older_than: timedelta | None) -> list[ImageTask]:
    """What is past its deadline, or older than a person allows."""
    is_late = ImageTask.deadline_at < now - PAST_DEADLINE
    if older_than is not None:
        is_late = or_(is_late, ImageTask.created_at < now - older_than)
    waiting = _stuck(TaskState.QUEUED, is_late, ImageTask.deadline_at)
    return waiting + _stuck(TaskState.PROCESSING, is_late, ImageTask.deadline_at)


def _silent(now: datetime) -> list[ImageTask]:
    """Runs without a life sign. None right after a gap in the sweeps, which tells of an outage of the database."""
    last = health.last_finished("sweep")
    # With a SWEEP_CRON slower than a minute the usual gap is longer, and is no sign of an outage.
    if last is None or now - last > max(TRUSTED_GAP, progress.sweep_period() + LATE_BY):
        return []
    is_silent = ImageTask.heartbeat_at < now - SILENT_AFTER
    return _stuck(TaskState.PROCESSING, is_silent, ImageTask.heartbeat_at)


def _unheard(now: datetime) -> list[ImageTask]:
    """What has been queued for a while and whose ring Redis has lost; none while Redis is away."""
    queued = _stuck(TaskState.QUEUED, ImageTask.queued_at < now - RING_AGAIN_AFTER, ImageTask.deadline_at)
    try:
        known = queueing.rings_in_redis([queueing.job_id(task.public_id, task.ring) for task in queued])
    except RedisError as error:
        log.warning("Redis is away, nothing can be rung for: %s", error)
        return []
    return [task for task in queued if queueing.job_id(task.public_id, task.ring) not in known]


def _stuck(
    state: TaskState, condition: ColumnElement[bool], oldest_first: InstrumentedAttribute[Any]
) -> list[ImageTask]:
    """The oldest such tasks, in the order of the index that finds them; a sort by id would walk all tasks there are."""
    stuck = select(ImageTask).where(ImageTask.status == state.value, condition)
    with reading() as session:
        return list(session.scalars(stuck.order_by(oldest_first).limit(MOST_A_SWEEP)))


# --- What is done about it ---


def _fail_late(late: Sequence[ImageTask]) -> Sequence[ImageTask]:
    """Fail and refund what is past its deadline."""
    ended = batches.fail(late, "too_late")
    was = {task.id: task for task in late}
    for task in ended:
        log.warning(
            "task %s is past its deadline and failed: accepted %s, status %s, stage %s, attempt %s, ring %s, "
            "last heartbeat %s",
            task.public_id,
            task.created_at.isoformat(timespec="seconds"),
            was[task.id].status,
            was[task.id].stage,
            task.attempt,
            task.ring,
            task.heartbeat_at,
        )
    return ended


def _queue_again(silent: Sequence[ImageTask]) -> Sequence[ImageTask]:
    """Queue silent runs again, for the first time that it happens to each."""
    moved = batches.queue_again(silent)
    for task in moved:
        log.warning("task %s lost its worker in attempt %s and is queued again", task.public_id, task.attempt - 1)
    return moved


def _give_up(silent: Sequence[ImageTask]) -> Sequence[ImageTask]:
    """Fail and refund runs that lost a worker before."""
    ended = batches.fail(silent, "interrupted")
    for task in ended:
        log.warning("task %s lost its worker again in attempt %s and failed", task.public_id, task.attempt)
    return ended


def _ring_again(queued: Sequence[ImageTask]) -> Sequence[ImageTask]:
    """Ring for what nobody can hear of any more."""
    moved = batches.ring_again(queued)
    for task in moved:
        log.info("task %s is rung for again, ring %s", task.public_id, task.ring)
    return moved
