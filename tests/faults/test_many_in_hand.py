"""A worker with many orders in hand on its bad day: one is cancelled, all are handed back, killed, or begun anew."""

import time
from collections.abc import Callable

import pytest
from flask import Flask
from rq.command import send_stop_job_command

from ghibli_flask import queueing
from ghibli_flask.clock import FixedClock
from ghibli_flask.extensions import AWAY_MEMORY_S, runtime
from scripts.processes import wait_until
from tests.engines.conftest import RunningSpace
from tests.faults.conftest import (
    Visitor,
    WorkerProcess,
    assert_nothing_left,
    paint_waiting,
    row,
    running_rings,
    sweep,
    sweep_after_silence,
    tries_used,
    wait_for_call,
)
from tests.support.redis_server import RedisServer

Painter = Callable[..., Flask]
StartWorker = Callable[..., WorkerProcess]
OUTAGE_S = 2.0
WARM_STOP = "from jobs.concurrent_worker import ConcurrentWorker; ConcurrentWorker.warm_stop_s = {}"
BALLAST = "ballast = bytearray(b'1') * 250_000_000"


@pytest.fixture
def web(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """The web side, with room for many orders of one guest."""
    return app_factory(clock=clock, guest_daily_limit=100, guest_daily_limit_per_address=100, orders_per_minute=0)


def order(visitor: Visitor, count: int, seed: int, words: str = "order") -> list[str]:
    """So many orders, each with words of its own."""
    return [visitor.order(number, prompt=f"{words} {number}", seed=seed) for number in range(count)]


def states(web: Flask, orders: list[str]) -> list[str]:
    """What the rows say."""
    return [row(web, task_id).status for task_id in orders]


def in_hand(web: Flask, orders: list[str]) -> bool:
    """Wait until all of these are claimed."""
    return wait_until(lambda: states(web, orders) == ["processing"] * len(orders), 30)


def ended(web: Flask, orders: list[str]) -> bool:
    """Wait until all of these have their picture."""
    return wait_until(lambda: states(web, orders) == ["completed"] * len(orders), 60)


def test_one_of_many_ends(
    web: Flask, visitor: Visitor, worker_process: StartWorker, moods: RunningSpace, clock: FixedClock
) -> None:
    """A cancel ends one painting, RQ's stop-job hands another back to the queue, and the third goes on."""
    cancelled, stopped, other = orders = order(visitor, 3, seed=400, words="one of many")
    worker = worker_process(moods, "/patient")
    for number in range(3):
        wait_for_call(moods, f"one of many {number}")
    assert visitor.cancel(cancelled).json["status"] == "CANCELLED"
    wait_for_call(moods, "one of many 0", "stopped")
    with web.app_context():
        send_stop_job_command(runtime().redis, queueing.job_id(stopped, 1))
    wait_for_call(moods, "one of many 1", "stopped")
    assert wait_until(lambda: row(web, stopped).status == "processing" and row(web, stopped).attempt == 3, 10)
    now = {task_id: row(web, task_id) for task_id in orders}
    assert (now[stopped].handbacks, now[stopped].deaths) == (1, 0)
    assert (now[other].status, now[other].attempt) == ("processing", 1)
    assert {ring.partition("-")[0] for ring in running_rings(web)} == {stopped, other}
    with web.app_context():
        assert queueing.job_id(stopped, 1) in queueing.paint_queue().failed_job_registry

    for task_id in (stopped, other):
        visitor.cancel(task_id)
    assert wait_until(lambda: running_rings(web) == [], 10)
    assert worker.terminate() == 0
    assert tries_used(web) == [0, 0]
    assert_nothing_left(web, clock)


@pytest.mark.parametrize("signals", ["one", "two"])
def test_a_stop_hands_back(
    signals: str, web: Flask, visitor: Visitor, worker_process: StartWorker, moods: RunningSpace, clock: FixedClock
) -> None:
    """When the time of a warm stop is over, or at a second signal, everything in hand goes back to the queue."""
    orders = order(visitor, 6, seed=400)
    worker = worker_process(moods, "/patient", WARM_STOP.format(1.0 if signals == "one" else 60.0))
    assert in_hand(web, orders)
    began_at = time.monotonic()
    if signals == "two":
        worker.ask_to_stop()
        time.sleep(1.1)  # Sooner it would count as the same signal.
    assert worker.terminate() == 0
    assert time.monotonic() - began_at < 8
    assert states(web, orders) == ["queued"] * 6
    assert {(row(web, task_id).handbacks, row(web, task_id).deaths) for task_id in orders} == {(1, 0)}
    with web.app_context():
        assert queueing.waiting() == 6
    assert running_rings(web) == []
    for task_id in orders:
        visitor.cancel(task_id)
    assert_nothing_left(web, clock)


def test_killed_with_twenty_in_hand(
    each_database: str,
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    worker_process: StartWorker,
    moods: RunningSpace,
    gallery: RunningSpace,
    clock: FixedClock,
) -> None:
    """A worker that is killed with twenty orders loses none: each is queued again once, and painted."""
    orders = order(visitor, 20, seed=400)
    worker = worker_process(moods, "/patient")
    assert in_hand(web, orders)
    worker.kill()
    assert sweep_after_silence(web, clock).requeued == 20
    assert sweep(web).requeued == 0
    paint_waiting(painter(gallery))
    assert states(web, orders) == ["completed"] * 20
    assert {(row(web, task_id).attempt, row(web, task_id).deaths) for task_id in orders} == {(3, 1)}
    assert tries_used(web) == [20, 20]
    assert_nothing_left(web, clock)


@pytest.mark.parametrize("limit", ["orders", "memory"])
def test_beginning_anew_under_load(
    limit: str, web: Flask, visitor: Visitor, worker_process: StartWorker, gallery: RunningSpace, clock: FixedClock
) -> None:
    """A worker that has had its orders or its memory begins anew in the same process, and no order notices."""
    count, lives = {"orders": (10, 3), "memory": (3, 3)}[limit]
    orders = order(visitor, count, seed=2)
    settings = {"orders": {"WORKER_MAX_ORDERS": "4"}, "memory": {"WORKER_MEMORY_MB": "200"}}[limit]
    worker = worker_process(gallery, "/slow", BALLAST if limit == "memory" else "", WORKER_CONCURRENCY="3", **settings)
    pid = worker.pid
    assert ended(web, orders), worker.tail()
    assert {(row(web, task_id).attempt, row(web, task_id).handbacks) for task_id in orders} == {(1, 0)}
    begun_anew = worker.log.read_text().count("begins anew")
    assert begun_anew >= lives - 1
    assert worker.pid == pid
    assert wait_until(worker.answers, 20)
    assert worker.terminate() == 0
    assert_nothing_left(web, clock)


def test_redis_away_under_load(
    web: Flask,
    visitor: Visitor,
    worker_process: StartWorker,
    moods: RunningSpace,
    redis_server: RedisServer,
    clock: FixedClock,
) -> None:
    """Redis goes for seconds and forgets all: what was in hand is painted, what waited is rung for again."""
    orders = order(visitor, 9, seed=20)
    worker = worker_process(moods, "/patient", WORKER_CONCURRENCY="5")
    assert wait_until(lambda: states(web, orders).count("processing") == 5, 20)
    redis_server.stop()
    assert wait_until(lambda: states(web, orders).count("completed") == 5, 40), worker.tail()
    time.sleep(OUTAGE_S)
    redis_server.start()
    time.sleep(AWAY_MEMORY_S)
    clock.advance(seconds=31)
    assert sweep(web).rung == 4
    assert ended(web, orders), worker.tail()
    assert {row(web, task_id).attempt for task_id in orders} == {1}
    assert wait_until(lambda: running_rings(web) == [], 10)
    assert worker.terminate() == 0
    assert tries_used(web) == [9, 9]
    assert_nothing_left(web, clock)
