"""Workers on their bad day: killed, frozen, told to stop, or painting what nobody wants any more."""

import time
from collections.abc import Callable

from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.extensions import AWAY_MEMORY_S
from ghibli_flask.services import files, runs, tasks
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import Outcome, Stage
from jobs import paint as paint_module
from jobs.engines.base import PAINTING, News
from jobs.pulse import Pulse
from scripts.processes import wait_until
from tests.engines.conftest import RunningSpace
from tests.faults.conftest import (
    Visitor,
    WorkerProcess,
    assert_nothing_left,
    calls,
    claim,
    meanwhile,
    paint_waiting,
    photo,
    row,
    running_rings,
    stored_files,
    sweep,
    sweep_after_silence,
    tries_used,
    wait_for_call,
)
from tests.support.redis_server import RedisServer

Painter = Callable[..., Flask]
StartWorker = Callable[..., WorkerProcess]
OUTAGE_S = 3.0
INTERRUPTED = "The painting was interrupted more than once. Your try has come back."


def test_killed_once(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    worker_process: StartWorker,
    moods: RunningSpace,
    gallery: RunningSpace,
    clock: FixedClock,
) -> None:
    """An order whose worker is killed while painting is queued again once its heartbeat is old, and painted."""
    task_id = visitor.order(prompt="killed once", seed=300)
    worker = worker_process(moods, "/patient")
    wait_for_call(moods, "killed once")
    worker.kill()
    assert visitor.poll(task_id)["status"] == "PROCESSING"
    assert sweep(web).requeued == 0, "A heartbeat of a moment ago is no sign of death."

    assert sweep_after_silence(web, clock).requeued == 1
    told = visitor.poll(task_id)
    assert (told["status"], told["progress"], told["stage"]) == ("PENDING", 0, "queued")
    assert sweep(web).requeued == 0
    paint_waiting(painter(gallery))
    told = visitor.poll(task_id)
    assert (told["status"], told["refunded"], told["attempt"]) == ("SUCCESS", False, 3)
    assert row(web, task_id).deaths == 1
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_killed_twice(
    web: Flask, visitor: Visitor, worker_process: StartWorker, moods: RunningSpace, clock: FixedClock
) -> None:
    """An order that loses two workers has failed: it is given back and not tried a third time."""
    task_id = visitor.order(prompt="killed twice", seed=300)
    for _death in range(2):
        before = calls(moods, "started", "killed twice")
        worker = worker_process(moods, "/patient")
        assert wait_until(lambda before=before: calls(moods, "started", "killed twice") > before, 20)
        worker.kill()
        sweep_after_silence(web, clock)
    told = visitor.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", "interrupted", True)
    assert told["error"] == INTERRUPTED
    assert tries_used(web) == [0, 0]
    clock.advance(seconds=31)
    assert sweep(web).rung == 0
    # The folder of the last dead worker goes when the next one starts.
    worker_process(moods, "/patient").terminate()
    assert_nothing_left(web, clock)


def test_frozen_and_woken(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    worker_process: StartWorker,
    moods: RunningSpace,
    gallery: RunningSpace,
    redis_server: RedisServer,
    clock: FixedClock,
) -> None:
    """A worker that wakes after another one painted its order drops it: one result, one charge, no second file."""
    task_id = visitor.order(prompt="frozen", seed=20)
    worker = worker_process(moods, "/patient")
    wait_for_call(moods, "frozen")
    worker.pause()
    # The clock jumps over the second in which a frozen worker with a free slot is still handed a ring.
    with redis_server.client() as client:
        assert wait_until(lambda: client.info("clients")["blocked_clients"] == 0, 5)
    assert sweep_after_silence(web, clock).requeued == 1
    paint_waiting(painter(gallery))
    painted = row(web, task_id)
    assert visitor.poll(task_id)["status"] == "SUCCESS"

    worker.resume()
    assert wait_until(lambda: running_rings(web) == [], 20), "The woken worker lets go of its ring."
    assert worker.terminate() == 0
    now = row(web, task_id)
    assert (now.status, now.result_key, now.attempt) == ("completed", painted.result_key, painted.attempt)
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)
    assert stored_files(web) == {now.source_key, now.result_key, now.thumbnail_key}


def test_a_late_result(
    each_database: str, web: Flask, visitor: Visitor, painter: Painter, gallery: RunningSpace, clock: FixedClock
) -> None:
    """A run that has its picture after the order moved on cannot settle, and its file goes with the next cleanup."""
    task_id = visitor.order()
    app = painter(gallery)
    with app.app_context():
        late = runs.claim(task_id)
        result = files.keep(photo(), "results", "jpg")
    assert sweep_after_silence(web, clock).requeued == 1
    paint_waiting(app)
    with app.app_context():
        paint_module._settle(late, Ending(Outcome.PAINTED, result=result))
        assert not runs.beat(late, 50, Stage.PAINTING, None)
        assert not runs.hand_back(late)
        assert not tasks.settle(late.task_id, late.attempt, Ending(Outcome.FAILED, error_code="internal"))
        assert files.drain() == 1, "At once, not after the hour that a kept file may wait for its row."
    assert result.key not in stored_files(web)
    told = visitor.poll(task_id)
    assert (told["status"], told["refunded"]) == ("SUCCESS", False)
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_warm_stop(
    web: Flask, visitor: Visitor, worker_process: StartWorker, moods: RunningSpace, clock: FixedClock
) -> None:
    """A worker that is told to stop finishes the order in hand, takes no other, and leaves no temporary file."""
    task_id = visitor.order(1, prompt="in hand", seed=30)
    worker = worker_process(moods, "/patient", WORKER_CONCURRENCY="1")
    wait_for_call(moods, "in hand")
    waiting = visitor.order(2, prompt="not begun", seed=0)
    assert worker.terminate() == 0
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    assert visitor.poll(waiting)["status"] == "PENDING"
    assert calls(moods, "started", "not begun") == 0
    assert list((worker.folder / "tmp").iterdir()) == []
    assert running_rings(web) == []
    visitor.cancel(waiting)
    assert_nothing_left(web, clock)


