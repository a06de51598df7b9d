"""The sweep as a job of the maintenance queue; rq-scheduler enqueues it. All of it is in `services.repair`."""

from ghibli_flask.services import repair


def sweep() -> None:
    """Run one sweep."""
    repair.sweep()
