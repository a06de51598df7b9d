"""Everything that is kept about a user as one zip, made on the maintenance queue in short jobs.

Called by the account page, which starts and sends it, and by `jobs.export`, which packs 20 pictures and then asks for
the next job, so that a sweep can run in between. The zip lies in the store `exports` under an unguessable name that is
entered in the file table for the moment of its end before it is written: so nothing is left over, whatever dies.
"""

from __future__ import annotations

import json
import logging
import secrets
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ghibli_flask import queueing
from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.errors import NotFound, Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.models.credit import CreditEntry
from ghibli_flask.models.export import Export
from ghibli_flask.models.rating import Rating
from ghibli_flask.models.share import Share
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.upload import Upload
from ghibli_flask.models.user import User
from ghibli_flask.services import accounts, files, sessions
from ghibli_flask.storage import StoredFile
from ghibli_flask.storage.stores import EXPORTS

log = logging.getLogger(__name__)

RUNNING, READY, FAILED = "running", "ready", "failed"
PICTURES_A_JOB = 20
LASTS = timedelta(days=1)
SILENT_AFTER = timedelta(minutes=5)
FORMAT = 1


@dataclass(frozen=True)
class ExportView:
    """How an export is doing: `progress` 0 to 100, `size` in bytes once it is ready."""

    status: str
    progress: int
    size: int | None
    expires_at: datetime


@dataclass(frozen=True)
class ReadyExport:
    """A zip to send."""

    path: Path
    name: str


