"""Keeping files so that a crash at any moment leaves no orphan: enter, write, adopt; discard, drain.

A file is entered as discarded before it is written; the transaction that gives it to a row removes the entry.
Called by the other services, by the painting run and by the cleanup.
"""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.errors import NotFound, Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.models.file import DiscardedFile
from ghibli_flask.storage import FileMissing, StoredFile, StoreError, stores

log = logging.getLogger(__name__)

ADOPT_WITHIN = timedelta(hours=1)
DRAIN_BATCH = 200
LONGEST_PAUSE_MINUTES = 24 * 60


class FileGone(Unavailable):
    """A file was to be adopted after its time to be adopted had passed: the cleanup may have it already."""


def keep(data: bytes, kind: str, suffix: str) -> StoredFile:
    """Store new bytes under an unguessable key; raises Unavailable when no store takes them.

    The file belongs to nobody until `adopt`; if that never happens it is deleted after an hour.
    """
    file = StoredFile(stores().first, f"{kind}/{secrets.token_hex(1)}/{secrets.token_hex(16)}.{suffix}")
    entry = {
        "store": file.store,
        "key": file.key,
        "not_before": runtime().clock.now() + ADOPT_WITHIN,
        "tries": 0,
    }
    transaction(lambda session: session.execute(insert(DiscardedFile).values(**entry)))
    try:
        stores().write(file, data)
    except StoreError as error:
        log.error("A file could not be stored: %s", error)
        abandon(file)
        raise Unavailable from error
    return file


def adopt(session: Session, file: StoredFile) -> None:
    """Give a kept file to a row within the row's own transaction; raises FileGone."""
    gone = changed(
        session,
        delete(DiscardedFile).where(
            DiscardedFile.store == file.store,
            DiscardedFile.key == file.key,
            DiscardedFile.tries == 0,  # A cleanup that took the entry has counted its try already.
        ),
    )
    if not gone:
        raise FileGone


def discard(session: Session, file: StoredFile, not_before: datetime | None = None) -> None:
    """Let a row's file go within the row's own transaction; the cleanup deletes it."""
    moment = not_before or runtime().clock.now()
    session.execute(insert(DiscardedFile).values(store=file.store, key=file.key, not_before=moment, tries=0))


def abandon(file: StoredFile) -> None:
    """Say that a kept file will not be adopted, so that the next cleanup takes it."""
    now = runtime().clock.now()
    transaction(
        lambda session: session.execute(
            update(DiscardedFile)
            .where(DiscardedFile.store == file.store, DiscardedFile.key == file.key)
            .values(not_before=now)
        )
    )


def read(file: StoredFile) -> bytes:
    """The bytes of a file; raises NotFound when it is gone and Unavailable when its store is away."""
    try:
        return stores().read(file)
    except FileMissing as error:
        raise NotFound from error
    except StoreError as error:
        log.error("A file could not be read: %s", error)
        raise Unavailable from error


def drain(limit: int = DRAIN_BATCH) -> int:
    """Delete discarded files whose time has come, at most `limit`; returns how many are gone."""
    now = runtime().clock.now()
    with reading() as session:
        due = session.scalars(
            select(DiscardedFile).where(DiscardedFile.not_before <= now).order_by(DiscardedFile.not_before).limit(limit)
        ).all()
    return sum(_drain_one(entry, now) for entry in due)


def _drain_one(entry: DiscardedFile, now: datetime) -> bool:
    """Claim the entry, delete the file, then the entry. Claiming keeps a late adopter from getting a deleted file."""
    mine = transaction(lambda session: _claim(session, entry, now))
    if not mine:
        return False
    try:
        stores().delete(StoredFile(entry.store, entry.key))
    except StoreError as error:
        log.warning("A discarded file could not be deleted and will be tried again: %s", error)
        return False
    transaction(lambda session: session.execute(delete(DiscardedFile).where(DiscardedFile.id == entry.id)))
    return True


def _claim(session: Session, entry: DiscardedFile, now: datetime) -> bool:
    """Put the next try off, so that two cleanups never take the same entry. Refuses one that was just adopted."""
    pause = timedelta(minutes=min(2**entry.tries, LONGEST_PAUSE_MINUTES))
    claimed = changed(
        session,
        update(DiscardedFile)
        .where(DiscardedFile.id == entry.id, DiscardedFile.tries == entry.tries, DiscardedFile.not_before <= now)
        .values(tries=DiscardedFile.tries + 1, not_before=now + pause),
    )
    return claimed == 1
