"""The scheduler's process and its one list of periodic jobs. Started by `worker.py scheduler`.

rq-scheduler only enqueues; the maintenance worker does the work. Its definitions live in Redis, so they are entered
again whenever Redis has lost them, under fixed ids, so that they never double.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from datetime import timedelta

from flask import Flask
from redis import Redis
from redis.exceptions import RedisError
from rq.job import Job
from rq_scheduler import Scheduler

from ghibli_flask.extensions import runtime
from ghibli_flask.queueing import maintenance_queue_name, tell_scheduler_lives

log = logging.getLogger(__name__)

INTERVAL_S = 10
JOB_TIMEOUT_S = 300
PAUSE_AFTER_OUTAGE_S = 2


@dataclass(frozen=True)
class Periodic:
    """One periodic job: its name, the dotted path of its function, and when it runs."""

    name: str
    function: str
    cron: str


class OwnScheduler(Scheduler):  # type: ignore[misc]
    """rq-scheduler with keys of this installation, definitions that come back, and no pile-up behind a dead worker."""

    def __init__(self, prefix: str, periodic: tuple[Periodic, ...], connection: Redis) -> None:
        self.redis_scheduler_namespace_prefix = f"{prefix}:scheduler:instance:"
        self.scheduler_key = f"{prefix}:scheduler"
        self.scheduler_lock_key = f"{prefix}:scheduler:lock"
        self.scheduled_jobs_key = f"{prefix}:scheduler:jobs"
        self._periodic = {f"{prefix}-{job.name}": job for job in periodic}
        super().__init__(queue_name=maintenance_queue_name(prefix), connection=connection, interval=INTERVAL_S)

    def enqueue_jobs(self) -> object:
        """Enter what is missing or was changed, then enqueue what is due."""
        tell_scheduler_lives()
        for job_id, periodic in self._periodic.items():
            if not self._stands(job_id, periodic):
                self.cron(periodic.cron, periodic.function, id=job_id, timeout=JOB_TIMEOUT_S, result_ttl=-1)
        return super().enqueue_jobs()

    def enqueue_job(self, job: Job) -> None:
        """Enqueue one due job, unless its last run is still waiting for a worker."""
        queue = self.get_queue_for_job(job)
        if self.connection.lpos(queue.key, job.id) is None:
            super().enqueue_job(job)
        else:
            self.cron(job.meta["cron_string"], job.func_name, id=job.id, timeout=JOB_TIMEOUT_S, result_ttl=-1)

    def _install_signal_handlers(self) -> None:
        """Have a signal end the loop, whose end gives the lock back.

        rq-scheduler's own handler asks Redis in the middle of whatever was interrupted: when that was a call of Redis
        itself, it waits for ever for a lock which that call holds.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: sys.exit(0))

    def _stands(self, job_id: str, periodic: Periodic) -> bool:
        if job_id not in self or not Job.exists(job_id, connection=self.connection):
            return False
        job = Job.fetch(job_id, connection=self.connection)
        return bool(job.meta.get("cron_string") == periodic.cron and job.func_name == periodic.function)


def run_later(delay: timedelta, function: str, *args: object) -> None:
    """Have a function of the maintenance queue run once after a delay; raises a RedisError."""
    run = runtime()
    scheduler = OwnScheduler(run.settings.queue_prefix, periodic_jobs(), run.redis)
    scheduler.enqueue_in(delay, function, *args, timeout=JOB_TIMEOUT_S, job_result_ttl=0)


def periodic_jobs() -> tuple[Periodic, ...]:
    """Everything that runs by the clock."""
    settings = runtime().settings
    return (
        Periodic("sweep", "jobs.sweep.sweep", settings.sweep_cron),
        Periodic("monitor", "jobs.monitor.check", settings.monitor_cron),
    )


def run_scheduler(app: Flask) -> None:
    """Keep the time until told to stop; an outage of Redis is waited out."""
    # rq-scheduler asks for cron times in the way that crontab announces to change; both ways agree on UTC here.
    warnings.filterwarnings("ignore", category=FutureWarning, module="rq_scheduler")
    with app.app_context():
        run = runtime()
        while True:
            scheduler = OwnScheduler(run.settings.queue_prefix, periodic_jobs(), run.redis)
            try:
                scheduler.run()
            except RedisError as error:
                log.warning("Redis is away, the scheduler waits: %s", error)
                time.sleep(PAUSE_AFTER_OUTAGE_S)
            else:
                sys.exit(0)
