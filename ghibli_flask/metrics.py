"""What is counted, and the counts themselves: kept in Redis, so that one figure holds for all processes and machines.

Everybody who has something to count calls `count` and `observe`: services, the front doors and the jobs. They add in
memory alone; a thread sends the sums to Redis once a second, so nobody who counts ever waits, and an outage of Redis
costs nothing. `services.figures` shows the totals at GET /metrics, docs/metrics.md describes each for people.
"""

from __future__ import annotations

import atexit
import json
import logging
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from flask import Flask, current_app
from redis import Redis
from redis.exceptions import RedisError

from ghibli_flask.clock import Clock
from ghibli_flask.extensions import runtime, web_redis
from ghibli_flask.settings import Settings

log = logging.getLogger(__name__)

TALLY_KEY = "ghibli_tally"
SEND_EVERY_S = 1.0
LATELY_HOURS = 24
HOUR_KEPT = timedelta(hours=LATELY_HOURS + 2)

Key = tuple[str, ...]
"""The name of a metric, the values of its labels, and for a histogram the bucket's upper bound, or `sum`."""


@dataclass(frozen=True)
class Counter:
    """A number that only grows. A `lately` counter is also kept by the hour for a day."""

    name: str
    words: str
    labels: tuple[str, ...] = ()
    lately: bool = False


@dataclass(frozen=True)
class Histogram:
    """How values spread over buckets, which are named by their upper bounds in seconds."""

    name: str
    words: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]

    @property
    def bucket_names(self) -> tuple[str, ...]:
        """The buckets as Prometheus names them, the open one last."""
        return (*map(str, self.bounds), "+Inf")


