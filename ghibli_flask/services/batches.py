"""Moving many tasks in one transaction, for the sweep: the same guards, refunds and lock order as one at a time.

One at a time costs ten round trips to the database for each task; a thousand stuck ones would take the sweep longer
than its minute. Rows that are no longer as they were read are left alone, exactly as an UPDATE that matches none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.orm import Session

from ghibli_flask import queueing, status
from ghibli_flask.database import transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import order_counts, payers, progress, runs, tasks
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import Outcome


def fail(read: Sequence[ImageTask], error_code: str) -> list[ImageTask]:
    """Fail these tasks and give back what they cost; gives those that were still as read."""
    ending = Ending(Outcome.FAILED, error_code=error_code)
    ended = transaction(partial(_fail, read, ending))
    for task in ended:
        order_counts.ended(task)
    _publish(ended)
    queueing.unring_all([queueing.job_id(task.public_id, task.ring) for task in ended])
    return ended


def queue_again(read: Sequence[ImageTask]) -> list[ImageTask]:
    """Queue these silent runs again and count their deaths; gives those that were still as read."""
    same = ("status", "attempt", "heartbeat_at")
    moved = transaction(
        partial(_move, read, same, lambda task: runs.requeued_values(task) | {"deaths": task.deaths + 1})
    )
    _publish(moved)
    ring(moved)
    return moved


def ring_again(read: Sequence[ImageTask]) -> list[ImageTask]:
    """Ring for these queued tasks under their next number; gives those that were still as read."""
    moved = transaction(partial(_move, read, ("status", "ring"), lambda task: {"ring": task.ring + 1}))
    _publish(moved)
    ring(moved)
    return moved


def ring(queued: Sequence[ImageTask]) -> None:
    """Put these tasks on the orders' queue; with Redis away the next sweep does."""
    try:
        queueing.ring_all([(task.public_id, task.ring) for task in queued])
    except RedisError as error:
        tasks.log.warning("Redis is away, %d tasks wait for the sweep to ring: %s", len(queued), error)


def _fail(read: Sequence[ImageTask], ending: Ending, session: Session) -> list[ImageTask]:
    charged = [task for task in read if task.charged]
    payers.lock_of_tasks(session, charged)
    moved = _move(read, ("status", "attempt"), lambda task: tasks.end_values(task, ending, bool(task.charged)), session)
    payers.refund_tasks(session, [task for task in moved if task.charged])
    return moved


def _move(
    read: Sequence[ImageTask], same: tuple[str, ...], values: Callable[[ImageTask], dict[str, Any]], session: Session
) -> list[ImageTask]:
    """Lock the rows in the order of their ids, and change those that are still as they were read."""
    as_read = {task.id: [getattr(task, name) for name in same] for task in read}
    locked = session.scalars(
        select(ImageTask).where(ImageTask.id.in_(as_read)).order_by(ImageTask.id).with_for_update()
    ).all()
    moved = [task for task in locked if [getattr(task, name) for name in same] == as_read[task.id]]
    for task in moved:
        for name, value in values(task).items():
            setattr(task, name, value)
    session.flush()
    return moved


def _publish(changed: Sequence[ImageTask]) -> None:
    """Put the new states into the live status, in one round trip; an outage of Redis is no failure."""
    now = runtime().clock.now()
    try:
        with runtime().redis.pipeline(transaction=False) as pipeline:
            for task in changed:
                status.publish(task.known_as, progress.live_status(task, now), redis=pipeline)
            pipeline.execute()
    except RedisError as error:
        tasks.log.debug("Redis is away, the rows answer the pollers: %s", error)
