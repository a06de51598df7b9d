"""Many jobs in one worker: slots, RQ's registries, commands, failures, wear and the end. Orders: tests/faults."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from rq import Queue, Worker
from rq.command import send_stop_execution_command, send_stop_job_command
from rq.job import Job, JobStatus
from rq.utils import now

from ghibli_flask import queueing
from ghibli_flask.extensions import runtime
from jobs import concurrent_worker
from jobs.concurrent_worker import ConcurrentWorker, memory_in_use_mb
from scripts.processes import wait_until
from tests.jobs import worker_jobs
from tests.jobs.worker_jobs import GATES, STARTED
from tests.support.redis_server import RedisServer

HELD = "tests.jobs.worker_jobs.wait_at"


class ThreadedWorker(ConcurrentWorker):
    """The worker on a thread of the test: signals stay with the test runner."""

    def _install_signal_handlers(self) -> None:
        """The runner's own signal handlers stay."""

    def stop(self) -> None:
        """What a signal does, but for the signal handlers, which only the main thread may set."""
        self._shutdown_requested_date = now()
        self.handle_warm_shutdown_request()
        self._shutdown()


StartWorker = Callable[..., ThreadedWorker]


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """An application as workers have it; no engine is called here."""
    return app_factory(for_worker=True)


@pytest.fixture
def queue(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """The orders' queue, with closed gates before it; workers look at it more often than usual."""
    monkeypatch.setattr(concurrent_worker, "BLOCK_S", 0.1)
    worker_jobs.forget()
    with app.app_context():
        yield queueing.paint_queue()


@pytest.fixture
def start_worker(app: Flask, queue: Queue) -> Iterator[StartWorker]:
    """Run workers on threads; they end with the test, and so do their jobs."""
    made: list[tuple[ThreadedWorker, threading.Thread]] = []

    def start(slots: int, **limits: float) -> ThreadedWorker:
        worker = ThreadedWorker(app, queue, f"worker-{uuid4().hex}", slots=slots, **limits)
        thread = threading.Thread(target=worker.work, kwargs={"logging_level": "WARNING"})
        made.append((worker, thread))
        thread.start()
        return worker

    yield start
    for worker, thread in made:
        worker.stop()
        for gate in list(GATES.values()):
            gate.set()
        thread.join(20)
        assert not thread.is_alive()


def hold(queue: Queue, *gates: str) -> list[Job]:
    """Enqueue a job for each of these gates."""
    return [queue.enqueue(HELD, gate, job_timeout=60, result_ttl=0, failure_ttl=60) for gate in gates]


def started(count: int) -> bool:
    """Wait until so many jobs have begun."""
    return wait_until(lambda: len(STARTED) == count, 10, every=0.01)


def known_to_rq(name: str, queue: Queue) -> Worker:
    """A worker as another process sees it: what `rq info` and the dashboard show."""
    return next(worker for worker in Worker.all(queue=queue) if worker.name == name)


def rq_info(redis_server: RedisServer) -> list[str]:
    """What `rq info` prints."""
    program = Path(sys.executable).parent / "rq"
    return subprocess.check_output([program, "info", "--raw", "--url", redis_server.url], text=True).splitlines()


def all_done(queue: Queue, worker: ThreadedWorker) -> bool:
    """Wait until RQ knows of nothing that waits or runs."""
    return wait_until(
        lambda: (
            queue.count == 0
            and queue.started_job_registry.get_job_ids(cleanup=False) == []
            and known_to_rq(worker.name, queue).get_state() == "idle"
        ),
        10,
    )


# --- Slots ---


def test_many_at_once(queue: Queue, start_worker: StartWorker) -> None:
    """Fifty jobs that all wait for one another end: they are in one process at the same time."""
    jobs = [queue.enqueue("tests.jobs.worker_jobs.meet", "all", 50, result_ttl=60) for _ in range(50)]
    worker = start_worker(50)
    assert all_done(queue, worker)
    assert [job.get_status() for job in jobs] == [JobStatus.FINISHED] * 50


def test_no_job_without_a_free_slot(queue: Queue, start_worker: StartWorker) -> None:
    """What does not fit stays in the queue, where another worker can take it; each end takes one more."""
    gates = [f"gate-{number}" for number in range(8)]
    hold(queue, *gates)
    worker = start_worker(3)
    assert started(3)
    time.sleep(5 * concurrent_worker.BLOCK_S)  # A worker that looked again by now would have taken another.
    assert queue.connection.llen(queue.key) == 5
    assert queue.connection.llen(queue.intermediate_queue_key) == 0
    assert queue.started_job_registry.count == 3

    GATES[STARTED[1]].set()
    assert started(4)
    assert queue.connection.llen(queue.key) == 4
    for gate in gates:
        GATES[gate].set()
    assert all_done(queue, worker)
    assert sorted(STARTED) == gates
    assert worker_jobs.MOST_PRESENT == [3]


def test_one_slot(queue: Queue, start_worker: StartWorker) -> None:
    """With one slot jobs run one after the other, in the order of the queue."""
    worker_jobs.GATES.update({gate: threading.Event() for gate in "abc"})
    hold(queue, *"abc")
    worker = start_worker(1)
    for number, gate in enumerate("abc", start=1):
        assert started(number)
        GATES[gate].set()
    assert all_done(queue, worker)
    assert STARTED == ["a", "b", "c"]
    assert worker_jobs.MOST_PRESENT == [1]


# --- What RQ shows ---


def test_registries_during_and_after(queue: Queue, start_worker: StartWorker, redis_server: RedisServer) -> None:
    """While jobs run, RQ lists each under its worker, which is busy; after them nothing is left."""
    jobs = hold(queue, "a", "b", "c")
    worker = start_worker(5)
    assert started(3)
    seen = known_to_rq(worker.name, queue)
    assert seen.get_state() == "busy"
    assert {execution.job_id for execution in seen.get_current_executions()} == {job.id for job in jobs}
    assert seen.current_execution_count == 3
    assert {job.get_status() for job in jobs} == {JobStatus.STARTED}
    assert set(queue.started_job_registry.get_job_ids()) == {job.id for job in jobs}
    of_the_queue, of_the_worker = rq_info(redis_server)
    assert of_the_queue == f"queue {queue.name} 0, 3 executing, 0 finished, 0 failed"
    assert of_the_worker.startswith(f"worker {worker.name} ")
    assert f" {worker.pid}) busy {queue.name}." in of_the_worker

    GATES["b"].set()
    assert wait_until(lambda: known_to_rq(worker.name, queue).current_execution_count == 2, 5)
    assert set(queue.started_job_registry.get_job_ids()) == {jobs[0].id, jobs[2].id}
    assert known_to_rq(worker.name, queue).get_state() == "busy"

    GATES["a"].set()
    GATES["c"].set()
    assert all_done(queue, worker)
    seen = known_to_rq(worker.name, queue)
    assert (seen.successful_job_count, seen.failed_job_count) == (3, 0)
    assert seen.get_current_executions() == []
    assert queue.connection.keys("rq:execution*") == []


def test_a_long_job_stays_listed(queue: Queue, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run beats for itself: it is listed for longer than one beat lasts."""
    monkeypatch.setattr(concurrent_worker, "BEAT_EVERY_S", 0.2)
    monkeypatch.setattr(concurrent_worker, "EXECUTION_TTL_S", 3)
    jobs = hold(queue, "a", "b")
    worker = start_worker(2)
    assert started(2)
    time.sleep(4.2)
    assert set(queue.started_job_registry.get_job_ids()) == {job.id for job in jobs}
    assert known_to_rq(worker.name, queue).current_execution_count == 2


def test_listed_again_after_redis_forgot(
    queue: Queue, start_worker: StartWorker, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that comes back empty is told of the worker and of everything in its hands, and of their end."""
    monkeypatch.setattr(concurrent_worker, "BEAT_EVERY_S", 0.1)
    jobs = hold(queue, "a", "b")
    worker = start_worker(2)
    assert started(2)
    redis_server.empty()
    assert wait_until(lambda: worker.name in {seen.name for seen in Worker.all(queue=queue)}, 5)
    assert wait_until(lambda: len(known_to_rq(worker.name, queue).get_current_executions()) == 2, 5)
    seen = known_to_rq(worker.name, queue)
    assert (seen.get_state(), seen.pid, seen.queue_names()) == ("busy", worker.pid, [queue.name])
    assert set(queue.started_job_registry.get_job_ids(cleanup=False)) == {job.id for job in jobs}
    GATES["a"].set()
    GATES["b"].set()
    assert all_done(queue, worker)


# --- Commands and failures ---


@pytest.mark.parametrize("command", ["stop-job", "stop-execution"])
def test_one_of_many_is_stopped(command: str, queue: Queue, start_worker: StartWorker) -> None:
    """RQ's commands stop the job that they name and no other; it is listed as stopped."""
    jobs = hold(queue, "a", "b", "c")
    worker = start_worker(3)
    assert started(3)
    if command == "stop-job":
        send_stop_job_command(queue.connection, jobs[1].id)
    else:
        execution = jobs[1].get_executions()[0]
        send_stop_execution_command(queue.connection, jobs[1].id, execution.id)
    assert wait_until(lambda: jobs[1].get_status() == JobStatus.STOPPED, 5)
    assert [jobs[0].get_status(), jobs[2].get_status()] == [JobStatus.STARTED] * 2
    assert jobs[1].id in queue.failed_job_registry
    GATES["a"].set()
    GATES["c"].set()
    assert all_done(queue, worker)
    assert known_to_rq(worker.name, queue).successful_job_count == 2


@pytest.mark.parametrize("broken", ["raises", "missing", "unreadable"])
def test_a_job_that_fails(broken: str, queue: Queue, start_worker: StartWorker) -> None:
    """A job that raises, has no function or cannot be read is listed as failed; its slot is free, the others go on."""
    (other,) = hold(queue, "a")
    names = {"raises": "tests.jobs.worker_jobs.break_down", "missing": "tests.jobs.worker_jobs.nowhere"}
    job = queue.enqueue(names.get(broken, "tests.jobs.worker_jobs.break_down"), failure_ttl=60)
    if broken == "unreadable":
        queue.connection.hset(job.key, "data", b"no pickle")
    worker = start_worker(2)
    assert wait_until(lambda: job.id in queue.failed_job_registry, 10)
    assert job.get_status() == JobStatus.FAILED
    hold(queue, "b")
    assert started(2)
    assert other.get_status() == JobStatus.STARTED
    GATES["a"].set()
    GATES["b"].set()
    assert all_done(queue, worker)


def test_suspended(queue: Queue, start_worker: StartWorker) -> None:
    """`rq suspend` holds back what waits and leaves alone what runs; `rq resume` goes on."""
    hold(queue, "a")
    worker = start_worker(2)
    assert started(1)
    queue.connection.set("rq:suspended", 1)
    assert wait_until(lambda: known_to_rq(worker.name, queue).get_state() == "suspended", 10)
    hold(queue, "b")
    GATES["a"].set()
    assert wait_until(lambda: queue.started_job_registry.count == 0, 5)
    assert STARTED == ["a"]
    queue.connection.delete("rq:suspended")
    assert started(2)
    GATES["b"].set()


# --- Wear, and the end ---


@pytest.mark.parametrize("limit", ["jobs", "memory", "overdue"])
def test_a_worn_out_worker(
    limit: str, queue: Queue, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its orders, above its memory or with a job that does not end, a worker takes no more and returns."""
    limits = {"jobs": {"most_jobs": 2}, "memory": {"memory_mb": 1}, "overdue": {}}[limit]
    hold(queue, "a", "b", "c", "d")
    if limit == "overdue":
        monkeypatch.setattr(concurrent_worker, "OVERDUE_BY_S", -60)  # A job is overdue at once.
    worker = start_worker(4, **limits)
    assert wait_until(lambda: worker.is_worn_out, 10)
    taken = len(STARTED)
    assert taken == {"jobs": 2, "memory": 1, "overdue": 1}[limit]
    assert queue.connection.llen(queue.key) == 4 - taken
    if limit != "overdue":
        assert known_to_rq(worker.name, queue).current_execution_count == taken, "What it has, it finishes."
    for gate in "abcd":
        GATES[gate].set()
    assert wait_until(lambda: Worker.all(queue=queue) == [], 10)
    assert queue.connection.llen(queue.key) == 4 - taken
    assert not worker.was_told_to_stop


def test_memory_in_use() -> None:
    """The memory in use is that of this process, and grows with it."""
    before = memory_in_use_mb()
    assert 20 < before < 2000
    block = b"\1" * (64 * 2**20)
    assert 55 < memory_in_use_mb() - before < 80
    del block


def test_the_sweep_sees_a_dead_start(app: Flask, queue: Queue) -> None:
    """A ring that RQ lists as started counts as there while its run beats, and as lost when the beat is overdue."""
    redis = runtime().redis
    worker = ConcurrentWorker(app, queue, "killed", slots=1)
    worker.register_birth()
    (job,) = hold(queue, "never")
    taken, _queue = worker.dequeue_job_and_maintain_ttl(None)
    worker.prepare_execution(taken)
    worker.prepare_job_execution(taken, remove_from_intermediate_queue=True)  # Here it is killed, before the claim.
    assert queueing.rings_in_redis([job.id]) == {job.id}
    (entry,) = redis.zrange(queue.started_job_registry.key, 0, -1)
    redis.zadd(queue.started_job_registry.key, {entry: time.time() - 1})
    assert queueing.rings_in_redis([job.id]) == set()
