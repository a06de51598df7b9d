"""Everything that the administrators' overview shows, gathered in one go. Called by `admin.overview`.

Each part is bounded and quick; what lives in Redis is None while Redis is away, and the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ghibli_flask import queueing
from ghibli_flask.extensions import runtime
from ghibli_flask.models.health import HealthCheck
from ghibli_flask.queueing import Load
from ghibli_flask.services import (
    concerns,
    files,
    gpu_tokens,
    health,
    order_figures,
    page_errors,
    ratings,
    service_levels,
)
from ghibli_flask.services.concerns import Concern
from ghibli_flask.services.gpu_tokens import TokenStatus
from ghibli_flask.services.order_figures import Failure, Hours, Newest, Waiting
from ghibli_flask.services.page_errors import PageError
from ghibli_flask.services.ratings import Rated
from ghibli_flask.services.service_levels import Level
from ghibli_flask.storage import stores

RATINGS_SHOWN = 8
RATINGS_COUNTED = timedelta(days=7)


@dataclass(frozen=True)
class Storage:
    """Where new files go, in order; which stores rest until when; how many files went elsewhere, as `r2>local`."""

    order: tuple[str, ...]
    resting: dict[str, datetime]
    fallbacks: dict[str, int]


@dataclass(frozen=True)
class Overview:
    """How the installation is doing at one moment."""

    at: datetime
    concerns: list[Concern]
    waiting: Waiting
    rung: int | None
    hours: Hours
    newest: Newest
    levels: tuple[Level, ...]
    workers: dict[str, Load] | None
    storage: Storage
    checks: list[HealthCheck]
    tokens: list[TokenStatus]
    failures: list[Failure]
    page_errors: list[PageError] | None
    thumbs: tuple[int, int]
    ratings: list[Rated]

    @property
    def alarms(self) -> list[Concern]:
        """What visitors notice, or soon will."""
        return [concern for concern in self.concerns if concern.is_alarm]

    @property
    def notices(self) -> list[Concern]:
        """What else deserves a look."""
        return [concern for concern in self.concerns if not concern.is_alarm]


def of_now() -> Overview:
    """Gather it; raises Unavailable when the database is away."""
    now = runtime().clock.now()
    waiting, tokens, levels = order_figures.waiting(), gpu_tokens.statuses(), service_levels.current()
    return Overview(
        at=now,
        concerns=concerns.of_now(now, waiting, tokens, levels),
        waiting=waiting,
        rung=queueing.waiting(),
        hours=order_figures.by_hour(now),
        newest=order_figures.of_newest(now),
        levels=levels,
        workers=queueing.loads_by_worker(),
        storage=Storage(stores().order, stores().resting, files.fallbacks()),
        checks=health.last_runs("monitor"),
        tokens=tokens,
        failures=order_figures.latest_failures(now),
        page_errors=page_errors.recent(),
        thumbs=ratings.counts(now - RATINGS_COUNTED),
        ratings=ratings.recent(RATINGS_SHOWN),
    )
