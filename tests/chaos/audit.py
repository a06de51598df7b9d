"""The last look at a chaos run: nothing forgotten, nothing charged wrongly, no file astray."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from sqlalchemy import func, select

from ghibli_flask.database import db, reading
from ghibli_flask.extensions import runtime
from ghibli_flask.models import Allowance, DiscardedFile, ImageTask
from ghibli_flask.services import credits, files
from ghibli_flask.task_states import LIVE, Outcome, TaskState
from tests.chaos.crowd import Told

FREE_LATE_CANCELS = 5


def unfinished(app: Flask) -> set[int]:
    """The tasks that have not ended; raises Unavailable while the database is down."""
    with app.app_context(), reading() as session:
        live = [state.value for state in LIVE]
        return set(session.scalars(select(ImageTask.id).where(ImageTask.status.in_(live))))


def files_in(folder: Path) -> set[str]:
    """The keys of everything in a local store."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def complaints(app: Flask, told: Told, stored: Callable[[], set[str]]) -> list[str]:
    """Everything that is wrong, in words; `app` runs on a clock that is an hour ahead, so that leftovers are due.

    `stored` gives the keys of all files that there are.
    """
    with app.app_context(), reading() as session:
        tasks = list(session.scalars(select(ImageTask)))
    return [
        *_of_orders(tasks, told),
        *_of_endings(tasks),
        *_of_money(app, tasks),
        *_of_files(app, stored),
    ]


def _of_orders(tasks: list[ImageTask], told: Told) -> list[str]:
    known = {task.public_id for task in tasks}
    wrong = [f"accepted and forgotten: {task_id}" for task_id in told.accepted.values() if task_id not in known]
    twice = [key for key, count in Counter(task.idempotency_key for task in tasks).items() if key and count > 1]
    wrong += [f"one order, several tasks: {key}" for key in twice]
    if len(set(told.accepted.values())) != len(told.accepted):
        wrong.append("two orders were given one task")
    return wrong


def _of_endings(tasks: list[ImageTask]) -> list[str]:
    wrong = [f"not ended: {task.public_id} {task.status} {task.stage}" for task in tasks if not task.state.is_terminal]
    for task in tasks:
        if task.outcome == Outcome.PAINTED and (task.refunded or not (task.result_key or task.deleted_at)):
            wrong.append(f"painted, but refunded or without a picture: {task.public_id}")
        if task.state is TaskState.FAILED and task.charged and not task.refunded:
            wrong.append(f"failed and charged: {task.public_id}")
        if task.state is TaskState.CANCELLED and not task.refunded and task.started_at is None:
            wrong.append(f"cancelled before it began, and charged: {task.public_id}")
    keys = [task.result_key for task in tasks if task.result_key]
    if len(set(keys)) != len(keys):
        wrong.append("two orders have one result")
    return wrong


def _of_money(app: Flask, tasks: list[ImageTask]) -> list[str]:
    with app.app_context():
        wrong = [f"reconcile: user {found.user_id}" for found in credits.differences()]
        with reading() as session:
            used = dict(
                session.execute(select(Allowance.subject, func.sum(Allowance.used)).group_by(Allowance.subject)).all()
            )
    paid = Counter(task.payer.removeprefix("guest:") for task in tasks if task.charged and not task.refunded)
    for subject in {task.payer.removeprefix("guest:") for task in tasks if task.payer.startswith("guest:")}:
        if paid[subject] != used.get(subject, 0):
            wrong.append(f"guest {subject[:8]} has {used.get(subject)} tries counted, and {paid[subject]} pictures")
    return wrong


def _of_files(app: Flask, stored: Callable[[], set[str]]) -> list[str]:
    with app.app_context():
        while files.drain():
            pass
        with reading() as session:
            is_due = DiscardedFile.not_before <= runtime().clock.now()
            entries = session.scalar(select(func.count()).where(is_due))
    present = stored()
    owned = _owned(app)
    wrong = [f"a file without a row: {key}" for key in sorted(present - owned)]
    wrong += [f"a row without its file: {key}" for key in sorted(owned - present)]
    return [*wrong, *([f"{entries} discarded files stay"] if entries else [])]


def _owned(app: Flask) -> set[str]:
    """The keys of every file that some row has: each column for a key stands beside one for the file's store."""
    owned: set[str] = set()
    with app.app_context(), reading() as session:
        for table in db.metadata.sorted_tables:
            for column in table.columns:
                keeps_file = column.name.endswith("key") and f"{column.name.removesuffix('key')}store" in table.columns
                if keeps_file and table.name != DiscardedFile.__tablename__:
                    owned.update(session.scalars(select(column).where(column.is_not(None))))
    return owned
