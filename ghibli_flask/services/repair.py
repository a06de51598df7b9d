"""The sweep: whatever died on the way is rung for again, queued again, or failed and given back.

One idempotent function. rq-scheduler starts it every minute through `jobs.sweep`, and a person may start it at any
time; a short lock in Redis keeps two of them from doing the same work, and the guards keep it right without one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial

from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from ghibli_flask import queueing
from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import credits, files, health, progress, runs, sessions, tasks
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import LIVE, Outcome, TaskState

log = logging.getLogger(__name__)

BATCH = 500
RING_AGAIN_AFTER = timedelta(seconds=30)
SILENT_AFTER = timedelta(seconds=45)
PAST_DEADLINE = timedelta(seconds=30)
TRUSTED_GAP = timedelta(seconds=90)
LATE_BY = timedelta(seconds=30)
LOCK_S = 55


@dataclass(frozen=True)
class SweepReport:
    """What one sweep did, in counts; `skipped` when another one was running."""

    failed: int = 0
    requeued: int = 0
    rung: int = 0
    files_deleted: int = 0
    skipped: bool = False

    @property
    def line(self) -> str:
        """The summary line for logs and for a person."""
        if self.skipped:
            return "sweep: another sweep is running, nothing done"
        counts = {name: count for name, count in asdict(self).items() if name != "skipped"}
        return "sweep: " + ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())


def sweep() -> SweepReport:
    """Repair what is stuck, in bounded batches, and keep a record of the run. Needs only the database."""
    with _alone() as alone:
        if not alone:
            return SweepReport(skipped=True)
        now = runtime().clock.now()
        failed = _fail_late(now)
        requeued, given_up = _requeue_dead(now) if _heartbeats_count(now) else (0, 0)
        rung = _ring_again(now)
        sessions.drop_expired()
        credits.drop_departures()
        report = SweepReport(failed + given_up, requeued, rung, files.drain())
        health.keep("sweep", ok=True, details=asdict(report))
    log.info(report.line)
    return report


@contextmanager
def _alone() -> Iterator[bool]:
    """A short lock in Redis; with Redis away the sweep goes on without it, because the guards make it safe."""
    name, token = f"{runtime().settings.queue_prefix}:sweep-lock", secrets.token_hex(8)
    redis = runtime().redis
    try:
        mine = bool(redis.set(name, token, nx=True, ex=LOCK_S))
    except RedisError:
        yield True
        return
    try:
        yield mine
    finally:
        if mine:
            _release(name, token)


def _release(name: str, token: str) -> None:
    script = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
    try:
        runtime().redis.eval(script, 1, name, token)
    except RedisError:
        return  # It expires by itself.


def _heartbeats_count(now: datetime) -> bool:
    """Whether silence means death: not right after a gap in the sweeps, which tells of an outage of the database."""
    last = health.last_finished("sweep")
    # With a SWEEP_CRON slower than a minute the usual gap is longer, and is no sign of an outage.
    return last is not None and now - last <= max(TRUSTED_GAP, progress.sweep_period() + LATE_BY)


def _fail_late(now: datetime) -> int:
    """Fail and refund what is past its deadline."""
    states = [state.value for state in LIVE]
    late = _batch(ImageTask.status.in_(states), ImageTask.deadline_at < now - PAST_DEADLINE)
    ended = 0
    for task in late:
        log.warning(
            "task %s is past its deadline: status %s, stage %s, attempt %s, ring %s, last heartbeat %s",
            task.public_id,
            task.status,
            task.stage,
            task.attempt,
            task.ring,
            task.heartbeat_at,
        )
        done = tasks.end_from_outside(task, Ending(Outcome.FAILED, error_code="too_late"))
        ended += done.state is TaskState.FAILED
    return ended


def _requeue_dead(now: datetime) -> tuple[int, int]:
    """Queue a silent run again once; the second time it is failed and refunded. Gives both counts."""
    silent = _batch(ImageTask.status == TaskState.PROCESSING.value, ImageTask.heartbeat_at < now - SILENT_AFTER)
    requeued = given_up = 0
    for task in silent:
        if task.deaths > 0:
            done = tasks.end_from_outside(task, Ending(Outcome.FAILED, error_code="interrupted"))
            given_up += done.state is TaskState.FAILED
        elif transaction(partial(_requeue, task)):
            log.warning("task %s lost its worker in attempt %s and is queued again", task.public_id, task.attempt)
            runs.announce(task.id)
            requeued += 1
    return requeued, given_up


def _requeue(task: ImageTask, session: Session) -> bool:
    moved = changed(
        session,
        update(ImageTask)
        .where(
            ImageTask.id == task.id,
            ImageTask.status == TaskState.PROCESSING.value,
            ImageTask.attempt == task.attempt,
            ImageTask.heartbeat_at == task.heartbeat_at,
        )
        .values(**runs.requeued_values(task), deaths=task.deaths + 1),
    )
    return moved == 1


def _ring_again(now: datetime) -> int:
    """Ring for what has been queued for a while and whose ring Redis has lost."""
    queued = _batch(ImageTask.status == TaskState.QUEUED.value, ImageTask.queued_at < now - RING_AGAIN_AFTER)
    try:
        known = queueing.rings_in_redis([queueing.job_id(task.public_id, task.ring) for task in queued])
    except RedisError as error:
        log.warning("Redis is away, nothing can be rung for: %s", error)
        return 0
    lost = [task for task in queued if queueing.job_id(task.public_id, task.ring) not in known]
    return sum(_ring_next(task) for task in lost)


def _ring_next(task: ImageTask) -> bool:
    same_ring = update(ImageTask).where(
        ImageTask.id == task.id, ImageTask.status == TaskState.QUEUED.value, ImageTask.ring == task.ring
    )
    if not transaction(lambda session: changed(session, same_ring.values(ring=task.ring + 1))):
        return False
    log.info("task %s is rung for again, ring %s", task.public_id, task.ring + 1)
    progress.publish(progress.look_up(task.public_id))
    return tasks.ring(task.public_id, task.ring + 1)


def _batch(*where: ColumnElement[bool]) -> list[ImageTask]:
    with reading() as session:
        return list(session.scalars(select(ImageTask).where(*where).order_by(ImageTask.id).limit(BATCH)))
