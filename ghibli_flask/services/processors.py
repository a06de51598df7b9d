"""Programs outside: orders that come under their caller's own id, and reports on paintings that somebody else makes.

Called by `api.processors`, and by the routes that show a task to a holder of the process secret. A task that came
this way is kept in ledger and Redis under its caller's id; our own id of it is told to nobody. A report is of such a
task, and then it moves the row; or it is of a painting that the engine `processor` handed out as `<task>-<attempt>`,
and then it is passed on to the run that waits for it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

from redis.exceptions import RedisError
from sqlalchemy import inspect, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from ghibli_flask import queueing, status
from ghibli_flask.database import changed, db, reading, transaction
from ghibli_flask.engine_catalogue import ENGINES
from ghibli_flask.errors import (
    Conflict,
    FieldError,
    InvalidFields,
    NotFound,
    SchemaOutdated,
    Unavailable,
    WrongState,
    _,
)
from ghibli_flask.extensions import runtime
from ghibli_flask.images import DigitalSourceType, Picture, finish, fit, size_of
from ghibli_flask.mailbox import Report
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import accounts, files, previews, progress, runs, tasks
from ghibli_flask.services.allowances import Guest
from ghibli_flask.services.orders import Order
from ghibli_flask.services.payers import Member, Outside, Payer, kept_for
from ghibli_flask.services.progress import TaskView
from ghibli_flask.services.tasks import Ending
from ghibli_flask.storage import StoredFile
from ghibli_flask.task_states import Outcome, Stage, TaskState

ENGINE = "processor"
COLUMNS_COMMAND = "python scripts/add_progress_columns.py"
REPORTED_COLUMNS = frozenset({"progress", "stage"})
MOST_WHILE_PAINTING = 99

_OWN_ID = re.compile(r"([0-9a-f]{32})(?:-(\d{1,9}))?")
_NO_PICTURE = _("A finished painting needs its picture.")


def accept(order: Order, user_id: str | None) -> None:
    """Take in an order under its `alias`; a repeat does nothing. A user that is named pays, else it is free.

    Raises what `tasks.submit` raises, InvalidFields for an unknown user, and Conflict for one of our own ids or when
    the task's charge stands for another user.
    """
    assert order.alias
    if _by_alias(order.alias) is not None:
        return
    if _is_our_own(order.alias):
        raise Conflict(_("This id is one of our own. Please choose another one."))
    try:
        tasks.submit(order, _payer(user_id))
    except IntegrityError as error:
        # Two at once met at a unique key: the alias, or the charge that another user's posting made meanwhile.
        if _by_alias(order.alias) is None:
            raise Conflict from error


def view(alias: str) -> TaskView | None:
    """How a task that came from outside is doing, under its caller's id; None when there is none."""
    task = _by_alias(alias)
    if task is None or task.deleted_at:
        return None
    return replace(progress.view_as_known(task), public_id=alias)


def result_file(alias: str) -> StoredFile | None:
    """Where the finished picture lies, for its caller, who sent the photograph; None when there is no such task.

    Raises NotFound while there is no picture.
    """
    task = _by_alias(alias)
    if task is None or task.deleted_at:
        return None
    if task.result_store is None or task.result_key is None:
        raise NotFound
    return StoredFile(task.result_store, task.result_key)


def cancel(alias: str) -> TaskView | None:
    """Stop a task for its caller; None when there is no such task. Raises WrongState when it ended otherwise."""
    task = _by_alias(alias)
    if task is None or task.deleted_at:
        return None
    ended = tasks.end_from_outside(task, Ending(Outcome.CANCELLED))
    if ended.state is not TaskState.CANCELLED:
        raise WrongState
    return replace(progress.view_of(ended), public_id=alias)


def report(task_id: str, told: Report) -> None:
    """Take a report; one that is late, or behind what is known, has no effect.

    Raises NotFound, WrongState for a task that nobody outside paints, InvalidFields for a finished painting without
    its picture, NotAPicture, SchemaOutdated, and Unavailable.
    """
    try:
        _report(task_id, told)
    except RedisError as error:
        raise Unavailable from error
    except SQLAlchemyError as error:
        present = {column["name"] for column in inspect(db.engine).get_columns(ImageTask.__tablename__)}
        if present >= REPORTED_COLUMNS:
            raise
        raise SchemaOutdated(command=COLUMNS_COMMAND) from error


def _report(task_id: str, told: Report) -> None:
    task = _by_alias(task_id)
    if task is not None:
        if task.deleted_at:
            raise NotFound
        _take(task, told)
        return
    own = _OWN_ID.fullmatch(task_id)
    if own is None:
        raise NotFound
    task = progress.look_up(own[1])
    if own[2] is None:
        raise WrongState(_("Nobody outside paints this picture."))
    _pass_on(task, task_id, int(own[2]), told)


