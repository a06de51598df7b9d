"""RQ's worker for many jobs at once in one process: a thread for each, because an order is almost only waiting.

The main thread takes jobs and answers signals; another one keeps RQ's registries alive; a daemon thread runs each
job. Nothing ends a thread from outside, so jobs bring deadlines of their own and ask `stop_is_wanted()`. `jobs.worker`
makes the painting worker of it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask
from rq import Queue
from rq.command import parse_payload
from rq.exceptions import DequeueTimeout, StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.timeouts import BaseDeathPenalty
from rq.utils import now
from rq.worker import WorkerStatus

from ghibli_flask.extensions import REDIS_AWAY
from jobs.application_worker import PAUSE_AFTER_OUTAGE_S, ApplicationWorker

log = logging.getLogger(__name__)

BLOCK_S = 1
"""How long one look at the queue may take, and so how long a signal may wait."""
WORKER_TTL_S = 16
"""RQ has a worker look at its queue for 15 s less than this, and believes in it for 60 s more."""
BEAT_EVERY_S = 15.0
EXECUTION_TTL_S = 45
"""A run that is silent for longer is dead: the same time as for a row."""
OVERDUE_BY_S = 60.0
TICK_S = 0.05

_stop_wanted: ContextVar[threading.Event | None] = ContextVar("stop_wanted", default=None)


def stop_is_wanted() -> bool:
    """Whether somebody asked RQ to stop the job that runs in this thread."""
    event = _stop_wanted.get()
    return event is not None and event.is_set()


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's time limit, never enforced: its signals reach the main thread alone, and its timers break exceptions."""

    def setup_death_penalty(self) -> None:
        """Set no alarm."""

    def cancel_death_penalty(self) -> None:
        """There is no alarm to take back."""


@dataclass(frozen=True, eq=False)
class Running:
    """One job in hand."""

    job: Job
    execution: Execution
    stop: threading.Event = field(default_factory=threading.Event)
    began_at: float = field(default_factory=time.monotonic)

    @property
    def is_overdue(self) -> bool:
        """Whether it should have ended by itself long ago."""
        timeout = self.job.timeout or 0
        return timeout > 0 and time.monotonic() - self.began_at > timeout + OVERDUE_BY_S


