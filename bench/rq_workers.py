"""RQ's own worker classes at our queue, to be measured beside ours: `python -m bench.rq_workers forking|simple`."""

import os
import sys

from flask import Flask
from rq import Queue, SimpleWorker, Worker
from rq.executions import Execution
from rq.job import Job

from ghibli_flask import queueing
from ghibli_flask.database import db
from ghibli_flask.factory import create_app
from jobs.process import PaintingProcess


class SimpleWorkerOfOurs(SimpleWorker):
    """RQ's worker that does one job after the other in its own process."""

    app: Flask

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run the job in the application."""
        with self.app.app_context():
            return super().perform_job(job, queue, execution)


class ForkingWorkerOfOurs(Worker):
    """RQ's usual worker: a process is forked for every job, and connects by itself."""

    app: Flask

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """What the forked process does."""
        with self.app.app_context():
            db.engine.dispose(close=False)
        PaintingProcess(self.app, self.name, slots=1)
        super().main_work_horse(job, queue)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run the job in the application."""
        with self.app.app_context():
            return super().perform_job(job, queue, execution)


KINDS = {"forking": ForkingWorkerOfOurs, "simple": SimpleWorkerOfOurs}


def main() -> None:
    """Work until told to stop."""
    worker_class = KINDS[sys.argv[1]]
    app = create_app(for_worker=True)
    worker_class.app = app
    name = f"{sys.argv[1]}-{os.getpid()}"
    PaintingProcess(app, name, slots=1)
    with app.app_context():
        queue = queueing.paint_queue()
    worker_class([queue], name=name, connection=queue.connection).work(logging_level="WARNING")


if __name__ == "__main__":
    main()
