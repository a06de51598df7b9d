"""Redis on its bad day: it is a doorbell and a cache, so an order outlives whatever happens to it."""

import signal
import time
from collections.abc import Callable

import pytest
from flask import Flask

from ghibli_flask import queueing
from ghibli_flask.clock import FixedClock
from ghibli_flask.extensions import AWAY_MEMORY_S, runtime
from ghibli_flask.services import tasks
from tests.engines.conftest import RunningSpace
from tests.faults.conftest import (
    Visitor,
    WorkerProcess,
    assert_nothing_left,
    calls,
    edit,
    meanwhile,
    paint_waiting,
    row,
    running_rings,
    seconds_of,
    stored_files,
    sweep,
    tries_used,
    wait_for_call,
)
from tests.support.redis_server import RedisServer

Painter = Callable[..., Flask]
SHORT_TTL_S = 4
KILLED_BEFORE_THE_CLAIM = f"""
import os, signal
from ghibli_flask.services import runs
from jobs import concurrent_worker
concurrent_worker.EXECUTION_TTL_S = {SHORT_TTL_S}
runs.claim = lambda public_id: os.kill(os.getpid(), signal.SIGKILL)
"""
QUICKLY_S = 10.0
"""Five times the two seconds that are wished, because the tests share their cores."""


def bring_back(redis_server: RedisServer) -> None:
    """Have an empty Redis running, and wait until the web side no longer remembers that it was away."""
    redis_server.empty()
    time.sleep(AWAY_MEMORY_S)


@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_away_at_submit(
    each_database: str,
    fault: str,
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    gallery: RunningSpace,
    redis_server: RedisServer,
    clock: FixedClock,
) -> None:
    """With Redis stopped or frozen an order is accepted quickly, can be polled, and is painted once Redis is back."""
    getattr(redis_server, fault)()
    seconds, task_id = seconds_of(visitor.order)
    assert seconds < QUICKLY_S
    seconds, told = seconds_of(lambda: visitor.poll(task_id))
    assert seconds < QUICKLY_S
    assert (told["status"], told["queuePosition"]) == ("PENDING", None)

    bring_back(redis_server)
    clock.advance(seconds=31)
    assert sweep(web).rung == 1
    paint_waiting(painter(gallery))
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_away_while_the_sweep_runs(web: Flask, visitor: Visitor, redis_server: RedisServer, clock: FixedClock) -> None:
    """The sweep needs only the database: with Redis away it still fails and refunds what is late."""
    late, waiting = visitor.order(1), visitor.order(2)
    edit(web, late, deadline_at=clock.now())
    redis_server.stop()
    clock.advance(seconds=31)
    report = sweep(web)
    assert (report.failed, report.rung) == (1, 0)
    told = visitor.poll(late)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", "too_late", True)
    assert visitor.poll(waiting)["status"] == "PENDING"
    assert tries_used(web) == [1, 1]


def test_cancel_and_delete_while_away(
    web: Flask, visitor: Visitor, redis_server: RedisServer, clock: FixedClock
) -> None:
    """Without Redis an order can still be stopped and deleted, and the try comes back both times."""
    stopped, deleted = visitor.order(1), visitor.order(2)
    redis_server.stop()
    assert visitor.cancel(stopped).json["status"] == "CANCELLED"
    assert visitor.delete(deleted).status_code == 204
    assert visitor.get(f"/api/poll-task?taskId={deleted}").status_code == 404
    assert tries_used(web) == [0, 0]
    bring_back(redis_server)
    assert_nothing_left(web, clock)
    assert stored_files(web) == {row(web, stopped).source_key}


def test_lost_with_orders_waiting(
    web: Flask, visitor: Visitor, painter: Painter, gallery: RunningSpace, redis_server: RedisServer, clock: FixedClock
) -> None:
    """After Redis has forgotten everything the sweep rings once for each order, and all are painted once."""
    orders = [visitor.order(number, prompt=f"forgotten {number}", seed=0) for number in range(3)]
    redis_server.empty()
    assert sweep(web).rung == 0, "An order may be on its way for 30 seconds."
    clock.advance(seconds=31)
    assert sweep(web).rung == 3
    assert sweep(web).rung == 0, "What waits in the queue is not rung for again."
    paint_waiting(painter(gallery, "/slow"))
    assert [visitor.poll(task_id)["status"] for task_id in orders] == ["SUCCESS"] * 3
    assert [calls(gallery, "started", f"forgotten {number}") for number in range(3)] == [1, 1, 1]
    assert_nothing_left(web, clock)


