"""Orders: accept, cancel, paint again, delete and end them. The only code that charges, and the only ending.

The front doors call the verbs at the top; `jobs.paint` and `services.repair` end tasks with `settle` and
`end_from_outside`. Every move is one guarded UPDATE; zero rows means that somebody else was first.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from structlog.contextvars import bound_contextvars

from ghibli_flask import queueing, status
from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import (
    Blocked,
    FieldError,
    Forbidden,
    IdempotencyMismatch,
    InvalidFields,
    Maintenance,
    ModeUnavailable,
    NoCredits,
    NotFound,
    QueueFull,
    SignInRequired,
    SourceGone,
    TooManyRequests,
    Unavailable,
    WrongState,
    _,
)
from ghibli_flask.extensions import runtime
from ghibli_flask.images import normalise
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import allowances, files, flags, order_counts, payers, progress, sharing, tombstones
from ghibli_flask.services.orders import LARGEST_SEED, Order, Submission
from ghibli_flask.services.payers import Member, Payer
from ghibli_flask.services.previews import Preview
from ghibli_flask.storage import StoredFile
from ghibli_flask.styles import style_named
from ghibli_flask.task_states import STATE_OF_OUTCOME, Outcome, Stage, TaskState

log = logging.getLogger(__name__)

Also = Callable[[Session, ImageTask], None]

DUPLICATE_WITHIN = timedelta(seconds=5)
KEY_REMEMBERED = timedelta(hours=24)
FREE_LATE_CANCELS = 5


@dataclass(frozen=True)
class Ending:
    """How a task ends: the outcome, the finished picture and its thumbnail if there are any, and why if not."""

    outcome: Outcome
    result: StoredFile | None = None
    error_code: str | None = None
    note: str | None = None
    engine: str | None = None
    preview: Preview | None = None


def submit(order: Order, payer: Payer, also: Also | None = None) -> Submission:
    """Accept an order: prove the photograph, keep it, charge and enter the task in one transaction, then ring.

    The checks run cheap first. Raises the errors of the API's table for this call; nothing is charged or stored then.
    `also` works on the new task within that transaction.
    """
    if isinstance(payer, Member) and payer.is_blocked:
        raise Blocked
    style_named(order.style)
    switched = flags.current()
    if switched.maintenance:
        raise Maintenance(switched.maintenance)
    if order.mode not in switched.modes:
        raise ModeUnavailable if switched.modes else Unavailable
    _check_fields(order)
    known = _early_answer(order, payer)
    if known:
        return Submission(known, duplicate=True)
    return _enter(order, payer, _keep_source(order), switched.daily_limit, also)


def _check_fields(order: Order) -> None:
    """An order needs what its mode starts from: a photograph, or words."""
    if order.mode is Mode.IMAGE_TO_IMAGE and order.photo is None:
        raise InvalidFields(fields=(FieldError("image", _("Please choose a photo.")),))
    if order.mode is Mode.TEXT_TO_IMAGE and not order.prompt:
        raise InvalidFields(fields=(FieldError("prompt", _("Please say in a few words what to paint.")),))


def _keep_source(order: Order) -> StoredFile | None:
    if order.mode is Mode.TEXT_TO_IMAGE or order.photo is None:
        return None
    picture = normalise(order.photo, max_pixels=runtime().settings.max_image_pixels)
    return files.keep(picture.data, "sources", "jpg")


def _enter(
    order: Order, payer: Payer, source: StoredFile | None, daily_limit: int | None, also: Also | None = None
) -> Submission:
    """The one transaction of an order, and the ring after its commit."""
    try:
        submission = transaction(lambda session: _accept(session, order, payer, source, daily_limit, also))
    except Exception:
        if source:
            files.abandon(source)
        raise
    if submission.duplicate:
        if source:
            files.abandon(source)
        return submission
    order_counts.accepted(submission.task)
    with bound_contextvars(task_id=submission.task.public_id):
        log.info("task %s is accepted", submission.task.public_id)
        progress.publish(submission.task)
        ring(submission.task.public_id, submission.task.ring)
    return submission


def ring(public_id: str, number: int) -> bool:
    """Ring for a queued task. With Redis away the order stands all the same, and the sweep rings later."""
    try:
        queueing.ring(public_id, number)
    except RedisError as error:
        log.warning("Redis is away, task %s waits for the sweep to ring: %s", public_id, error)
        return False
    return True


def _early_answer(order: Order, payer: Payer) -> ImageTask | None:
    """The read-only checks before any work: a known repeat passes, a used-up allowance or a full queue does not."""
    now = runtime().clock.now()
    with reading() as session:
        known = _repeat_of(session, order, payer, now)
    if known:
        return known
    if order.alias is None and payers.pictures_left(payer) <= 0:
        raise NoCredits if isinstance(payer, Member) else SignInRequired
    place = queueing.waiting()
    load = queueing.load()
    wait = load.wait_seconds(place + 1) if load and place is not None else None
    if wait is not None and load and wait + (load.median_seconds or 0) > runtime().settings.stuck_after_s - 60:
        raise QueueFull(retry_after=max(60, round(wait / 4)))
    return None


def _accept(
    session: Session,
    order: Order,
    payer: Payer,
    source: StoredFile | None,
    daily_limit: int | None,
    also: Also | None,
) -> Submission:
    """Payer's lock, repeat, charge, row, adoption: decided together, so that two at once cannot both win."""
    now = runtime().clock.now()
    payers.lock(session, payer, now.date())
    known = _repeat_of(session, order, payer, now)
    if known:
        return Submission(known, duplicate=True)
    task = _new_task(order, payer, source, now)
    payers.charge(session, payer, task)
    if daily_limit is not None:
        allowances.take_for_site(session, daily_limit, now.date())
    session.add(task)
    if source:
        files.adopt(session, source)
    session.flush()
    if also:
        also(session, task)
    return Submission(task, duplicate=False)


