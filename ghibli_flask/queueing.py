"""The only door to RQ for the web side: ring for a task, ask where it waits, see how loaded the workers are.

Jobs are named by dotted path, because the web side never imports `jobs`. Called by `services`. Redis is a doorbell:
nothing here is the truth about an order, and everything here may fail with one of `extensions.REDIS_AWAY`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from redis.exceptions import RedisError
from rq import Queue
from rq.utils import current_timestamp
from rq.utils import now as utc_now
from structlog.contextvars import get_contextvars

from ghibli_flask.clock import epoch_ms
from ghibli_flask.extensions import runtime

PAINT_JOB = "jobs.paint.paint"
MAIL_JOB = "jobs.letters.write"
EXPORT_JOB = "jobs.export.pack"
RESULT_TTL_S = 0
FAILURE_TTL_S = 24 * 3600
REQUEST_ID = "request_id"
"""The name of the id that follows an order from its request to its engine, in log lines and in the jobs' meta."""
WORKER_NEWS_TTL_S = 30
LAST_DURATIONS = 50
SCHEDULER_SEEN_FOR_S = 40
ON_ITS_WAY_FOR = timedelta(seconds=30)


def paint_queue_name(prefix: str) -> str:
    """The queue of the orders."""
    return f"{prefix}-paint"


def maintenance_queue_name(prefix: str) -> str:
    """The queue of the sweep and the other periodic duties."""
    return f"{prefix}-maintenance"


def paint_queue() -> Queue:
    """The orders' queue on the application's Redis."""
    run = runtime()
    return Queue(paint_queue_name(run.settings.queue_prefix), connection=run.redis)


def maintenance_queue() -> Queue:
    """The maintenance queue on the application's Redis."""
    run = runtime()
    return Queue(maintenance_queue_name(run.settings.queue_prefix), connection=run.redis)


def job_id(public_id: str, ring: int) -> str:
    """The RQ job id of one ring of a task."""
    return f"{public_id}-{ring}"


def ring(public_id: str, number: int) -> None:
    """Put a task's id on the orders' queue; raises a RedisError when that is not possible now."""
    settings = runtime().settings
    paint_queue().enqueue_call(
        PAINT_JOB,
        args=(public_id,),
        job_id=job_id(public_id, number),
        timeout=settings.stuck_after_s + 60,
        result_ttl=RESULT_TTL_S,
        failure_ttl=FAILURE_TTL_S,
        description=f"paint {public_id}",
        meta=_caller(),
    )


def _caller() -> dict[str, str]:
    """What a job carries along to its worker's log: the id of the request, or of the sweep, that rang for it."""
    caller = get_contextvars().get(REQUEST_ID)
    return {REQUEST_ID: caller} if caller else {}


def ring_all(rings: Sequence[tuple[str, int]]) -> None:
    """Put these tasks, as (id, ring), on the orders' queue in one round trip; raises a RedisError."""
    if not rings:
        return
    timeout = runtime().settings.stuck_after_s + 60
    jobs = [
        Queue.prepare_data(
            PAINT_JOB,
            args=(public_id,),
            job_id=job_id(public_id, number),
            timeout=timeout,
            result_ttl=RESULT_TTL_S,
            failure_ttl=FAILURE_TTL_S,
            description=f"paint {public_id}",
            meta=_caller(),
        )
        for public_id, number in rings
    ]
    paint_queue().enqueue_many(jobs)


def ask_for_mail(kind: str, email_key: str, locale: str | None, argument: str | None) -> None:
    """Have the maintenance worker write a mail; raises a RedisError when that is not possible."""
    maintenance_queue().enqueue_call(
        MAIL_JOB,
        args=(kind, email_key, locale, argument),
        timeout=60,
        result_ttl=RESULT_TTL_S,
        failure_ttl=FAILURE_TTL_S,
        description=f"mail {kind}",
        meta=_caller(),
    )


def ask_for_export(public_id: str, part: int) -> None:
    """Have the maintenance worker pack one part of an export, behind what waits already; raises a RedisError."""
    maintenance_queue().enqueue_call(
        EXPORT_JOB,
        args=(public_id, part),
        timeout=300,
        result_ttl=RESULT_TTL_S,
        failure_ttl=FAILURE_TTL_S,
        description=f"export part {part}",
        meta=_caller(),
    )


def unring(public_id: str, number: int) -> None:
    """Take a waiting ring off the queue, so that a cancelled order costs no worker a look."""
    try:
        paint_queue().remove(job_id(public_id, number))
    except RedisError:
        return  # A ring that stays is harmless: the claim finds the row ended.


def unring_all(job_ids: Sequence[str]) -> None:
    """Take these waiting rings off the queue in one round trip."""
    queue = paint_queue()
    try:
        with queue.connection.pipeline(transaction=False) as pipeline:
            for ring_id in job_ids:
                pipeline.lrem(queue.key, 1, ring_id)
            pipeline.execute()
    except RedisError:
        return  # A ring that stays is harmless: the claim finds the row ended.


def position(public_id: str, ring_number: int) -> int | None:
    """How many orders are to be taken before this one, plus one; None when it is not waiting or unknown."""
    queue = paint_queue()
    try:
        place = queue.connection.lpos(queue.key, job_id(public_id, ring_number))
    except RedisError:
        return None
    return None if place is None else cast(int, place) + 1


def waiting() -> int | None:
    """How many orders wait in the queue; None when unknown."""
    try:
        return int(paint_queue().connection.llen(paint_queue().key))
    except RedisError:
        return None


