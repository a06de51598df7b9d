"""How the installation is doing: the checks behind GET /api/health, and the kept results of periodic duties."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import RedisError
from rq import worker_registration
from sqlalchemy import delete, select, text

from ghibli_flask import queueing
from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.models.health import HealthCheck
from ghibli_flask.services import files
from ghibli_flask.services.progress import sweep_period
from ghibli_flask.storage import stores

log = logging.getLogger(__name__)

KEPT_RUNS = 10
SWEEP_OVERDUE = timedelta(seconds=30)


def keep(kind: str, *, ok: bool, details: dict[str, Any]) -> None:
    """Keep the result of a finished run, and the last ten of its kind."""
    now = runtime().clock.now()
    transaction(lambda session: session.add(HealthCheck(kind=kind, finished_at=now, ok=ok, details=details)))
    with reading() as session:
        old = session.scalars(
            select(HealthCheck.id).where(HealthCheck.kind == kind).order_by(HealthCheck.id.desc()).offset(KEPT_RUNS)
        ).all()
    if old:
        transaction(lambda session: session.execute(delete(HealthCheck).where(HealthCheck.id.in_(old))))


def last_finished(kind: str) -> datetime | None:
    """When the last run of this kind finished."""
    with reading() as session:
        return session.scalar(
            select(HealthCheck.finished_at).where(HealthCheck.kind == kind).order_by(HealthCheck.id.desc()).limit(1)
        )


def last_runs(kind: str) -> list[HealthCheck]:
    """The kept runs of this kind, newest first."""
    with reading() as session:
        return list(
            session.scalars(
                select(HealthCheck).where(HealthCheck.kind == kind).order_by(HealthCheck.id.desc()).limit(KEPT_RUNS)
            )
        )


def checks() -> dict[str, bool]:
    """Each part, up or down. Only `database` and `storage` down mean that no order can be accepted."""
    return near_checks() | {"storage": _storage_answers()}


def near_checks() -> dict[str, bool]:
    """The same without the stores, which may be far away: quick enough for a page that is looked at every minute."""
    results = {"database": _database_answers()}
    results["redis"] = _redis_answers()
    results["workers"] = results["redis"] and _painter_is_heard()
    results["maintenance_worker"] = results["redis"] and _has_worker(queueing.maintenance_queue())
    results["scheduler"] = results["redis"] and _scheduler_lives()
    results["sweep"] = results["database"] and _sweep_is_recent()
    results["engines"] = bool(runtime().settings.engines)
    return results


def storage_details() -> dict[str, Any]:
    """For the operator: where new files go, which stores rest until when, and how many files went elsewhere."""
    return {
        "order": list(stores().order),
        "resting": {name: until.isoformat() for name, until in stores().resting.items()},
        "fallbacks": files.fallbacks(),
    }


def _database_answers() -> bool:
    try:
        with reading() as session:
            session.execute(text("SELECT 1"))
    except Unavailable:
        return False
    return True


def _storage_answers() -> bool:
    """Whether a store answers that takes photographs; asking writes nothing."""
    return stores().can_take("sources")


def _redis_answers() -> bool:
    try:
        return bool(runtime().redis.ping())
    except RedisError:
        return False


def _painter_is_heard() -> bool:
    """By the workers' own news: RQ counts a killed one as present for as long as its order could have taken."""
    load = queueing.load()
    return load is not None and load.workers > 0


def _has_worker(queue: Any) -> bool:
    try:
        keys = worker_registration.get_keys(queue)
        return bool(keys) and bool(runtime().redis.exists(*keys))
    except RedisError:
        return False


def _scheduler_lives() -> bool:
    try:
        return queueing.scheduler_lives()
    except RedisError:
        return False


def _sweep_is_recent() -> bool:
    last = last_finished("sweep")
    return last is not None and runtime().clock.now() - last <= 2 * sweep_period() + SWEEP_OVERDUE
