"""The sweep: it repairs by itself and in time, judges nobody unheard, and two of them do no harm."""

import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.extensions import runtime
from tests.faults.conftest import (
    Visitor,
    assert_nothing_left,
    at_once,
    claim,
    edit,
    paint_waiting,
    row,
    sweep,
    tries_used,
)
from tests.support.checkout import offline_env

A_MOMENT = timedelta(seconds=1)


def test_a_silent_run_is_not_judged_after_a_gap(
    each_database: str, web: Flask, visitor: Visitor, clock: FixedClock
) -> None:
    """Without a sweep in the last 90 s silence is no death: only deadlines are judged, and heartbeats the next time."""
    silent, late = visitor.order(1), visitor.order(2)
    claim(web, silent)
    edit(web, late, deadline_at=clock.now())
    clock.advance(minutes=5)
    first = sweep(web)
    assert (first.failed, first.requeued) == (1, 0)
    assert row(web, silent).status == "processing"
    clock.advance(seconds=91)
    assert sweep(web).requeued == 0, "The last sweep is too long ago again."
    clock.advance(seconds=60)
    assert sweep(web).requeued == 1
    assert (row(web, silent).status, row(web, silent).deaths) == ("queued", 1)
    assert visitor.poll(late)["refunded"]
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_thirty_seconds_of_grace(each_database: str, web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """An order ends 30 s after its deadline and not before, painted until then or not."""
    waiting, painting = visitor.order(1), visitor.order(2)
    claim(web, painting)
    clock.moment = row(web, waiting).deadline_at + timedelta(seconds=30)
    assert sweep(web).failed == 0
    clock.moment += A_MOMENT
    assert sweep(web).failed == 2
    assert {visitor.poll(task_id)["code"] for task_id in (waiting, painting)} == {"too_late"}
    assert tries_used(web) == [0, 0]
    assert claim(web, waiting) is None
    assert_nothing_left(web, clock)


def test_two_processes_sweep_at_once(
    each_database: str,
    web: Flask,
    visitor: Visitor,
    painter: Callable[..., Flask],
    clock: FixedClock,
    checkout: Path,
    database_url: str,
) -> None:
    """Two sweeps in two processes, without Redis to keep them apart, give each late order back once."""
    orders = [visitor.order(number) for number in range(3)]
    claim(web, orders[0])
    for task_id in orders:
        edit(web, task_id, deadline_at=clock.now() - timedelta(minutes=1))
    env = offline_env(
        DATABASE_URL=database_url,
        INSTANCE_DIR=web.instance_path,
        REDIS_URL="redis://127.0.0.1:1/0",
        GRADIO_URL="http://127.0.0.1:1",
    )
    command = [checkout / ".venv/bin/flask", "--app", "wsgi", "tasks", "fix-stuck"]
    runs = at_once(
        *[lambda: subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=60)] * 2
    )
    assert [run.returncode for run in runs] == [0, 0], runs
    assert all(run.stdout.startswith("sweep: failed") for run in runs), runs
    clock.advance(seconds=11)  # Without Redis nobody could correct the live status: it is believed for 10 s more.
    told = [visitor.poll(task_id) for task_id in orders]
    assert [(one["status"], one["code"], one["refunded"]) for one in told] == [("FAILED", "too_late", True)] * 3
    assert tries_used(web) == [0, 0]
    paint_waiting(painter())  # Their rings are still there, and nobody answers the door.
    assert_nothing_left(web, clock)


def test_many_threads_sweep_at_once(each_database: str, web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """However many sweeps run at the same moment, a dead run is queued again exactly once."""
    task_id = visitor.order()
    claim(web, task_id)
    sweep(web)
    clock.advance(seconds=50)
    reports = at_once(*[lambda: sweep(web)] * 5)
    assert sum(report.requeued for report in reports) == 1
    now = row(web, task_id)
    assert (now.status, now.attempt, now.ring, now.deaths) == ("queued", 2, 2, 1)
    assert_nothing_left(web, clock)


def test_one_sweep_beside_another(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """A sweep leaves the work to one that is running, says so, and leaves that one's lock alone."""
    late = visitor.order()
    edit(web, late, deadline_at=clock.now() - timedelta(minutes=1))
    with web.app_context():
        redis = runtime().redis
    redis.set("ghibli:sweep-lock", "another")
    report = sweep(web)
    assert (report.skipped, report.line) == (True, "sweep: another sweep is running, nothing done")
    assert redis.get("ghibli:sweep-lock") == b"another"
    assert row(web, late).status == "queued"
    redis.delete("ghibli:sweep-lock")
    assert sweep(web).failed == 1
    assert redis.get("ghibli:sweep-lock") is None


def test_discarded_files_go_once(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """The sweep deletes what was discarded, and counts it."""
    visitor.delete(visitor.order())
    assert sweep(web).files_deleted == 1
    assert sweep(web).files_deleted == 0
    assert_nothing_left(web, clock)


def test_a_busy_worker_is_left_alone(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """A run whose heartbeat is fresh is not touched, however long it takes."""
    task_id = visitor.order()
    claim(web, task_id)
    clock.advance(minutes=4)
    edit(web, task_id, heartbeat_at=clock.now())
    sweep(web)
    clock.advance(seconds=44)
    assert sweep(web).requeued == 0
    clock.advance(seconds=2)
    assert sweep(web).requeued == 1
