"""The worker processes: one that paints, one for the periodic duties. Started by `worker.py`.

RQ's in-process worker with an application context around each job: engines and their connections are shared by all
orders of the process. One queue for each process, because RQ can lose a job between pop and start on several.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Any

from flask import Flask
from redis.client import Pipeline
from rq import Queue, SimpleWorker, worker_registration
from rq.executions import Execution
from rq.job import Job

from ghibli_flask.extensions import REDIS_AWAY, runtime
from ghibli_flask.queueing import maintenance_queue, paint_queue
from jobs.process import PaintingProcess

log = logging.getLogger(__name__)

RQ_MAINTENANCE_EVERY_S = 45
PAUSE_AFTER_OUTAGE_S = 1


class ApplicationWorker(SimpleWorker):
    """RQ's worker, running every job inside the application."""

    def __init__(self, app: Flask, queue: Queue, name: str) -> None:
        self._app = app
        super().__init__([queue], name=name, connection=queue.connection, maintenance_interval=RQ_MAINTENANCE_EVERY_S)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run one job in a context of its own."""
        with self._app.app_context():
            return super().perform_job(job, queue, execution)

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
        """Say that this worker lives. RQ registers a worker only at its birth, and Redis may have forgotten since."""
        super().heartbeat(timeout, pipeline)
        worker_registration.register(self, pipeline)


class PaintingWorker(ApplicationWorker):
    """The worker that paints, one order at a time."""

    def __init__(self, app: Flask, queue: Queue, name: str) -> None:
        super().__init__(app, queue, name)
        self._process = PaintingProcess(app, name, slots=1)

    def work(self, *args: Any, **options: Any) -> bool:
        """Paint until told to stop."""
        self._process.open()
        try:
            return super().work(*args, **options)
        finally:
            self._process.close()

    def handle_warm_shutdown_request(self) -> None:
        """The order in hand may finish; after a minute it is handed back."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._process.stop_warm()


def run_painting_worker(app: Flask) -> None:
    """Paint until told to stop."""
    with app.app_context():
        queue = paint_queue()
    PaintingWorker(app, queue, worker_name(app, "paint")).work(logging_level="WARNING")


def run_maintenance_worker(app: Flask) -> None:
    """Do the periodic duties until told to stop."""
    with app.app_context():
        queue = maintenance_queue()
    ApplicationWorker(app, queue, worker_name(app, "maintenance")).work(logging_level="WARNING")


def worker_name(app: Flask, role: str) -> str:
    """A name that tells installation, role, machine and process apart."""
    with app.app_context():
        prefix = runtime().settings.queue_prefix
    return f"{prefix}-{role}-{socket.gethostname()}-{os.getpid()}"
