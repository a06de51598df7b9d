"""The worker processes and their names: one that paints, one for the periodic duties. Started by `worker.py`."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask
from rq import Queue

from ghibli_flask.extensions import REDIS_AWAY, runtime
from ghibli_flask.metrics import close_metrics
from ghibli_flask.queueing import maintenance_queue, paint_queue
from jobs.application_worker import PAUSE_AFTER_OUTAGE_S, ApplicationWorker
from jobs.concurrent_worker import ConcurrentWorker
from jobs.process import PaintingProcess

log = logging.getLogger(__name__)

AnyWorker = TypeVar("AnyWorker", bound=ApplicationWorker)


class PaintingWorker(ConcurrentWorker):
    """The worker that paints: WORKER_CONCURRENCY orders at once."""

    def __init__(self, app: Flask, queue: Queue, name: str) -> None:
        with app.app_context():
            settings = runtime().settings
        slots = settings.worker_concurrency
        super().__init__(
            app,
            queue,
            name,
            slots=slots,
            memory_mb=settings.worker_memory_mb,
            most_jobs=settings.worker_max_orders,
        )
        self._process = PaintingProcess(app, name, slots)

    def work(self, *args: Any, **options: Any) -> bool:
        """Paint until told to stop, or worn out."""
        self._process.open()
        try:
            return super().work(*args, **options)
        finally:
            self._process.close()

    def handle_warm_shutdown_request(self) -> None:
        """The orders in hand may finish; after a minute they are handed back."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._process.stop_within(self.warm_stop_s)

    def handle_cold_shutdown_request(self) -> None:
        """The orders in hand are handed back now."""
        super().handle_cold_shutdown_request()
        self._process.stop_within(0)


def run_painting_worker(app: Flask) -> None:
    """Paint until told to stop; a worn-out process begins anew in its own place."""
    with app.app_context():
        queue = paint_queue()
    worker = when_redis_answers(lambda: PaintingWorker(app, queue, worker_name(app, "paint")))
    worker.work(logging_level="WARNING")
    close_metrics(app)  # What is begun anew below never ends, so nothing else would send the last counts.
    if worker.is_worn_out and not worker.was_told_to_stop:
        begin_anew()


def run_maintenance_worker(app: Flask) -> None:
    """Do the periodic duties until told to stop."""
    with app.app_context():
        queue = maintenance_queue()
    worker = when_redis_answers(lambda: ApplicationWorker(app, queue, worker_name(app, "maintenance")))
    worker.work(logging_level="WARNING")


def when_redis_answers(make: Callable[[], AnyWorker]) -> AnyWorker:
    """Make a worker; RQ asks Redis while it does, so wait for Redis first."""
    while True:
        try:
            return make()
        except REDIS_AWAY as error:
            log.warning("Redis is away, the worker waits for it: %s", error)
            time.sleep(PAUSE_AFTER_OUTAGE_S)


def begin_anew() -> None:
    """Put a fresh process in the place of this one: same command line, same process id, none of its memory.

    Whoever started it sees nothing end, so it works under every supervisor and under none.
    """
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the words that started this process.


def worker_name(app: Flask, role: str) -> str:
    """A name that tells installation, role, machine and process apart, also from one of the same id before it."""
    with app.app_context():
        prefix = runtime().settings.queue_prefix
    return f"{prefix}-{role}-{socket.gethostname()}-{secrets.token_hex(3)}-{os.getpid()}"