def _new_task(order: Order, payer: Payer, source: StoredFile | None, now: datetime) -> ImageTask:
    settings = runtime().settings
    return ImageTask(
        public_id=uuid.uuid4().hex,
        alias=order.alias,
        owner=payer.owner,
        payer=payer.payer,
        retry_of=order.retry_of,
        mode=order.mode.value,
        prompt=order.prompt,
        style=order.style,
        width=order.width,
        height=order.height,
        seed=secrets.randbelow(LARGEST_SEED + 1) if order.seed is None else order.seed,
        status=TaskState.QUEUED.value,
        progress=0,
        stage=Stage.QUEUED.value,
        attempt=0,
        ring=1,
        deaths=0,
        handbacks=0,
        source_store=source.store if source else None,
        source_key=source.key if source else None,
        source_expires_at=now + timedelta(days=settings.source_ttl_days) if source else None,
        wants_gallery=int(order.wants_gallery),
        charged=payers.price(payer),
        refunded=0,
        address_subject=payers.address_subject(payer),
        paid_on=now.date(),
        idempotency_key=order.key_hash,
        fingerprint=order.fingerprint,
        created_at=now,
        queued_at=now,
        deadline_at=now + timedelta(seconds=settings.stuck_after_s),
    )


def _repeat_of(session: Session, order: Order, payer: Payer, now: datetime) -> ImageTask | None:
    """The task that this order repeats: by its caller's id, by key within a day, else by fingerprint within seconds."""
    if order.alias:
        return session.scalar(select(ImageTask).where(ImageTask.alias == order.alias))
    mine = select(ImageTask).where(ImageTask.payer == payer.payer, ImageTask.deleted_at.is_(None))
    if order.key_hash:
        same_key = mine.where(ImageTask.idempotency_key == order.key_hash, ImageTask.created_at > now - KEY_REMEMBERED)
        task = session.scalar(same_key.order_by(ImageTask.id.desc()).limit(1))
        if task and task.fingerprint != order.fingerprint:
            raise IdempotencyMismatch
        if task:
            return task
    if payer.owner is None:
        return None
    ended_badly = (TaskState.FAILED.value, TaskState.CANCELLED.value)
    return session.scalar(
        mine.where(
            ImageTask.created_at > now - DUPLICATE_WITHIN,
            ImageTask.fingerprint == order.fingerprint,
            ImageTask.status.not_in(ended_badly),
        )
        .order_by(ImageTask.id.desc())
        .limit(1)
    )


