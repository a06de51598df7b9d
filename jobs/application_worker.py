"""RQ's worker inside the application, outliving an outage of Redis. `jobs.worker` starts it for the periodic duties.

Engines and connections are shared by all jobs of the process. One queue for each process, because RQ can lose a job
between pop and start on several.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

from flask import Flask
from redis.client import Pipeline, PubSub, PubSubWorkerThread
from rq import Queue, SimpleWorker, worker_registration
from rq.executions import Execution
from rq.job import Job
from rq.registry import StartedJobRegistry
from structlog.contextvars import bound_contextvars

from ghibli_flask.extensions import REDIS_AWAY, runtime
from ghibli_flask.masking import Mask
from ghibli_flask.queueing import REQUEST_ID

log = logging.getLogger(__name__)

RQ_MAINTENANCE_EVERY_S = 45
PAUSE_AFTER_OUTAGE_S = 1.0


class ApplicationWorker(SimpleWorker):
    """A worker that runs one job after the other, each in an application context of its own.

    RQ ends a worker that meets an outage of Redis anywhere but while it waits for a job. Here the other places pass
    over it, because waiting for a job comes next.
    """

    max_connection_wait_time = 5.0

    def __init__(self, app: Flask, queue: Queue, name: str, **options: Any) -> None:
        self._app = app
        with app.app_context():
            self._mask = Mask(runtime().settings)
        super().__init__(
            [queue], name=name, connection=queue.connection, maintenance_interval=RQ_MAINTENANCE_EVERY_S, **options
        )

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run one job in a context of its own; its lines in the log carry the id of the request that rang for it."""
        # The meta of what the scheduler enqueues holds other things, too.
        caller = {REQUEST_ID: job.meta[REQUEST_ID]} if REQUEST_ID in job.meta else {}
        with self._app.app_context(), bound_contextvars(**caller):
            return super().perform_job(job, queue, execution)

    def handle_job_failure(
        self,
        job: Job,
        queue: Queue,
        started_job_registry: StartedJobRegistry | None = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        """Enter a job as failed: RQ keeps the traceback for a day, so it is kept without secrets."""
        super().handle_job_failure(job, queue, started_job_registry, self._mask(exc_string), execution)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run one job. When Redis went away meanwhile, wait for it: RQ would end the worker, and the work is done."""
        try:
            super().execute_job(job, queue)
        except REDIS_AWAY as error:
            log.warning("Redis went away during a job, the worker waits for it: %s", error)
            while not self._redis_answers():
                time.sleep(PAUSE_AFTER_OUTAGE_S)

    def _redis_answers(self) -> bool:
        try:
            return bool(self.connection.ping())
        except REDIS_AWAY:
            return False

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Say that this worker lives, and all about it: RQ does so only at its birth, and Redis may have forgotten."""
        if pipeline is None:
            with contextlib.suppress(*REDIS_AWAY), self.connection.pipeline() as own:
                self.heartbeat(timeout, own)
                own.execute()
            return
        super().heartbeat(timeout, pipeline)
        pipeline.hset(self.key, mapping={**self.serialize(), "state": self.get_state()})
        worker_registration.register(self, pipeline)

    def check_for_suspension(self, burst: bool) -> None:
        """Wait while `rq suspend` holds."""
        with contextlib.suppress(*REDIS_AWAY):
            super().check_for_suspension(burst)

    def run_maintenance_tasks(self) -> None:
        """Clean RQ's registries."""
        with contextlib.suppress(*REDIS_AWAY):
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]

    def teardown(self) -> None:
        """Say that this worker ends; without Redis that is seen by its silence."""
        try:
            super().teardown()  # type: ignore[no-untyped-call]
        except REDIS_AWAY as error:
            log.info("Redis is away; that this worker ended is seen when its entry expires: %s", error)

    def _pubsub_exception_handler(self, exc: Exception, pubsub: PubSub, pubsub_thread: PubSubWorkerThread) -> None:
        """Listen on after an outage. RQ's own handler knows a lost connection, but not a Redis that answers late."""
        if not isinstance(exc, REDIS_AWAY):
            super()._pubsub_exception_handler(exc, pubsub, pubsub_thread)
        time.sleep(PAUSE_AFTER_OUTAGE_S)