class ConcurrentWorker(ApplicationWorker):
    """A worker with `slots` for jobs; it takes none from the queue without a free slot.

    Worn out, it takes no more jobs, finishes those in hand and returns from `work` with `is_worn_out`: after
    `most_jobs` jobs, with more than `memory_mb` MB in use, or when a job does not end.
    """

    death_penalty_class = NoDeathPenalty
    warm_stop_s = 60.0
    """After a signal, jobs have this long to end; then they are asked to."""
    cold_stop_s = 10.0
    """Jobs that were asked to end have this long."""

    def __init__(
        self,
        app: Flask,
        queue: Queue,
        name: str,
        *,
        slots: int,
        memory_mb: float = math.inf,
        most_jobs: float = math.inf,
    ) -> None:
        self._free = threading.Semaphore(slots)
        self._memory_mb, self._most_jobs = memory_mb, most_jobs
        self._taken = 0
        self._running: dict[str, Running] = {}
        self._failing = threading.Lock()
        self._leave_at = math.inf
        self._done = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="rq-heartbeats", daemon=True)
        self.is_worn_out = False
        super().__init__(app, queue, name, worker_ttl=WORKER_TTL_S, job_monitoring_interval=int(BEAT_EVERY_S))

    # --- Taking jobs, on the main thread ---

    def bootstrap(self, *args: Any, **options: Any) -> None:
        """Register this worker and begin to beat."""
        super().bootstrap(*args, **options)
        self._heart.start()

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a free slot, then for a job. None when idle for too long, or with an empty queue in burst mode."""
        idle_since = time.monotonic()
        while not self._stop_requested and not self._wears_out():
            self.check_for_suspension(burst=timeout is None)
            if self.should_run_maintenance_tasks:
                self.run_maintenance_tasks()
            if not self._free.acquire(timeout=BLOCK_S):
                continue
            self._say_whether_busy()
            found = self._take(block=timeout is not None)
            if found:
                return found
            self._free.release()
            if timeout is None or (max_idle_time is not None and time.monotonic() - idle_since >= max_idle_time):
                return None
        raise StopRequested

    def _take(self, *, block: bool) -> tuple[Job, Queue] | None:
        try:
            return self.queue_class.dequeue_any(
                self._ordered_queues,
                BLOCK_S if block else None,
                connection=self.connection,
                job_class=self.job_class,
                serializer=self.serializer,
                death_penalty_class=self.death_penalty_class,
            )
        except DequeueTimeout:
            return None
        except REDIS_AWAY as error:
            log.warning("Redis is away, the worker waits for it: %s", error)
            time.sleep(PAUSE_AFTER_OUTAGE_S)
            return None

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Start a thread for the job; its slot is free again when the thread ends."""
        self._taken += 1
        try:
            execution = self.prepare_execution(job)
        except REDIS_AWAY as error:
            log.warning("Redis went away before job %s began; it is rung for again: %s", job.id, error)
            for stray in self.executions.keys() - self._running.keys():
                self.executions.pop(stray, None)
            self._free.release()
            return
        self._running[execution.id] = running = Running(job, execution)
        threading.Thread(target=self._run, args=(running, queue), name=f"job-{job.id[:8]}", daemon=True).start()

    def _say_whether_busy(self) -> None:
        state = WorkerStatus.BUSY if self._running else WorkerStatus.IDLE
        if state != self.get_state():
            with contextlib.suppress(*REDIS_AWAY):
                self.set_state(state)

    def _wears_out(self) -> bool:
        """Look whether this process should begin anew, and say why."""
        reason = None
        if self._taken >= self._most_jobs:
            reason = f"it has taken {self._taken} orders"
        elif self._taken and (used := memory_in_use_mb()) > self._memory_mb:
            reason = f"it uses {used:.0f} MB, more than {self._memory_mb:.0f}"
        elif any(running.is_overdue for running in list(self._running.values())):
            reason = "an order in it does not end"
        if reason:
            log.warning("This worker finishes what it has and begins anew, because %s.", reason)
            self.is_worn_out = True
        return self.is_worn_out

    # --- Running them, on a thread each ---

    def _run(self, running: Running, queue: Queue) -> None:
        _stop_wanted.set(running.stop)
        try:
            self.perform_job(running.job, queue, running.execution)
        except REDIS_AWAY as error:
            log.warning("Redis went away during job %s; what it did stands: %s", running.job.id, error)
        except Exception:
            log.exception("RQ could not bring job %s to its end", running.job.id)
        finally:
            self.executions.pop(running.execution.id, None)
            del self._running[running.execution.id]
            self._free.release()

    def handle_job_success(
        self, job: Job, queue: Queue, started_job_registry: StartedJobRegistry, execution: Execution
    ) -> None:
        """Enter the job as done, or as stopped when it returned because somebody asked RQ for that."""
        if self._was_stopped(execution):
            self.handle_job_failure(job, queue, started_job_registry, "The job was stopped on request.", execution)
        else:
            super().handle_job_success(job, queue, started_job_registry, execution)

    def handle_job_failure(
        self,
        job: Job,
        queue: Queue,
        started_job_registry: StartedJobRegistry | None = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        """Enter the job as failed or stopped. RQ keeps one attribute for what was stopped, so one job at a time."""
        with self._failing:
            self._stopped_job_id = job.id if execution and self._was_stopped(execution) else None
            super().handle_job_failure(job, queue, started_job_registry, exc_string, execution)

    def _was_stopped(self, execution: Execution) -> bool:
        running = self._running.get(execution.id)
        return running is not None and running.stop.is_set()

    # --- RQ's registries, on the heartbeat thread ---

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Seconds until a silent run counts as dead."""
        return EXECUTION_TTL_S

    def _beat(self) -> None:
        while not self._done.wait(BEAT_EVERY_S):
            self.heartbeat()
            try:
                for running in list(self._running.values()):
                    self.maintain_heartbeats(running.job, running.execution)
            except REDIS_AWAY as error:
                log.info("Redis is away, RQ's registries wait: %s", error)
            except Exception:
                log.exception("RQ's registries could not be kept")

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Prolong a run's entries. RQ prolongs only what it finds; after an outage they are entered anew."""
        if not self.connection.exists(execution.key):
            self._enter_again(job, execution)
        super().maintain_heartbeats(job, execution)

    def _enter_again(self, job: Job, execution: Execution) -> None:
        with self.connection.pipeline() as pipeline:
            execution.save(EXECUTION_TTL_S, pipeline)
            job.started_job_registry.add_execution(execution, pipeline, ttl=EXECUTION_TTL_S, xx=False)
            pipeline.sadd(execution.worker_executions_key, execution.composite_key)
            pipeline.execute()
            if execution.id not in self.executions:  # It ended meanwhile, and has cleaned up before this.
                execution.delete(job, pipeline)
                pipeline.execute()

    # --- Stopping ---

    def handle_payload(self, message: dict[str, Any]) -> None:
        """Obey a command. For stop-job RQ compares with the one current job; here there are many."""
        payload = parse_payload(message)
        if payload["command"] != "stop-job":
            super().handle_payload(message)  # type: ignore[no-untyped-call]
            return
        for running in list(self._running.values()):
            if running.job.id == payload["job_id"]:
                running.stop.set()

    def request_stop_execution(self, execution_id: str) -> None:
        """Ask one run to end."""
        if running := self._running.get(execution_id):
            running.stop.set()

    def _shutdown(self) -> None:
        """Take no more jobs. Nothing is interrupted here: a blocking pop that is cut off can lose what it popped."""
        self._stop_requested = True
        self._leave_at = time.monotonic() + self.warm_stop_s + self.cold_stop_s

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """A second signal, more than a second after the first: jobs are asked to end at once."""
        first = self._shutdown_requested_date
        if first and now() - first < timedelta(seconds=1):
            return  # Ctrl-C reaches a group twice: from the terminal and from its manager.
        self._leave_at = time.monotonic() + self.cold_stop_s
        self.handle_cold_shutdown_request()

    def handle_cold_shutdown_request(self) -> None:
        """Say that the jobs in hand have only moments left."""
        log.warning("This worker stops at once.")

    @property
    def was_told_to_stop(self) -> bool:
        """Whether a signal asked for the end."""
        return self._stop_requested

    def teardown(self) -> None:
        """Wait for the jobs in hand, then say that this worker ends."""
        if self._stop_requested:
            with contextlib.suppress(*REDIS_AWAY):
                self.set_shutdown_requested_date()  # type: ignore[no-untyped-call]
        while any(not running.is_overdue for running in list(self._running.values())):
            if time.monotonic() >= self._leave_at:
                log.error("%s orders did not end in time; the sweep takes care of them.", len(self._running))
                break
            time.sleep(TICK_S)
        self._done.set()
        self._heart.join(timeout=5)
        super().teardown()


def memory_in_use_mb() -> float:
    """The resident memory of this process, in MB; 0 where the system does not tell (only Linux does)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
