"""The monitor as a job of the maintenance queue; rq-scheduler enqueues it. All of it is in `services.monitor`."""

from ghibli_flask.services import monitor


def check() -> None:
    """Run the monitor once."""
    monitor.check()
