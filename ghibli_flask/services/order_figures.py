"""Figures about the orders of the last day, for the administrators' overview.

Every question is bounded, however many orders there are: the hours are counted from an index alone, everything else
from the newest orders.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import product
from typing import Any

from sqlalchemy import Integer, Select, bindparam, func, select

from ghibli_flask.database import UTCDateTime, reading
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.task_states import Outcome, TaskState

DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)
COUNTED = 10_000
"""So many orders of a kind are counted at most: those that wait, and those of one hour and state."""
NEWEST = 5_000
"""So many orders are looked at for engines, reasons and what was given back."""
TIMED = 500
"""So many paintings are timed."""
LATEST_FAILURES = 5


@dataclass(frozen=True)
class Waiting:
    """What waits, by the rows: how many orders (at most COUNTED), and since when the oldest does."""

    orders: int
    oldest_since: datetime | None


@dataclass
class Hour:
    """The orders that were accepted in one hour, by what became of them."""

    begins: datetime
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    under_way: int = 0

    @property
    def orders(self) -> int:
        """All of them."""
        return self.finished + self.failed + self.cancelled + self.under_way


@dataclass(frozen=True)
class Hours:
    """The last 24 hours, the oldest first. `is_cut` tells that there were too many orders to count them all."""

    hours: list[Hour]
    is_cut: bool


@dataclass
class EngineFigures:
    """One engine: what it painted and what failed with it; seconds from the first stroke to the stored picture."""

    name: str
    painted: int = 0
    failed: int = 0
    durations: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float | None:
        """The median."""
        return percentile(self.durations, 0.5)

    @property
    def p95(self) -> float | None:
        """What 19 of 20 paintings did not exceed."""
        return percentile(self.durations, 0.95)


@dataclass(frozen=True)
class Newest:
    """What the newest orders of the last day tell. `is_cut` says that there were more of them than were looked at."""

    orders: int
    is_cut: bool
    painted: int
    originals: int
    cancelled: int
    refunded: int
    failures: list[tuple[str, int]]
    engines: list[EngineFigures]

    @property
    def failed(self) -> int:
        """How many failed."""
        return sum(count for _reason, count in self.failures)


@dataclass(frozen=True)
class Failure:
    """One failed order: its public id, the code of its reason, its engine, and when."""

    public_id: str
    reason: str
    engine: str | None
    at: datetime


_PART: dict[TaskState, str] = {
    TaskState.QUEUED: "under_way",
    TaskState.PROCESSING: "under_way",
    TaskState.COMPLETED: "finished",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "cancelled",
}


def waiting() -> Waiting:
    """How many orders wait, and since when the oldest does."""
    queued = ImageTask.status == TaskState.QUEUED.value
    some = select(ImageTask.id).where(queued).limit(COUNTED).subquery()
    oldest = select(ImageTask.queued_at).where(queued).order_by(ImageTask.deadline_at).limit(1)
    with reading() as session:
        return Waiting(session.scalar(select(func.count()).select_from(some)) or 0, session.scalar(oldest))


def by_hour(now: datetime) -> Hours:
    """The orders of the last 24 hours, by the hour of their acceptance.

    Each hour is counted in the index on state and deadline, which answers alone: an order's deadline is its acceptance
    and STUCK_AFTER_S. So a change of that setting moves the bars of the day before it.
    """
    patience = timedelta(seconds=runtime().settings.stuck_after_s)
    first = now.replace(minute=0, second=0, microsecond=0) - DAY + HOUR
    hours = [Hour(first + number * HOUR) for number in range(24)]
    bounds = {f"bound_{number}": first + patience + number * HOUR for number in range(25)}
    with reading() as session:
        found = session.execute(_count_of_hours(), {**bounds, "most": COUNTED}).one()
    for place, count in enumerate(found):
        hour, part = hours[place // len(_PART)], list(_PART.values())[place % len(_PART)]
        setattr(hour, part, getattr(hour, part) + count)
    return Hours(hours, is_cut=COUNTED in found)


@cache
def _count_of_hours() -> Select[Any]:
    """One number for each hour and state, in the order of the hours and of _PART; made once, because it is long."""
    counts = []
    for number, state in product(range(24), _PART):
        some = (
            select(ImageTask.status)
            .where(
                ImageTask.status == state.value,
                ImageTask.deadline_at >= bindparam(f"bound_{number}", type_=UTCDateTime),
                ImageTask.deadline_at < bindparam(f"bound_{number + 1}", type_=UTCDateTime),
            )
            .limit(bindparam("most", type_=Integer))
            .subquery()
        )
        counts.append(select(func.count()).select_from(some).scalar_subquery())
    return select(*counts)


def of_newest(now: datetime) -> Newest:
    """What became of the newest orders of the last day, by engine, reason and refund, and how long paintings took."""
    columns = (
        ImageTask.id, ImageTask.created_at, ImageTask.started_at, ImageTask.finished_at, ImageTask.engine,
        ImageTask.outcome, ImageTask.error_code, ImageTask.refunded,
    )  # fmt: skip
    newest = select(*columns).order_by(ImageTask.id.desc()).limit(NEWEST).subquery()
    lately = newest.c.created_at >= now - DAY
    kinds = (newest.c.engine, newest.c.outcome, newest.c.error_code, newest.c.refunded)
    timed = (
        select(newest.c.engine, newest.c.started_at, newest.c.finished_at)
        .where(lately, newest.c.outcome == Outcome.PAINTED.value, newest.c.started_at.is_not(None))
        .order_by(newest.c.id.desc())
        .limit(TIMED)
    )
    with reading() as session:
        groups = session.execute(select(*kinds, func.count()).where(lately).group_by(*kinds)).all()
        times = session.execute(timed).all()
    engines: dict[str, EngineFigures] = {}
    for engine, started, finished in times:
        if engine and finished:
            seconds = (finished - started).total_seconds()
            engines.setdefault(engine, EngineFigures(engine)).durations.append(seconds)
    return _added_up([tuple(group) for group in groups], engines)


def _added_up(
    groups: Sequence[tuple[str | None, str | None, str | None, int, int]], engines: dict[str, EngineFigures]
) -> Newest:
    outcomes: Counter[str | None] = Counter()
    reasons: Counter[str] = Counter()
    refunded = 0
    for engine, outcome, reason, was_refunded, count in groups:
        outcomes[outcome] += count
        refunded += count if was_refunded else 0
        if outcome == Outcome.FAILED:
            reasons[reason or "internal"] += count
        if engine and outcome in {Outcome.PAINTED, Outcome.FAILED}:
            figures = engines.setdefault(engine, EngineFigures(engine))
            figures.painted += count if outcome == Outcome.PAINTED else 0
            figures.failed += count if outcome == Outcome.FAILED else 0
    return Newest(
        orders=outcomes.total(),
        is_cut=outcomes.total() >= NEWEST,
        painted=outcomes[Outcome.PAINTED],
        originals=outcomes[Outcome.ORIGINAL],
        cancelled=outcomes[Outcome.CANCELLED],
        refunded=refunded,
        failures=reasons.most_common(),
        engines=sorted(engines.values(), key=lambda figures: figures.name),
    )


def latest_failures(now: datetime) -> list[Failure]:
    """The last orders that failed within a day, the latest deadline first."""
    failed = (
        select(ImageTask.public_id, ImageTask.error_code, ImageTask.engine, ImageTask.finished_at)
        .where(ImageTask.status == TaskState.FAILED.value, ImageTask.deadline_at > now - DAY)
        .order_by(ImageTask.deadline_at.desc())
        .limit(LATEST_FAILURES)
    )
    with reading() as session:
        return [
            Failure(public_id, reason or "internal", engine, finished)
            for public_id, reason, engine, finished in session.execute(failed)
            if finished
        ]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that this share of the values does not exceed; None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
