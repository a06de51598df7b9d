"""Keeping files so that a crash at any moment leaves no orphan: enter, write, adopt; discard, drain.

A file is entered as discarded before it is written; the transaction that gives it to a row removes the entry.
Called by the other services, by the painting run and by the cleanup.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, cast
from urllib.parse import quote

from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from ghibli_flask import metrics
from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.errors import NotFound, Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.models.file import DiscardedFile
from ghibli_flask.storage import FileMissing, StoredFile, StoreError, stores

log = logging.getLogger(__name__)

ADOPT_WITHIN = timedelta(hours=1)
WRITE_SETTLES = timedelta(minutes=5)
SIGNED_FOR = timedelta(minutes=10)
DRAIN_BATCH = 200
LONGEST_PAUSE_MINUTES = 24 * 60


@dataclass(frozen=True)
class Leftover:
    """A deleted picture that stays where it lies until it expires; a person can delete it earlier on that page."""

    store: str
    expires_at: datetime
    delete_page: str | None


class FileGone(Unavailable):
    """A file was to be adopted after its time to be adopted had passed: the cleanup may have it already."""


def keep(data: bytes, kind: str, suffix: str, *, expires_in: timedelta | None = None) -> StoredFile:
    """Store new bytes under an unguessable key; raises Unavailable when no store takes them.

    The kind is `sources` for photographs, `results` for painted pictures and a word of the caller's for other files.
    `expires_in` is how long the file will be kept at most: a store that cannot delete takes no file without it.
    The file belongs to nobody until `adopt`; if that never happens it is deleted after an hour.
    """
    key = f"{kind}/{secrets.token_hex(1)}/{secrets.token_hex(16)}.{suffix}"
    for name in stores().willing(kind, expires_in):
        try:
            kept = write_to(StoredFile(name, key), data, expires_in)
        except StoreError as error:
            log.error("A file could not be stored: %s", error)
            continue
        _count_fallback(stores().takers(kind, expires_in)[0], name)
        return kept
    log.error("No store takes a file of the kind %s.", kind)
    raise Unavailable


def write_to(file: StoredFile, data: bytes, expires_in: timedelta | None) -> StoredFile:
    """Enter a file and write it to this one store, which may give it another key; raises StoreError.

    What a failed store may have written all the same is cleaned up.
    """
    now = runtime().clock.now()
    _enter(file, now + ADOPT_WITHIN)
    try:
        kept = stores().write(file, data, now + expires_in if expires_in else None)
    except StoreError:
        metrics.count(metrics.STORAGE_WRITES, file.store, "failed")
        # Bytes that are still on their way may arrive after the request was given up.
        _put_off(file, now + WRITE_SETTLES)
        raise
    metrics.count(metrics.STORAGE_WRITES, file.store, "kept")
    if kept != file:
        _rename(file, kept)
    return kept


def _enter(file: StoredFile, not_before: datetime) -> None:
    entry = {"store": file.store, "key": file.key, "not_before": not_before, "tries": 0}
    transaction(lambda session: session.execute(insert(DiscardedFile).values(**entry)))


def _rename(entered: StoredFile, kept: StoredFile) -> None:
    """Enter the key that the store has given. Until then a crash leaves a file that expires by itself."""
    values = {"key": kept.key, "not_before": _gone_at(kept), "delete_handle": stores().delete_page(kept)}
    transaction(lambda session: session.execute(update(DiscardedFile).where(*_is(entered)).values(**values)))


def _count_fallback(wanted: str, taken: str) -> None:
    """Count a file that went to another store than the first: here for this process, in Redis for all of them."""
    if wanted == taken:
        return
    log.warning("A file went to the store %s instead of %s.", taken, wanted)
    stores().count_fallback(wanted, taken)
    with suppress(RedisError):
        runtime().redis.hincrby(fallbacks_key(), f"{wanted}>{taken}", 1)


def fallbacks_key() -> str:
    """The Redis hash that counts, as `r2>imgbb`, how many files went to which store instead of which."""
    return f"{runtime().settings.queue_prefix}:storage-fallbacks"


def fallbacks() -> dict[str, int]:
    """These counts of all processes; without Redis those of this process."""
    try:
        counts = cast("dict[bytes, bytes]", runtime().redis.hgetall(fallbacks_key()))
    except RedisError:
        return stores().fallbacks
    return {name.decode(): int(count) for name, count in counts.items()}


def adopt(session: Session, file: StoredFile) -> None:
    """Give a kept file to a row within the row's own transaction; raises FileGone."""
    gone = changed(
        session,
        # A cleanup that took the entry has counted its try already.
        delete(DiscardedFile).where(*_is(file), DiscardedFile.tries == 0),
    )
    if not gone:
        raise FileGone


def discard(session: Session, file: StoredFile, not_before: datetime | None = None) -> None:
    """Let a row's file go within the row's own transaction; the cleanup deletes it, or it stays until it expires."""
    entry = {
        "store": file.store,
        "key": file.key,
        "delete_handle": stores().delete_page(file),
        "not_before": _gone_at(file, not_before),
        "tries": 0,
    }
    session.execute(insert(DiscardedFile).values(**entry))


def abandon(file: StoredFile) -> None:
    """Say that a kept file will not be adopted, so that the next cleanup takes it."""
    _put_off(file, _gone_at(file))


def _put_off(file: StoredFile, not_before: datetime) -> None:
    statement = update(DiscardedFile).where(*_is(file)).values(not_before=not_before)
    transaction(lambda session: session.execute(statement))


def _is(file: StoredFile) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return DiscardedFile.store == file.store, DiscardedFile.key == file.key


def _gone_at(file: StoredFile, wish: datetime | None = None) -> datetime:
    """When a file can be gone: at the wished moment, now without one, or when it expires where nothing is deleted."""
    moment = wish or runtime().clock.now()
    return max(moment, stores().expiry_of(file) or moment)


def leftovers_of(kept: Iterable[StoredFile]) -> list[Leftover]:
    """What stays for a while when these files are deleted, because their store cannot delete."""
    now = runtime().clock.now()
    found = []
    for file in kept:
        expires_at = stores().expiry_of(file)
        if expires_at and expires_at > now:
            found.append(Leftover(file.store, expires_at, stores().delete_page(file)))
    return found


def read(file: StoredFile) -> bytes:
    """The bytes of a file; raises NotFound when it is gone and Unavailable when its store is away."""
    try:
        return stores().read(file)
    except FileMissing as error:
        raise NotFound from error
    except StoreError as error:
        metrics.count(metrics.STORAGE_READ_FAILURES, file.store)
        log.error("A file could not be read: %s", error)
        raise Unavailable from error


def signed_address(file: StoredFile, method: Literal["GET", "HEAD"]) -> str | None:
    """An address that gives this file to whoever holds it, for ten minutes; None where the store has no such thing."""
    try:
        return stores().of(file).signed_address(file.key, method, SIGNED_FOR)
    except StoreError as error:
        log.error("No address could be signed: %s", error)
        raise Unavailable from error


def internal_address(file: StoredFile) -> str | None:
    """Where nginx finds this file by X-Accel-Redirect; None without nginx, and for files that are not on this machine.

    Raises NotFound when the file is gone and Unavailable when its store is not configured.
    """
    location = runtime().settings.accel_location
    try:
        path = stores().of(file).path_of(file.key) if location else None
    except StoreError as error:
        log.error("A file could not be sent: %s", error)
        raise Unavailable from error
    if location is None or path is None:
        return None
    if not path.is_file():
        raise NotFound
    return f"{location.rstrip('/')}/{quote(file.key)}"


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
