"""What is left of deleted tasks: empty rows that a late worker still meets, until retention drops them too.

Called by `services.tasks` and `services.history` when an owner deletes, and by `services.retention`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ghibli_flask.extensions import runtime
from ghibli_flask.models.rating import Rating
from ghibli_flask.models.share import Share, ShareReport
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.wish import Wish
from ghibli_flask.services import files, sharing
from ghibli_flask.storage import StoredFile

KEPT = timedelta(days=7)


def bury(session: Session, task_ids: Collection[int]) -> Sequence[ImageTask]:
    """Empty the rows of these ended tasks within the caller's transaction: files, words, wishes, ratings and shares go.

    Gives those that were not deleted already.
    """
    rows = select(ImageTask).where(ImageTask.id.in_(task_ids), ImageTask.deleted_at.is_(None))
    open_shares = select(Share.task_id).where(Share.task_id.in_(task_ids), Share.revoked_at.is_(None))
    now = runtime().clock.now()
    buried = session.scalars(rows.order_by(ImageTask.id).with_for_update()).all()
    for task_id in session.scalars(open_shares).all():
        sharing.revoke_within(session, task_id)
    for task in buried:
        for file in files_of(task):
            files.discard(session, file)
        task.source_store = task.source_key = None
        task.result_store = task.result_key = None
        task.thumbnail_store = task.thumbnail_key = None
        task.prompt, task.idempotency_key = "", None
        task.deleted_at = now
        task.source_expires_at, task.expires_at = None, now + KEPT
    session.execute(delete(Wish).where(Wish.task_id.in_(task_ids)))
    session.execute(delete(Rating).where(Rating.task_id.in_(task_ids)))
    return buried


def files_of(task: ImageTask) -> list[StoredFile]:
    """The files that belong to a task's row."""
    pairs = (
        (task.source_store, task.source_key),
        (task.result_store, task.result_key),
        (task.thumbnail_store, task.thumbnail_key),
    )
    return [StoredFile(store, key) for store, key in pairs if store and key]


def drop(session: Session, task_ids: Collection[int]) -> None:
    """Delete these tombstones, and what refers to them: a later task may be given the number of one on SQLite."""
    gone = session.execute(
        select(ImageTask.id, ImageTask.retry_of)
        .where(ImageTask.id.in_(task_ids), ImageTask.deleted_at.is_not(None))
        .with_for_update()
    ).all()
    ids = [row.id for row in gone]
    shares = select(Share.id).where(Share.task_id.in_(ids))
    session.execute(delete(ShareReport).where(ShareReport.share_id.in_(shares)))
    session.execute(delete(Share).where(Share.task_id.in_(ids)))
    # A kept wish is of the task that the new one repeats.
    wished = Wish.task_id.in_([row.retry_of for row in gone if row.retry_of])
    session.execute(update(Wish).where(wished, Wish.kept_as.in_(ids)).values(kept_as=None))
    session.execute(delete(ImageTask).where(ImageTask.id.in_(ids)))
