"""What RQ holds: the two queues with their registries and workers, and why jobs failed. For the administrators' page.

Read only, by RQ's own objects, and bounded: numbers are Redis's own counts, and of the jobs only the first few are
fetched. Tracebacks are shown without secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.exceptions import RedisError
from rq import Queue, worker_registration
from rq.job import Job
from rq.registry import BaseRegistry

from ghibli_flask import queueing
from ghibli_flask.extensions import runtime
from ghibli_flask.masking import Mask

SHOWN = 10
LONGEST_TRACEBACK = 6_000
REGISTRIES = ("started", "failed", "scheduled", "deferred")


@dataclass(frozen=True)
class JobView:
    """One job: what it is for in words, when it was rung, and for a failed one the masked traceback."""

    job_id: str
    description: str
    enqueued_at: datetime | None
    ended_at: datetime | None
    traceback: str | None


@dataclass(frozen=True)
class QueueView:
    """One queue: how many jobs wait or stand in each registry, the first of them, and its workers' names."""

    name: str
    counts: dict[str, int]
    waiting: list[JobView]
    started: list[JobView]
    failed: list[JobView]
    workers: list[str]


def queues() -> list[QueueView] | None:
    """Both queues; None when Redis is away."""
    mask = Mask(runtime().settings)
    try:
        return [_view(queue, mask) for queue in (queueing.paint_queue(), queueing.maintenance_queue())]
    except RedisError:
        return None


def _view(queue: Queue, mask: Mask) -> QueueView:
    registries: dict[str, BaseRegistry] = {name: getattr(queue, f"{name}_job_registry") for name in REGISTRIES}
    # Reading only: tidying a registry up is the workers' part.
    counts = {name: registry.get_job_count(cleanup=False) for name, registry in registries.items()}
    failed = registries["failed"].get_job_ids(0, SHOWN - 1, desc=True, cleanup=False)
    started = registries["started"].get_job_ids(0, SHOWN - 1, cleanup=False)
    return QueueView(
        name=queue.name,
        counts={"waiting": queue.count, **counts},
        waiting=_jobs(queue, queue.get_job_ids(0, SHOWN), mask),
        started=_jobs(queue, started, mask),
        failed=_jobs(queue, failed, mask, with_traceback=True),
        workers=sorted(key.rsplit(":", 1)[-1] for key in worker_registration.get_keys(queue)),
    )


def _jobs(queue: Queue, ids: Sequence[str], mask: Mask, *, with_traceback: bool = False) -> list[JobView]:
    jobs = Job.fetch_many(list(ids), connection=queue.connection)
    return [_job(job, mask, with_traceback) for job in jobs if job is not None]


def _job(job: Job, mask: Mask, with_traceback: bool) -> JobView:
    """A job in the words that it was rung with; its arguments are not shown."""
    result = job.latest_result() if with_traceback else None
    text = result.exc_string if result else None
    return JobView(
        job.id,
        mask(job.description or ""),
        _utc(job.enqueued_at),
        _utc(job.ended_at),
        mask(text)[-LONGEST_TRACEBACK:] if text else None,
    )


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