HTTP_SECONDS = Histogram(
    "ghibli_http_request_duration_seconds",
    "Time from the first look at a request to its answer; its count is the number of requests.",
    ("method", "route", "status"),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
ORDERS_ACCEPTED = Counter("ghibli_orders_accepted_total", "Orders that were entered.", ("mode", "style"))
ORDERS_ENDED = Counter(
    "ghibli_orders_ended_total",
    "Orders that ended; the reason is that of a failure, or of an original that came back.",
    ("outcome", "reason", "engine", "style"),
)
ORDERS_REFUNDED = Counter(
    "ghibli_orders_refunded_total", "Ended orders whose price, a credit or a guest's try, was given back.", ("outcome",)
)
ORDER_SECONDS = Histogram(
    "ghibli_order_duration_seconds",
    "Seconds of orders that were painted: waiting, painting and saving, and the whole from order to picture.",
    ("stage", "engine"),
    (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 240.0, 480.0, 1200.0),
)
ENGINE_CALLS = Counter("ghibli_engine_calls_total", "Calls of engines, by how they ended.", ("engine", "result"))
STORAGE_WRITES = Counter(
    "ghibli_storage_writes_total", "Files that a store was given, by whether it took them.", ("store", "result")
)
STORAGE_READ_FAILURES = Counter(
    "ghibli_storage_read_failures_total", "Files that a store did not give because it was away.", ("store",)
)
LEVEL_CHECKS = Counter(
    "ghibli_service_level_checks_total",
    "Events that a service level judges, by whether they met it.",
    ("level", "met"),
    lately=True,
)

COUNTED: tuple[Counter | Histogram, ...] = (
    HTTP_SECONDS, ORDERS_ACCEPTED, ORDERS_ENDED, ORDERS_REFUNDED, ORDER_SECONDS, ENGINE_CALLS, STORAGE_WRITES,
    STORAGE_READ_FAILURES, LEVEL_CHECKS,
)  # fmt: skip

_LATELY = frozenset(metric.name for metric in COUNTED if isinstance(metric, Counter) and metric.lately)


def count(counter: Counter, *labels: str) -> None:
    """Count one; the labels are in the counter's order, and of a few known values each."""
    _tally().add((((counter.name, *labels), 1.0),))


def observe(histogram: Histogram, seconds: float, *labels: str) -> None:
    """Count a value into its bucket, and into the sum; the labels as for `count`."""
    bucket = histogram.bucket_names[bisect_left(histogram.bounds, seconds)]
    name = histogram.name
    _tally().add((((name, *labels, bucket), 1.0), ((name, *labels, "sum"), max(0.0, seconds))))


def totals() -> dict[Key, float]:
    """Everything that was counted since the keys in Redis began; raises RedisError."""
    return _read(cast("dict[bytes, bytes]", runtime().redis.hgetall(_totals_key())))


def lately(counter: Counter) -> dict[Key, float]:
    """A `lately` counter's counts by their labels, of the running hour and the 23 before it; raises RedisError."""
    run = runtime()
    now = run.clock.now()
    with run.redis.pipeline(transaction=False) as pipeline:
        for hours in range(LATELY_HOURS):
            pipeline.hgetall(_hour_key(run.settings, f"{now - timedelta(hours=hours):%Y-%m-%dT%H}"))
        kept = pipeline.execute()
    sums: dict[Key, float] = defaultdict(float)
    for hour in kept:
        for (name, *labels), amount in _read(hour).items():
            if name == counter.name:
                sums[tuple(labels)] += amount
    return sums


def send_counts() -> None:
    """Send now what this process has counted: for tests, and for a scrape of a process that has just counted."""
    _tally().send()


class Tally:
    """The counts of this process that Redis does not have yet. Safe over threads."""

    def __init__(self, settings: Settings, clock: Clock, redis: Redis) -> None:
        """`redis` is a client of its own that gives up quickly: whatever counts must not wait for it."""
        self._settings, self._clock, self._redis = settings, clock, redis
        self._counts: dict[Key, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._is_due = False
        self._closed = threading.Event()

    def add(self, increments: Iterable[tuple[Key, float]]) -> None:
        """Add to the counts; the first one after a pause starts the thread that sends them."""
        with self._lock:
            for key, amount in increments:
                self._counts[key] += amount
            if self._is_due:
                return
            self._is_due = True
        atexit.register(self.close)
        threading.Thread(target=self._send_while_due, name="metrics", daemon=True).start()

    def send(self) -> None:
        """Send the counts to Redis; what cannot be sent is kept for the next time."""
        with self._sending:
            with self._lock:
                counts, self._counts = self._counts, defaultdict(float)
            if not counts:
                return
            try:
                # Asked ahead, because counts that were sent without an answer may have arrived: they are not sent
                # again, and so are lost when they have not. In an outage it is this question that fails.
                self._redis.ping()
            except RedisError:
                self._put_back(counts)
                return
            try:
                self._write(counts)
            except RedisError as error:
                log.debug("Redis went away; the counts of a second may be lost: %s", error)

    def close(self) -> None:
        """Send what is left: this process ends."""
        self._closed.set()
        atexit.unregister(self.close)
        self.send()
        self._redis.close()

    def _send_while_due(self) -> None:
        while not self._closed.wait(SEND_EVERY_S):
            self.send()
            with self._lock:
                if not self._counts:
                    self._is_due = False
                    return

    def _put_back(self, counts: Mapping[Key, float]) -> None:
        with self._lock:
            for key, amount in counts.items():
                self._counts[key] += amount

    def _write(self, counts: Mapping[Key, float]) -> None:
        totals_key = f"{self._settings.queue_prefix}:metrics"
        hour_key = _hour_key(self._settings, f"{self._clock.now():%Y-%m-%dT%H}")
        with self._redis.pipeline() as pipeline:
            for key, amount in counts.items():
                field = json.dumps(key)
                pipeline.hincrbyfloat(totals_key, field, amount)
                if key[0] in _LATELY:
                    pipeline.hincrbyfloat(hour_key, field, amount)
                    pipeline.expire(hour_key, HOUR_KEPT)
            pipeline.execute()


def install_metrics(app: Flask, settings: Settings, clock: Clock) -> None:
    """Give an application its counts; nothing is connected or started before the first one."""
    app.extensions[TALLY_KEY] = Tally(settings, clock, web_redis(settings.redis_address))


def close_metrics(app: Flask) -> None:
    """Send what is left of an application's counts, before its process ends or becomes another one."""
    cast(Tally, app.extensions[TALLY_KEY]).close()


def _tally() -> Tally:
    return cast(Tally, current_app.extensions[TALLY_KEY])


def _totals_key() -> str:
    return f"{runtime().settings.queue_prefix}:metrics"


def _hour_key(settings: Settings, hour: str) -> str:
    return f"{settings.queue_prefix}:metrics:{hour}"


def _read(fields: Mapping[bytes, bytes]) -> dict[Key, float]:
    return {tuple(json.loads(field)): float(amount) for field, amount in fields.items()}