def owned(public_id: str, payer: Payer) -> ImageTask:
    """The task, for its owner; a task without owner opens to whoever holds its id. Raises NotFound, Forbidden."""
    task = progress.look_up(public_id)
    if not is_owner(task, payer):
        raise Forbidden
    return task


def is_owner(task: ImageTask, payer: Payer) -> bool:
    """Whether this payer may cancel, repeat and delete the task."""
    return payers.owns(payer, task)


def source_of(task: ImageTask) -> StoredFile:
    """Where the photograph of a task lies; raises SourceGone when it is no longer kept."""
    if task.source_store is None or task.source_key is None:
        raise SourceGone
    return StoredFile(task.source_store, task.source_key)


def retry(public_id: str, payer: Payer, style: str | None = None, idempotency_key: str | None = None) -> Submission:
    """Paint the same photograph again as a new task with a new charge; raises SourceGone and submit's errors."""
    task = owned(public_id, payer)
    if not cancel_is_free(payer.payer):
        raise TooManyRequests(
            _("Several paintings were stopped half-way today. You can paint this one again tomorrow."),
            retry_after=3600,
        )
    return submit(replace(order_again(task), style=style or task.style, idempotency_key=idempotency_key), payer)


def order_again(task: ImageTask) -> Order:
    """The same order once more, with a seed of its own; raises SourceGone."""
    photo = None
    if task.mode == Mode.IMAGE_TO_IMAGE:
        try:
            photo = files.read(source_of(task))
        except NotFound as error:
            raise SourceGone from error
    return Order(
        mode=Mode(task.mode),
        photo=photo,
        prompt=task.prompt,
        style=task.style,
        width=task.width,
        height=task.height,
        retry_of=task.id,
    )


def cancel(public_id: str, payer: Payer) -> ImageTask:
    """Stop a live task; cancelling twice is no error. Raises WrongState when it has ended otherwise."""
    task = end_from_outside(owned(public_id, payer), Ending(Outcome.CANCELLED))
    if task.state is not TaskState.CANCELLED:
        raise WrongState
    return task


def remove(public_id: str, payer: Payer) -> None:
    """Delete a task with its files, cancelling it first when it is live; the row stays as an empty tombstone."""
    task = end_from_outside(owned(public_id, payer), Ending(Outcome.CANCELLED))
    transaction(lambda session: tombstones.bury(session, [task.id]))
    status.bury(task.known_as)


def cancel_is_free(payer: str) -> bool:
    """Whether stopping a painting that has begun still gives the try back: the first five times of a UTC day."""
    with reading() as session:
        return _late_cancels_today(session, payer) < FREE_LATE_CANCELS


def settle(task_id: int, attempt: int, ending: Ending) -> bool:
    """End a task from within its run; False when the run is no longer the task's, and then nothing has changed."""
    task = transaction(lambda session: _end_run(session, task_id, attempt, ending))
    if task is None:
        return False
    order_counts.ended(task)
    progress.publish(task)
    progress.hand_out(task)
    sharing.publish_if_wished(task)
    return True


def _end_run(session: Session, task_id: int, attempt: int, ending: Ending) -> ImageTask | None:
    task = session.get_one(ImageTask, task_id)
    return _end(task, TaskState.PROCESSING, attempt, ending, session)


