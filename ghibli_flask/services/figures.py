"""The figures of GET /metrics: the totals that `ghibli_flask.metrics` keeps, and how the installation is doing now.

All of them are the installation's and not this process's, read from Redis and the database at the scrape: whichever
process answers on whichever machine, it says the same. What cannot be read is left out, and `ghibli_up` says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import func, select

from ghibli_flask import metrics, queueing
from ghibli_flask.database import reading
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.metrics import COUNTED, LEVEL_CHECKS, Counter, Histogram, Key
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import files, flags, gpu_tokens, health, incidents, service_levels
from ghibli_flask.services.alerts import Cause
from ghibli_flask.task_states import LIVE

AWAY = (RedisError, Unavailable)
"""What leaves a figure out of a scrape."""


def exposition() -> bytes:
    """Every figure in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Installation())
    return generate_latest(registry)


class _Installation(Collector):
    """Everything that is known of the installation, collected anew at each scrape."""

    def describe(self) -> list[Metric]:
        """Nothing: the registry of one scrape has no names to keep apart."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The counts, then the state of each part; a part that cannot be read is passed over."""
        up = health.near_checks()
        yield _gauge("ghibli_up", "Whether a part of the installation is up.", ("part",), _ones_and_zeros(up))
        parts: list[Callable[[], Iterator[Metric]]] = [_goals]
        if up["redis"]:
            parts += [_counts, _queues, _workers, _tokens, _stores]
        if up["database"]:
            parts += [_orders, _engines, _sweep, _incidents]
        for part in parts:
            try:
                yield from list(part())
            except AWAY:
                continue  # It went away since it was looked at; the next scrape says so.


# --- What was counted ---


def _counts() -> Iterator[Metric]:
    by_name: dict[str, dict[Key, float]] = defaultdict(dict)
    for (name, *rest), amount in metrics.totals().items():
        by_name[name][tuple(rest)] = amount
    # A level that nothing has missed yet has a count of misses all the same: a rate of nothing judges nothing.
    for key in service_levels.LEVELS:
        for met in (service_levels.MET, service_levels.MISSED):
            by_name[LEVEL_CHECKS.name].setdefault((key, met), 0.0)
    for metric in COUNTED:
        found = by_name[metric.name]
        yield _histogram(metric, found) if isinstance(metric, Histogram) else _counter(metric, found)


def _counter(counter: Counter, found: dict[Key, float]) -> Metric:
    family = CounterMetricFamily(counter.name, counter.words, labels=counter.labels)
    for labels, amount in sorted(found.items()):
        if len(labels) == len(counter.labels):  # An earlier release may have had other labels.
            family.add_metric(labels, amount)
    return family


def _histogram(histogram: Histogram, found: dict[Key, float]) -> Metric:
    family = HistogramMetricFamily(histogram.name, histogram.words, labels=histogram.labels)
    series: dict[Key, dict[str, float]] = defaultdict(dict)
    for (*labels, bucket), amount in found.items():
        if len(labels) == len(histogram.labels):
            series[tuple(labels)][bucket] = amount
    for values, spread in sorted(series.items()):
        so_far, buckets = 0.0, []
        for name in histogram.bucket_names:
            so_far += spread.get(name, 0.0)
            buckets.append((name, so_far))
        family.add_metric(values, buckets, sum_value=spread.get("sum", 0.0))
    return family


def _goals() -> Iterator[Metric]:
    goals = {(rule.key,): rule.goal for rule in service_levels.LEVELS.values()}
    yield _gauge("ghibli_service_level_goal_ratio", "The share of events that must meet a level.", ("level",), goals)


# --- How it is doing now ---


def _queues() -> Iterator[Metric]:
    depths = {("paint",): len(queueing.paint_queue()), ("maintenance",): len(queueing.maintenance_queue())}
    yield _gauge("ghibli_queue_jobs", "Jobs that wait in a queue.", ("queue",), depths)


def _workers() -> Iterator[Metric]:
    load = queueing.load()
    if load is None:
        return
    yield _gauge("ghibli_workers", "Painting workers that were heard of within 30 seconds.", (), {(): load.workers})
    yield _gauge("ghibli_worker_slots", "Orders that they can paint at once.", (), {(): load.slots})
    yield _gauge("ghibli_worker_busy_slots", "Orders that they have in hand.", (), {(): load.busy})
    resting = {(engine,): load.resting.count(engine) for engine in runtime().settings.engines}
    words = "Painting workers that leave an engine alone for a while, because it failed several times in a row."
    yield _gauge("ghibli_engine_resting_workers", words, ("engine",), resting)


def _tokens() -> Iterator[Metric]:
    labels = ("number", "token")
    statuses = {(str(number), status.mask): status for number, status in enumerate(gpu_tokens.statuses(), 1)}
    left = {key: status.seconds_left for key, status in statuses.items()}
    yield _gauge("ghibli_token_seconds_left", "GPU seconds that a token has left of its day.", labels, left)
    states = {
        (*key, state): float(status.state == state)
        for key, status in statuses.items()
        for state in get_args(gpu_tokens.State)
    }
    yield _gauge("ghibli_token_state", "1 for the state that a token is in.", (*labels, "state"), states)


def _stores() -> Iterator[Metric]:
    family = CounterMetricFamily(
        "ghibli_storage_fallbacks_total",
        "Files that another store took than the one that is first for them.",
        labels=("wanted", "taken"),
    )
    for way, count in sorted(files.fallbacks().items()):
        family.add_metric(way.split(">"), count)
    yield family


def _orders() -> Iterator[Metric]:
    live = [state.value for state in LIVE]
    found = select(ImageTask.status, func.count(), func.min(ImageTask.queued_at))
    with reading() as session:
        rows = session.execute(found.where(ImageTask.status.in_(live)).group_by(ImageTask.status)).all()
    counts = {(state,): 0 for state in sorted(live)} | {(state,): count for state, count, _since in rows}
    yield _gauge("ghibli_orders_in_flight", "Orders that have not ended.", ("state",), counts)
    since = next((since for state, _count, since in rows if state == "queued"), None)
    yield _gauge("ghibli_queue_oldest_wait_seconds", "How long the oldest order waits.", (), {(): _age(since)})


def _engines() -> Iterator[Metric]:
    on = flags.current().engines
    enabled = {(engine,): float(engine in on) for engine in runtime().settings.engines}
    yield _gauge("ghibli_engine_enabled", "Whether an operator lets an engine paint.", ("engine",), enabled)


def _sweep() -> Iterator[Metric]:
    last = health.last_finished("sweep")
    if last is not None:
        yield _gauge("ghibli_sweep_age_seconds", "Time since the last sweep ended.", (), {(): _age(last)})


def _incidents() -> Iterator[Metric]:
    is_open = {incident.cause for incident in incidents.open_incidents()}
    causes = {(cause.value,): float(cause in is_open) for cause in Cause}
    yield _gauge("ghibli_incident_open", "Whether an alert of the monitor stands.", ("cause",), causes)


def _age(since: datetime | None) -> float:
    return max(0.0, (runtime().clock.now() - since).total_seconds()) if since else 0.0


def _ones_and_zeros(values: Mapping[str, bool]) -> dict[Key, float]:
    return {(name,): float(value) for name, value in values.items()}


def _gauge(name: str, words: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    """A gauge with its values by the tuple of their labels."""
    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