def rings_in_redis(job_ids: list[str]) -> set[str]:
    """Those of these rings that wait, are on their way to a worker, or run in one that lives; raises RedisError."""
    queue = paint_queue()
    pipeline = queue.connection.pipeline(transaction=False)
    for ring_id in job_ids:
        pipeline.lpos(queue.key, ring_id)
        pipeline.lpos(queue.intermediate_queue_key, ring_id)
    places = pipeline.execute()
    known = _living(queue)
    for index, ring_id in enumerate(job_ids):
        is_popped = places[2 * index + 1] is not None
        if places[2 * index] is not None or (is_popped and _is_on_its_way(queue, ring_id)):
            known.add(ring_id)
    return known


def _living(queue: Queue) -> set[str]:
    """The rings in the started registry whose worker beats: a killed one's entries stay, with a time that is over."""
    registry = queue.started_job_registry
    entries = cast("list[bytes]", queue.connection.zrangebyscore(registry.key, f"({current_timestamp()}", "+inf"))
    return {registry.parse_job_id(entry.decode()) for entry in entries}


def _is_on_its_way(queue: Queue, ring_id: str) -> bool:
    """Whether a ring was popped just now: from pop to start takes a moment, unless its worker died in between."""
    popped = queue.intermediate_queue
    if popped.set_first_seen(ring_id):
        return True
    first_seen = popped.get_first_seen(ring_id)
    return first_seen is None or utc_now() - first_seen < ON_ITS_WAY_FOR


@dataclass(frozen=True)
class Load:
    """What the painting workers last said of themselves, added up; durations are seconds of recent paintings."""

    workers: int
    slots: int
    busy: int
    durations: tuple[float, ...]
    resting: tuple[str, ...] = ()
    """The engines that workers leave alone for a while, each as often as workers do."""

    @property
    def median_seconds(self) -> float | None:
        """The median of recent paintings; None when there were none."""
        return statistics.median(self.durations) if self.durations else None

    def wait_seconds(self, place: int) -> float | None:
        """The expected wait at this place in the queue; None when nothing is known."""
        median = self.median_seconds
        return None if median is None or not self.slots else place * median / self.slots

    def painting_range(self) -> tuple[int, int] | None:
        """The middle half of recent durations in whole seconds; None with fewer than four of them."""
        if len(self.durations) < 4:
            return None
        low, _middle, high = statistics.quantiles(self.durations, n=4)
        return round(low), round(high)


def tell_load(worker: str, slots: int, busy: int, durations: list[float], resting: Sequence[str] = ()) -> None:
    """A painting worker's news about itself, sent every 10 s; raises RedisError."""
    run = runtime()
    news = {
        "slots": slots,
        "busy": busy,
        "durations": [round(seconds, 2) for seconds in durations[-LAST_DURATIONS:]],
        "resting": list(resting),
        "updatedAt": epoch_ms(run.clock.now()),
    }
    run.redis.hset(_workers_key(), worker, json.dumps(news))


def forget_worker(worker: str) -> None:
    """A painting worker that stops takes its news along; raises RedisError."""
    runtime().redis.hdel(_workers_key(), worker)


def heard_of(is_own: Callable[[str], bool]) -> datetime | None:
    """When a painting worker with such a name last sent its news; raises RedisError."""
    news = cast("dict[bytes, bytes]", runtime().redis.hgetall(_workers_key()))
    moments = [json.loads(raw)["updatedAt"] for name, raw in news.items() if is_own(name.decode())]
    return datetime.fromtimestamp(max(moments) / 1000, UTC) if moments else None


def load() -> Load | None:
    """The painting workers' load, from those heard of within 30 s; None when Redis is away."""
    loads = loads_by_worker()
    if loads is None:
        return None
    return Load(
        workers=len(loads),
        slots=sum(load.slots for load in loads.values()),
        busy=sum(load.busy for load in loads.values()),
        durations=tuple(seconds for load in loads.values() for seconds in load.durations),
        resting=tuple(engine for load in loads.values() for engine in load.resting),
    )


def loads_by_worker() -> dict[str, Load] | None:
    """The load of each painting worker that was heard of within 30 s; None when Redis is away."""
    run = runtime()
    try:
        news = cast("dict[bytes, bytes]", run.redis.hgetall(_workers_key()))
    except RedisError:
        return None
    oldest = epoch_ms(run.clock.now()) - WORKER_NEWS_TTL_S * 1000
    fresh = {
        name: item for name, item in ((n, json.loads(raw)) for n, raw in news.items()) if item["updatedAt"] > oldest
    }
    gone = [name for name in news if name not in fresh]
    if gone:
        run.redis.hdel(_workers_key(), *gone)
    return {
        # A worker of an earlier release does not tell what rests.
        name.decode(): Load(1, item["slots"], item["busy"], tuple(item["durations"]), tuple(item.get("resting", ())))
        for name, item in fresh.items()
    }


def tell_scheduler_lives() -> None:
    """The scheduler's sign of life, sent with every look at the clock; raises RedisError."""
    runtime().redis.set(_scheduler_key(), b"1", ex=SCHEDULER_SEEN_FOR_S)


def scheduler_lives() -> bool:
    """Whether a scheduler was heard of lately; raises RedisError."""
    return bool(runtime().redis.exists(_scheduler_key()))


def _scheduler_key() -> str:
    return f"{runtime().settings.queue_prefix}:scheduler:seen"


def _workers_key() -> str:
    return f"{runtime().settings.queue_prefix}:workers"