def of_user(user_id: str) -> ExportView | None:
    """A user's latest export while it is kept; one that nobody works on any more counts as failed."""
    row = _row(user_id)
    if row is None:
        return None
    progress = 100 if row.status == READY else min(99, 100 * row.done // max(1, row.total))
    return ExportView(_status(row), progress, row.size, row.expires_at)


def start(user_id: str) -> ExportView:
    """Begin an export, or give the one that is running or kept; a failed one is replaced.

    So a user causes at most one packing a day. Raises Unavailable without Redis.
    """
    public_id, replaced = transaction(lambda session: _enter(session, user_id))
    if replaced:
        files.abandon(_file(replaced))
    if public_id:
        _ask_for_part(public_id, 0)
    view = of_user(user_id)
    if view is None:
        raise NotFound
    return view


def ready(user_id: str) -> ReadyExport:
    """A user's finished zip; raises NotFound when there is none, or none any more."""
    row = _row(user_id)
    if row is None or row.status != READY or not _path(row.public_id).exists():
        raise NotFound
    return ReadyExport(_path(row.public_id), f"my-pictures-{row.started_at:%Y-%m-%d}.zip")


def pack(public_id: str, part: int) -> None:
    """Pack the next pictures and ask for the job after this one, or finish. A job of a replaced export does nothing."""
    export = transaction(lambda session: _claim(session, public_id, part))
    if export is None:
        log.info("part %s of an export is nobody's any more", part)
        return
    try:
        batch = _next_tasks(export)
        is_last = len(batch) < PICTURES_A_JOB
        _write(export, part, batch, is_last)
    except Exception:
        _fail(public_id)
        raise
    values: dict[str, Any] = {"done": export.done + len(batch), "beat_at": runtime().clock.now()}
    if batch:
        values["last_task_id"] = batch[-1].id
    if is_last:
        values |= {"status": READY, "size": _path(public_id).stat().st_size}
    if not transaction(lambda session: _advance(session, public_id, part + 1, values)):
        # The account or the export went away meanwhile, and its entry in the file table may be drained already.
        _path(public_id).unlink(missing_ok=True)
    elif not is_last:
        _ask_for_part(public_id, part + 1)


def drop_strays() -> None:
    """Delete zips on this machine that outlasted their day: another machine's sweep may have taken their entries."""
    oldest = (runtime().clock.now() - LASTS).timestamp()
    for zipped in (runtime().settings.instance_dir / EXPORTS).glob("*.zip"):
        if zipped.stat().st_mtime < oldest:
            zipped.unlink(missing_ok=True)


def drop(user_id: str) -> None:
    """Let a user's export go, whatever its state; a job that is still at work finds it gone and leaves nothing."""
    gone = transaction(lambda session: _drop(session, user_id))
    if gone:
        files.abandon(_file(gone))


def _drop(session: Session, user_id: str) -> str | None:
    row = session.get(Export, user_id, with_for_update=True)
    if row is None:
        return None
    session.delete(row)
    return row.public_id


def _enter(session: Session, user_id: str) -> tuple[str | None, str | None]:
    """Enter a new export unless one is there: the ids of the new one and of the one that it replaces."""
    now = runtime().clock.now()
    if session.scalar(select(User.id).where(User.id == user_id).with_for_update()) is None:
        raise NotFound
    before = session.get(Export, user_id)
    if before and before.expires_at > now and _status(before) != FAILED:
        return None, None
    replaced = before.public_id if before else None
    if before:
        session.delete(before)
        session.flush()
    mine = select(func.count()).select_from(ImageTask)
    export = Export(
        user_id=user_id,
        public_id=secrets.token_hex(16),
        status=RUNNING,
        part=0,
        done=0,
        total=session.scalar(mine.where(*_is_of(user_id))) or 0,
        last_task_id=0,
        started_at=now,
        beat_at=now,
        expires_at=now + LASTS,
    )
    session.add(export)
    files.discard(session, _file(export.public_id), not_before=export.expires_at)
    return export.public_id, replaced


def _row(user_id: str) -> Export | None:
    with reading() as session:
        row = session.get(Export, user_id)
    return row if row and row.expires_at > runtime().clock.now() else None


def _status(row: Export) -> str:
    is_silent = row.beat_at < runtime().clock.now() - SILENT_AFTER
    is_over = row.expires_at <= runtime().clock.now()
    return FAILED if row.status == RUNNING and (is_silent or is_over) else row.status


def _ask_for_part(public_id: str, part: int) -> None:
    try:
        queueing.ask_for_export(public_id, part)
    except RedisError as error:
        _fail(public_id)
        raise Unavailable from error


def _claim(session: Session, public_id: str, part: int) -> Export | None:
    """Take this part, once; a job that RQ runs twice finds it taken."""
    now = runtime().clock.now()
    mine = _running(public_id).where(Export.part == part)
    if not changed(session, mine.values(part=part + 1, beat_at=now)):
        return None
    return session.scalar(select(Export).where(Export.public_id == public_id))


def _advance(session: Session, public_id: str, part: int, values: dict[str, Any]) -> bool:
    return changed(session, _running(public_id).where(Export.part == part).values(**values)) == 1


def _fail(public_id: str) -> None:
    transaction(lambda session: session.execute(_running(public_id).values(status=FAILED)))


def _running(public_id: str) -> Any:
    is_running = (Export.public_id == public_id, Export.status == RUNNING)
    return update(Export).where(*is_running).execution_options(synchronize_session=False)


def _next_tasks(export: Export) -> list[ImageTask]:
    following = select(ImageTask).where(*_is_of(export.user_id), ImageTask.id > export.last_task_id)
    with reading() as session:
        return list(session.scalars(following.order_by(ImageTask.id).limit(PICTURES_A_JOB)))


def _write(export: Export, part: int, batch: list[ImageTask], is_last: bool) -> None:
    """Add pictures to the zip, and in the end the facts. Pictures are compressed already and only stored."""
    path = _path(export.public_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A later part never makes the file anew: if it is gone, this export is gone.
    with path.open("x+b" if part == 0 else "r+b") as raw, zipfile.ZipFile(raw, "a") as archive:
        found = [pair for task in batch for pair in _pictures(task).items()]
        for name, file in [*found, *(_uploads(export.user_id).items() if is_last else ())]:
            try:
                archive.writestr(name, files.read(file))
            except NotFound:
                log.warning("the file %s is missing from an export, as %s", file.key, name)
        if is_last:
            facts = json.dumps(_facts(export.user_id), indent=2, ensure_ascii=False, default=_as_text)
            archive.writestr("account.json", facts, zipfile.ZIP_DEFLATED)


def _pictures(task: ImageTask) -> dict[str, StoredFile]:
    """The files of a task under their names in the zip."""
    found = {}
    for word, store, key in (
        ("photo", task.source_store, task.source_key),
        ("painted", task.result_store, task.result_key),
    ):
        if store and key:
            name = f"pictures/{task.created_at:%Y-%m-%d}-{task.public_id}-{word}{PurePosixPath(key).suffix}"
            found[name] = StoredFile(store, key)
    return found


def _uploads(user_id: str) -> dict[str, StoredFile]:
    """The photographs that wait for their order, under their names in the zip; fifty at most, and for a day."""
    with reading() as session:
        mine = session.scalars(select(Upload).where(Upload.owner == f"user:{user_id}").order_by(Upload.id)).all()
    return {
        f"uploads/{one.created_at:%Y-%m-%d}-{one.public_id}{PurePosixPath(one.key).suffix}": StoredFile(
            one.store, one.key
        )
        for one in mine
    }


def _facts(user_id: str) -> dict[str, Any]:
    """All that is kept about a user but the pictures; no hash and no secret."""
    account = accounts.find(user_id)
    user, profile = account.user, account.profile
    with reading() as session:
        tasks = session.scalars(select(ImageTask).where(*_is_of(user_id)).order_by(ImageTask.id)).all()
        shares = session.scalars(
            select(Share).join(ImageTask, ImageTask.id == Share.task_id).where(*_is_of(user_id)).order_by(Share.id)
        ).all()
        ratings = session.execute(
            select(ImageTask.public_id, Rating)
            .join(Rating, Rating.task_id == ImageTask.id)
            .where(*_is_of(user_id))
            .order_by(ImageTask.id)
        ).all()
        entries = session.scalars(
            select(CreditEntry).where(CreditEntry.user_id == user_id).order_by(CreditEntry.id)
        ).all()
    return {
        "format": FORMAT,
        "account": _chosen(user, "id email name image provider created_at last_login monthly_credits credits_reset_at")
        | _chosen(profile, "email_verified_at adopted_at locale role blocked_at google_sub"),
        "tasks": [
            _chosen(
                task,
                "public_id mode prompt style width height seed engine status outcome error_code note charged refunded "
                "created_at started_at finished_at",
            )
            | {"files": list(_pictures(task))}
            for task in tasks
        ],
        "shares": [
            _chosen(share, "public_id in_gallery show_prompt show_original created_at listed_at hidden_at revoked_at")
            for share in shares
        ],
        "ratings": [{"task_id": task_id} | _chosen(rating, "verdict word rated_at") for task_id, rating in ratings],
        "uploads": list(_uploads(user_id)),
        "credit_entries": [_chosen(entry, "amount kind reason task_id created_at") for entry in entries],
        "sessions": [
            _chosen(kept, "user_agent created_at last_seen_at expires_at") for kept in sessions.of_user(user_id)
        ],
    }


def _chosen(row: object, names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names.split()}


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _is_of(user_id: str) -> tuple[Any, Any]:
    return ImageTask.owner == f"user:{user_id}", ImageTask.deleted_at.is_(None)


def _file(public_id: str) -> StoredFile:
    return StoredFile(EXPORTS, f"{public_id}.zip")


def _path(public_id: str) -> Path:
    """Where the zip lies: it grows part by part, so it is written here and only deleted through its store."""
    return runtime().settings.instance_dir / EXPORTS / f"{public_id}.zip"