def test_lost_between_pop_and_start(
    web: Flask, visitor: Visitor, painter: Painter, gallery: RunningSpace, clock: FixedClock
) -> None:
    """A ring whose worker died right after taking it is rung for again, with no other worker about to notice."""
    task_id = visitor.order()
    with web.app_context():
        queue, redis = queueing.paint_queue(), runtime().redis
        # What a worker does first, and what its death leaves.
        ring = redis.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT").decode()
    clock.advance(seconds=31)
    assert sweep(web).rung == 0, "Somebody may be about to claim it."
    with web.app_context():
        first_seen = queue.intermediate_queue.get_first_seen_key(ring)
        redis.set(first_seen, float(redis.get(first_seen)) - 61)  # A minute later.
    assert sweep(web).rung == 1
    paint_waiting(painter(gallery))
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_killed_between_start_and_claim(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    worker_process: Callable[..., WorkerProcess],
    gallery: RunningSpace,
    clock: FixedClock,
) -> None:
    """A ring whose worker was killed after RQ listed it as started is rung for again once that run is silent."""
    worker = worker_process(gallery, "/six", KILLED_BEFORE_THE_CLAIM)
    task_id = visitor.order()
    assert worker.wait_for_end() == -signal.SIGKILL
    assert len(running_rings(web)) == 1
    clock.advance(seconds=31)
    assert sweep(web).rung == 0, "Its run may be alive."
    time.sleep(SHORT_TTL_S)
    assert sweep(web).rung == 1
    assert sweep(web).rung == 0
    paint_waiting(painter(gallery))
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    assert (row(web, task_id).attempt, row(web, task_id).deaths) == (1, 0)
    assert running_rings(web) == []
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_a_ring_that_failed_before_the_claim(
    web: Flask, visitor: Visitor, painter: Painter, gallery: RunningSpace, clock: FixedClock
) -> None:
    """A ring that RQ keeps among its failures for a day counts as gone: the order is rung for again and painted."""
    task_id = visitor.order()
    app = painter(gallery)
    with web.app_context():
        # A worker that cannot reach the database fails its job before the claim: the same with a job of no such name.
        job = queueing.paint_queue().fetch_job(queueing.job_id(task_id, 1))
        job.func_name = "jobs.paint.missing"
        job.save()
    paint_waiting(app)
    with web.app_context():
        assert job.id in queueing.paint_queue().failed_job_registry
    clock.advance(seconds=31)
    assert sweep(web).rung == 1
    paint_waiting(app)
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    assert_nothing_left(web, clock)


def test_lost_while_painting(
    web: Flask, visitor: Visitor, painter: Painter, moods: RunningSpace, redis_server: RedisServer, clock: FixedClock
) -> None:
    """A painting goes on while Redis forgets everything, and the page gets its picture."""
    task_id = visitor.order(prompt="unshaken", seed=20)
    app = painter(moods, "/patient")
    with meanwhile(lambda: paint_waiting(app)):
        wait_for_call(moods, "unshaken")
        redis_server.empty()
        assert visitor.poll(task_id)["status"] == "PROCESSING"
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_ringing_twice(
    web: Flask, visitor: Visitor, painter: Painter, gallery: RunningSpace, clock: FixedClock
) -> None:
    """Two rings for one order make one painting: the claim decides."""
    task_id = visitor.order(prompt="rung twice", seed=0)
    with web.app_context():
        assert tasks.ring(task_id, 2)
        assert queueing.waiting() == 2
    paint_waiting(painter(gallery, "/slow"))
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    assert calls(gallery, "started", "rung twice") == 1
    assert row(web, task_id).attempt == 1
    assert running_rings(web) == []
    assert_nothing_left(web, clock)