def end_from_outside(task: ImageTask, ending: Ending) -> ImageTask:
    """End a task by visitor, sweep or operator: guarded by the state as read, and read again until it is terminal."""
    while not task.state.is_terminal:
        ended = transaction(partial(end_within, task, ending))
        if ended:
            tell_ended(ended)
            return ended
        with reading() as session:
            task = session.get_one(ImageTask, task.id)
    return task


def end_within(task: ImageTask, ending: Ending, session: Session) -> ImageTask | None:
    """One such try within a transaction: None when the task is no longer as it was read. Afterwards `tell_ended`."""
    return _end(task, task.state, task.attempt, ending, session)


def tell_ended(task: ImageTask) -> None:
    """Tell those who ask, and the queue, of an ending from outside that is committed."""
    order_counts.ended(task)
    progress.publish(task)
    queueing.unring(task.public_id, task.ring)


def _end(
    read: ImageTask, guard_state: TaskState, guard_attempt: int, ending: Ending, session: Session
) -> ImageTask | None:
    """The one ending: the row's move, the result's adoption and the refund together; None on zero rows."""
    if _may_be_due(read, ending.outcome):
        payers.lock_of_task(session, read)
    due = _refund_is_due(session, read, ending.outcome)  # Counted under the payer's lock.
    moved = changed(
        session,
        update(ImageTask)
        .where(
            ImageTask.id == read.id,
            ImageTask.status == guard_state.value,
            ImageTask.attempt == guard_attempt,
        )
        .values(**end_values(read, ending, due)),
    )
    if not moved:
        return None
    if ending.result:
        files.adopt(session, ending.result)
    if ending.preview:
        files.adopt(session, ending.preview.file)
    if due:
        payers.refund(session, read)
    return session.get_one(ImageTask, read.id, populate_existing=True)


def end_values(task: ImageTask, ending: Ending, refunded: bool) -> dict[str, Any]:
    """What a row becomes when it ends."""
    now = runtime().clock.now()
    values: dict[str, Any] = {
        "status": STATE_OF_OUTCOME[ending.outcome].value,
        "finished_at": now,
        "expires_at": now + payers.kept_for(task.owner),
        "outcome": ending.outcome.value,
        "refunded": int(refunded),
        "error_code": ending.error_code,
        "note": ending.note,
    }
    if ending.engine:
        values["engine"] = ending.engine
    if ending.result:
        values |= {"result_store": ending.result.store, "result_key": ending.result.key}
        values |= {"progress": 100, "stage": Stage.DONE.value}
    if ending.preview:
        values |= {"thumbnail_store": ending.preview.file.store, "thumbnail_key": ending.preview.file.key}
        values |= {"result_width": ending.preview.width, "result_height": ending.preview.height}
    return values


def _may_be_due(task: ImageTask, outcome: Outcome) -> bool:
    return bool(task.charged) and outcome is not Outcome.PAINTED


def _refund_is_due(session: Session, task: ImageTask, outcome: Outcome) -> bool:
    if not _may_be_due(task, outcome):
        return False
    if outcome is Outcome.CANCELLED and task.started_at is not None:
        return _late_cancels_today(session, task.payer) < FREE_LATE_CANCELS
    return True


def _late_cancels_today(session: Session, payer: str) -> int:
    """How many of this payer's paintings were stopped today after they had begun."""
    midnight = runtime().clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    # The creation bound lets the index on (payer, created_at) answer; no live task is older than a day.
    return (
        session.scalar(
            select(func.count())
            .select_from(ImageTask)
            .where(
                ImageTask.payer == payer,
                ImageTask.created_at >= midnight - timedelta(days=1),
                ImageTask.status == TaskState.CANCELLED.value,
                ImageTask.started_at.is_not(None),
                ImageTask.finished_at >= midnight,
            )
        )
        or 0
    )