def test_a_stop_that_takes_too_long(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    moods: RunningSpace,
    gallery: RunningSpace,
    clock: FixedClock,
) -> None:
    """A run that outlives the time of a warm stop is handed back, no death is counted, and another worker paints."""
    task_id = visitor.order(prompt="handed back", seed=300)
    app = painter(moods, "/patient")
    with meanwhile(lambda: paint_waiting(app, most=1)):
        wait_for_call(moods, "handed back")
        app.extensions["ghibli_painting_process"].stop_within(1.0)
    wait_for_call(moods, "handed back", "stopped")
    handed_back = row(web, task_id)
    assert (handed_back.status, handed_back.handbacks, handed_back.deaths) == ("queued", 1, 0)
    assert visitor.poll(task_id)["status"] == "PENDING"
    paint_waiting(painter(gallery))
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_cancelled_in_the_middle(
    web: Flask, visitor: Visitor, worker_process: StartWorker, moods: RunningSpace, clock: FixedClock
) -> None:
    """A painting that is cancelled half-way is given back, is stopped in the Space, and leaves nothing."""
    task_id = visitor.order(prompt="given up", seed=300)
    worker = worker_process(moods, "/patient")
    wait_for_call(moods, "given up")
    told = visitor.cancel(task_id).json
    assert (told["status"], told["refunded"]) == ("CANCELLED", True)
    assert visitor.cancel(task_id).json["status"] == "CANCELLED", "Twice is no error."
    assert tries_used(web) == [0, 0]
    wait_for_call(moods, "given up", "stopped")
    assert wait_until(lambda: running_rings(web) == [], 10)
    assert worker.terminate() == 0
    assert visitor.poll(task_id)["status"] == "CANCELLED"
    assert_nothing_left(web, clock)
    assert stored_files(web) == {row(web, task_id).source_key}


def test_deleted_in_the_middle(
    web: Flask, visitor: Visitor, worker_process: StartWorker, moods: RunningSpace, clock: FixedClock
) -> None:
    """A painting that is deleted half-way is unknown from then on, and neither photograph nor picture stays."""
    task_id = visitor.order(prompt="deleted", seed=300)
    worker = worker_process(moods, "/patient")
    wait_for_call(moods, "deleted")
    assert visitor.delete(task_id).status_code == 204
    for path in (f"/api/poll-task?taskId={task_id}", f"/api/image/{task_id}", f"/api/image/{task_id}/original"):
        assert visitor.get(path).status_code == 404
    assert tries_used(web) == [0, 0]
    wait_for_call(moods, "deleted", "stopped")
    assert wait_until(lambda: running_rings(web) == [], 10)
    assert worker.terminate() == 0
    assert visitor.get(f"/api/poll-task?taskId={task_id}").status_code == 404
    assert row(web, task_id).prompt == ""
    assert_nothing_left(web, clock)
    assert stored_files(web) == set()


def test_deleted_while_the_worker_still_talks(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """A run that tells its progress once more after its task was deleted does not bring the task back."""
    task_id = visitor.order()
    run = claim(web, task_id)
    with web.app_context(), Pulse(web, run, None, lambda: False) as pulse:
        assert visitor.delete(task_id).status_code == 204
        pulse.tell(News(PAINTING, fraction=0.5))
        assert visitor.get(f"/api/poll-task?taskId={task_id}").status_code == 404
    assert_nothing_left(web, clock)


def test_redis_away_while_painting(
    web: Flask,
    visitor: Visitor,
    worker_process: StartWorker,
    moods: RunningSpace,
    redis_server: RedisServer,
    clock: FixedClock,
) -> None:
    """A worker outlives an outage of Redis at the end of a painting: that picture is done, and so is the next one."""
    words = "doorbell gone"
    task_id = visitor.order(1, prompt=words, seed=15)
    worker = worker_process(moods, "/patient")
    wait_for_call(moods, words)
    redis_server.stop()
    assert wait_until(lambda: row(web, task_id).status == "completed", 15)
    time.sleep(OUTAGE_S)
    redis_server.start()
    time.sleep(AWAY_MEMORY_S)
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    after = visitor.order(2, prompt=words, seed=0)
    assert wait_until(lambda: row(web, after).status == "completed", 20), worker.tail()
    assert worker.terminate() == 0
    assert tries_used(web) == [2, 2]
    assert_nothing_left(web, clock)