def _pass_on(task: ImageTask, reference: str, attempt: int, told: Report) -> None:
    """Leave a report for the run that handed this attempt out."""
    if attempt > task.attempt:
        raise NotFound
    box = status.mailbox()
    if task.engine != ENGINE and not box.is_open(reference):
        raise WrongState(_("Nobody outside paints this picture."))
    if task.state is not TaskState.PROCESSING or attempt != task.attempt:
        return
    if told.status == "completed":
        told = replace(told, picture=_picture(reference, told))
    box.drop_in(reference, told)


def _take(task: ImageTask, told: Report) -> None:
    """Move the row of a task from outside; whoever reports on one that is still queued takes it."""
    if task.state.is_terminal:
        return
    finished = _finished(task, _picture(task.known_as, told)) if told.status == "completed" else None
    if task.state is TaskState.QUEUED:
        if runs.claim(task.public_id):
            queueing.unring(task.public_id, task.ring)
        task = progress.look_up(task.public_id)
    if task.state is not TaskState.PROCESSING:
        return  # It ended meanwhile, or its time is over and the sweep is about to end it.
    if finished is not None:
        _complete(task, finished)
    elif told.status == "failed":
        tasks.settle(task.id, task.attempt, Ending(Outcome.FAILED, error_code="engine_unavailable", engine=ENGINE))
    elif transaction(lambda session: _advance(session, task, told, runtime().clock.now())):
        progress.publish(progress.look_up(task.public_id))


def _advance(session: Session, task: ImageTask, told: Report, now: datetime) -> bool:
    percent = min(told.progress, MOST_WHILE_PAINTING)
    moved = changed(
        session,
        update(ImageTask)
        .where(
            ImageTask.id == task.id,
            ImageTask.status == TaskState.PROCESSING.value,
            ImageTask.attempt == task.attempt,
            ImageTask.progress <= percent,
        )
        .values(progress=percent, stage=_stage(told.stage).value, heartbeat_at=now, engine=ENGINE),
    )
    return moved == 1


def _finished(task: ImageTask, picture: bytes) -> Picture:
    """A picture from outside, proven and brought to the photograph's shape as one of our own engines' is."""
    facts = ENGINES[ENGINE]
    within = (task.width or facts.largest_side, task.height or facts.largest_side)
    shape = fit(
        *size_of(_source_or(task, picture)), within=within, largest=facts.largest_side, smallest=facts.smallest_side
    )
    return finish(picture, shape, source_type=DigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA)


def _complete(task: ImageTask, finished: Picture) -> None:
    result = files.keep(finished.data, "results", "jpg", expires_in=kept_for(task.owner))
    preview = previews.keep(finished.data)
    if not tasks.settle(task.id, task.attempt, Ending(Outcome.PAINTED, result, engine=ENGINE, preview=preview)):
        files.abandon(result)
        if preview:
            files.abandon(preview.file)


def _source_or(task: ImageTask, picture: bytes) -> bytes:
    """The photograph, whose shape the picture gets; the picture itself when the photograph is no longer kept."""
    if task.source_store is None or task.source_key is None:
        return picture
    return files.read(StoredFile(task.source_store, task.source_key))


def _picture(known_as: str, told: Report) -> bytes:
    """The picture that came with a report, or that lies in Redis; whether it is one is seen from its beginning."""
    picture = told.picture or status.mailbox().picture_of(known_as)
    if picture is None:
        raise InvalidFields(_NO_PICTURE, fields=(FieldError("imageBase64", _NO_PICTURE),))
    size_of(picture)
    return picture


def _stage(word: str | None) -> Stage:
    """Our own word for a stage; whoever uses others is painting."""
    try:
        return Stage(word or "")
    except ValueError:
        return Stage.PAINTING


def _payer(user_id: str | None) -> Payer:
    if user_id is None:
        return Outside()
    try:
        account = accounts.find(user_id)
    except NotFound as error:
        raise InvalidFields(fields=(FieldError("userId", _("There is no such user.")),)) from error
    return Member(user_id, Guest(browser=None, address=""), account.profile.blocked_at is not None)


def _by_alias(alias: str) -> ImageTask | None:
    with reading() as session:
        return session.scalar(select(ImageTask).where(ImageTask.alias == alias))


def _is_our_own(alias: str) -> bool:
    """Whether this is the id of one of our tasks, or of an attempt at one: an engine that was led back to ourselves."""
    own = _OWN_ID.fullmatch(alias)
    if own is None:
        return False
    with reading() as session:
        return session.scalar(select(ImageTask.id).where(ImageTask.public_id == own[1])) is not None
