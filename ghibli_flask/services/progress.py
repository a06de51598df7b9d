"""What a visitor is told about a task: the live status when it is fresh, else the row, with place, times and promise.

Called by the front doors for every poll, and by the services that publish a new state.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from crontab import CronTab
from redis.exceptions import RedisError
from sqlalchemy import select

from ghibli_flask import queueing, status
from ghibli_flask.clock import epoch_ms
from ghibli_flask.database import reading
from ghibli_flask.errors import AppError, NotFound
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import files
from ghibli_flask.status import LiveStatus
from ghibli_flask.storage import StoredFile
from ghibli_flask.task_states import Stage, TaskState

log = logging.getLogger(__name__)

SWEEP_GRACE = timedelta(seconds=120)
NEAR_THE_END = 60
QUICK_POLL_MS = 500
FAR_BACK = 10


@dataclass(frozen=True)
class TaskView:
    """One task as a visitor may see it; times are aware UTC, durations whole seconds unless named otherwise."""

    public_id: str
    state: TaskState
    progress: int
    stage: Stage
    queue_position: int | None
    engine: str | None
    engine_rank: int | None
    eta_seconds: int | None
    eta_range_seconds: tuple[int, int] | None
    refund_at: datetime | None
    refunded: bool
    has_result: bool
    note: str | None
    error_code: str | None
    attempt: int
    elapsed_ms: int
    next_poll_ms: int | None


def look_up(public_id: str) -> ImageTask:
    """The row of this task; raises NotFound when it is unknown or deleted."""
    with reading() as session:
        task = session.scalar(select(ImageTask).where(ImageTask.public_id == public_id, ImageTask.deleted_at.is_(None)))
    if task is None:
        raise NotFound
    return task


def view(public_id: str) -> TaskView:
    """What to tell about this task now; raises NotFound when it is unknown or deleted."""
    now = runtime().clock.now()
    live = status.read(public_id)
    if live is None or live.outside or not live.is_believed(now):
        return view_as_known(look_up(public_id))
    return _view(public_id, live, now)


def view_as_known(task: ImageTask) -> TaskView:
    """What to tell about a row that was read: the live status where it is further on, and published again."""
    now = runtime().clock.now()
    live = status.read(task.known_as)
    fresh = live_status(task, now)
    status.publish(task.known_as, fresh)
    return _view(task.public_id, _further(fresh, live), now)


def view_of(task: ImageTask) -> TaskView:
    """What to tell about a row that the caller has just written."""
    now = runtime().clock.now()
    return _view(task.public_id, live_status(task, now), now)


def publish(task: ImageTask) -> None:
    """Put a row's state into the live status; an outage of Redis is no failure."""
    status.publish(task.known_as, live_status(task, runtime().clock.now()))


def hand_out(task: ImageTask) -> None:
    """Lay the picture of a task that came from outside where its caller looks for it; Redis away is no failure."""
    if task.alias is None or task.result_store is None or task.result_key is None:
        return
    try:
        status.mailbox().put_picture(task.alias, files.read(StoredFile(task.result_store, task.result_key)))
    except (AppError, RedisError) as error:
        log.warning("The picture of task %s was not put into Redis: %s", task.public_id, error)


def live_status(task: ImageTask, now: datetime) -> LiveStatus:
    """The live status that this row amounts to."""
    return LiveStatus(
        status=task.status,
        attempt=task.attempt,
        ring=task.ring,
        progress=float(task.progress),
        stage=task.stage,
        start_time=epoch_ms(task.created_at),
        updated_at=epoch_ms(now),
        user_id=task.owner,
        prompt=task.prompt,
        deadline=epoch_ms(task.deadline_at),
        engine=task.engine,
        paint_started=epoch_ms(task.started_at) if task.started_at else None,
        finished=epoch_ms(task.finished_at) if task.finished_at else None,
        refunded=bool(task.refunded),
        has_result=task.result_key is not None,
        outside=task.alias is not None,
        note=task.note,
        code=task.error_code,
    )


def refund_time(deadline: datetime) -> datetime:
    """The moment that a visitor is promised: by then an unfinished order has been given back."""
    return deadline + SWEEP_GRACE + sweep_period()


def sweep_period() -> timedelta:
    """How long one period of SWEEP_CRON is."""
    return _period_of(runtime().settings.sweep_cron)


@lru_cache(maxsize=4)
def _period_of(cron_line: str) -> timedelta:
    """The time between two runs of a cron line, measured a second after one of them."""
    cron = CronTab(cron_line)
    first = datetime(2026, 1, 1) + timedelta(seconds=cron.next(now=datetime(2026, 1, 1), default_utc=True))  # noqa: DTZ001
    return timedelta(seconds=cron.next(now=first + timedelta(seconds=1), default_utc=True) + 1)


def _further(row: LiveStatus, live: LiveStatus | None) -> LiveStatus:
    """Of a stale live value and the row: the row, unless both are of one run and the live value was further on."""
    if live is None or row.state is not live.state or row.attempt != live.attempt or row.progress >= live.progress:
        return row
    return live


def _view(public_id: str, live: LiveStatus, now: datetime) -> TaskView:
    state = live.state
    load = None if state.is_terminal else queueing.load()
    place = queueing.position(public_id, live.ring) if state is TaskState.QUEUED else None
    eta = _eta_seconds(live, place, load, now)
    return TaskView(
        public_id=public_id,
        state=state,
        progress=round(live.progress),
        stage=Stage(live.stage),
        queue_position=place,
        engine=live.engine,
        engine_rank=live.engine_rank,
        eta_seconds=None if eta is None else 5 * round(eta / 5),
        eta_range_seconds=load.painting_range() if load else None,
        refund_at=None if state.is_terminal else refund_time(_moment(live.deadline)),
        refunded=live.refunded,
        has_result=live.has_result,
        note=live.note,
        error_code=live.code,
        attempt=live.attempt,
        elapsed_ms=(live.finished or epoch_ms(now)) - live.start_time,
        next_poll_ms=None if state.is_terminal else _next_poll_ms(live, place, eta),
    )


def _eta_seconds(live: LiveStatus, place: int | None, load: queueing.Load | None, now: datetime) -> float | None:
    """Seconds until the picture is there: the engine's own word first, else what recent paintings took."""
    if live.state.is_terminal:
        return None
    if live.engine_eta is not None:
        return max(0.0, live.engine_eta - (epoch_ms(now) - live.updated_at) / 1000)
    median = load.median_seconds if load else None
    if load is None or median is None:
        return None
    if live.state is TaskState.QUEUED:
        wait = load.wait_seconds(place) if place is not None else 0.0
        return None if wait is None else wait + median
    since = (epoch_ms(now) - (live.paint_started or live.start_time)) / 1000
    return max(0.0, median - since)


def _next_poll_ms(live: LiveStatus, place: int | None, eta: float | None) -> int:
    usual = runtime().settings.progress_update_interval
    if place is not None and place > FAR_BACK:
        return min(usual * 3, 15_000)
    if live.progress >= NEAR_THE_END or (eta is not None and eta < 2 * usual / 1000):
        return min(usual, QUICK_POLL_MS)
    return usual


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
