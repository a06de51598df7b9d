"""Pictures, photographs, unused uploads and tombstones go when their time has come. Called by the sweep.

When a picture goes is written on its row when it is finished, so a visitor's promise does not change with a setting.
What is shared has no day to go: `services.sharing` takes it away and gives a new one. Everything is found by an index
and goes in bounded batches; the files follow through `services.files`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ghibli_flask import status
from ghibli_flask.database import reading, transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.upload import Upload
from ghibli_flask.services import files, tombstones
from ghibli_flask.storage import StoredFile
from ghibli_flask.task_states import TERMINAL

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_A_SWEEP = 1000
"""So many rows of each kind go at most in one sweep; the next one goes on."""
BATCH = 100
"""So many rows move in one transaction: few enough that nobody waits long for their locks."""
UPLOAD_KEPT = timedelta(days=1)


@dataclass(frozen=True)
class Keeping:
    """How long a finished task is kept: the picture with its row, and its photograph while there is one.

    Without `picture_until` it is kept as long as it is shared, without `photo_until` the photograph is too.
    """

    picture_until: datetime | None
    photo_until: datetime | None
    has_photo: bool


def keeping_of(task: ImageTask) -> Keeping | None:
    """How long this task is kept; None while it is not finished, because the time begins with its end."""
    if task.finished_at is None:
        return None
    photo_until = task.source_expires_at
    if photo_until and task.expires_at:
        photo_until = min(photo_until, task.expires_at)  # The photograph never outlives its task.
    return Keeping(task.expires_at, photo_until, has_photo=task.source_key is not None)


def expire(limit: int = MOST_A_SWEEP) -> int:
    """Let go of whatever has been kept long enough, at most `limit` of each kind; returns how many rows it met."""
    now = runtime().clock.now()
    ended = ImageTask.status.in_([state.value for state in TERMINAL])
    kept, tombstone = ImageTask.deleted_at.is_(None), ImageTask.deleted_at.is_not(None)
    return (
        _bury(_due(ImageTask.expires_at, now, limit, kept), now)
        + _drop(_due(ImageTask.expires_at, now, limit, tombstone))
        + _let_photos_go(_due(ImageTask.source_expires_at, now, limit, ended), now)
        + _drop_uploads(now, limit)
    )


def _due(
    column: InstrumentedAttribute[datetime | None], now: datetime, limit: int, condition: ColumnElement[bool]
) -> list[ImageTask]:
    """What has been kept long enough, oldest first, as the column's index has it."""
    due = select(ImageTask).where(column <= now, condition).order_by(column).limit(limit)
    with reading() as session:
        return list(session.scalars(due))


def _bury(due: Sequence[ImageTask], now: datetime) -> int:
    """Finished tasks become tombstones, unless they were shared or given a later day a moment ago."""
    for batch in _batches(due):
        for task in transaction(partial(_bury_batch, batch, now)):
            status.bury(task.known_as)
            log.info("task %s was kept long enough", task.public_id)
    return len(due)


def _bury_batch(batch: Sequence[ImageTask], now: datetime, session: Session) -> Sequence[ImageTask]:
    still = select(ImageTask.id).where(ImageTask.id.in_([task.id for task in batch]), ImageTask.expires_at <= now)
    return tombstones.bury(session, session.scalars(still.order_by(ImageTask.id).with_for_update()).all())


def _drop(due: Sequence[ImageTask]) -> int:
    for batch in _batches(due):
        ids = [task.id for task in batch]
        transaction(lambda session, ids=ids: tombstones.drop(session, ids))  # type: ignore[misc]
    return len(due)


def _let_photos_go(due: Sequence[ImageTask], now: datetime) -> int:
    for batch in _batches(due):
        transaction(partial(_let_photos_of_batch_go, batch, now))
    return len(due)


def _let_photos_of_batch_go(batch: Sequence[ImageTask], now: datetime, session: Session) -> None:
    """Let the photographs go that are still to go: one may have been shared, or deleted, a moment ago."""
    still = select(ImageTask).where(ImageTask.id.in_([task.id for task in batch]), ImageTask.source_expires_at <= now)
    for task in session.scalars(still.order_by(ImageTask.id).with_for_update()):
        if task.source_store and task.source_key:
            files.discard(session, StoredFile(task.source_store, task.source_key))
        task.source_store = task.source_key = task.source_expires_at = None


def _batches(due: Sequence[T]) -> list[Sequence[T]]:
    return [due[begin : begin + BATCH] for begin in range(0, len(due), BATCH)]


# --- Uploads ---


def _drop_uploads(now: datetime, limit: int) -> int:
    """Uploads go a day after they came; whatever was ordered from them has a copy of its own."""
    old = select(Upload.id).where(Upload.created_at <= now - UPLOAD_KEPT)
    with reading() as session:
        ids = session.scalars(old.order_by(Upload.created_at).limit(limit)).all()
    for batch in _batches(ids):
        which = Upload.id.in_(batch)
        transaction(lambda session, which=which: drop_uploads(session, which))  # type: ignore[misc]
    return len(ids)


def drop_uploads(session: Session, which: ColumnElement[bool]) -> None:
    """Delete these uploads with their files, within the caller's transaction."""
    for upload in session.scalars(select(Upload).where(which).order_by(Upload.id).with_for_update()):
        files.discard(session, StoredFile(upload.store, upload.key))
        session.delete(upload)
