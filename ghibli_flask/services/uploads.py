"""The bytes that come with an order, in whichever form they were sent: with it, or ahead of it. Called by front doors.

A photograph that is sent ahead is kept for a day under an id of its own; an order that names it gets a copy. Its owner
alone may open it. One that came without any cookie has no owner: then its id, which nobody can guess, opens it.
"""

from __future__ import annotations

import base64
import math
import secrets
from datetime import datetime
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import (
    Blocked,
    FieldError,
    InvalidFields,
    Maintenance,
    NotFound,
    TooLarge,
    TooManyRequests,
    _,
)
from ghibli_flask.extensions import runtime
from ghibli_flask.images import normalise
from ghibli_flask.models.upload import Upload
from ghibli_flask.services import files, flags, payers
from ghibli_flask.services.payers import Member, Payer
from ghibli_flask.services.retention import UPLOAD_KEPT
from ghibli_flask.storage import StoredFile

MOST_KEPT = 50
"""So many uploads of one payer lie here at a time."""


def keep(photo: bytes, payer: Payer) -> Upload:
    """Prove a photograph and keep it for a day, to be ordered by its id.

    Raises Blocked, Maintenance, TooManyRequests (50 lie here already), what `images.normalise` raises, and Unavailable.
    Nothing is charged.
    """
    if isinstance(payer, Member) and payer.is_blocked:
        raise Blocked
    switched = flags.current()
    if switched.maintenance:
        raise Maintenance(switched.maintenance)
    with reading() as session:
        _check_number(session, payer, runtime().clock.now())
    picture = normalise(photo, max_pixels=runtime().settings.max_image_pixels)
    file = files.keep(picture.data, "sources", "jpg")
    upload = Upload(
        public_id=secrets.token_hex(16),
        owner=payer.owner,
        payer=payer.payer,
        store=file.store,
        key=file.key,
        width=picture.width,
        height=picture.height,
        size=len(picture.data),
        created_at=runtime().clock.now(),
    )
    try:
        transaction(partial(_enter, upload, file, payer))
    except Exception:
        files.abandon(file)
        raise
    return upload


def _enter(upload: Upload, file: StoredFile, payer: Payer, session: Session) -> None:
    """The row and its file, under the payer's lock: two at once cannot both be the fiftieth."""
    payers.lock(session, payer, upload.created_at.date())
    _check_number(session, payer, upload.created_at)
    files.adopt(session, file)
    session.add(upload)


def _check_number(session: Session, payer: Payer, now: datetime) -> None:
    number, oldest = session.execute(
        select(func.count(), func.min(Upload.created_at)).where(Upload.payer == payer.payer)
    ).one()
    if number >= MOST_KEPT:
        room_in = (oldest + UPLOAD_KEPT - now).total_seconds()
        raise TooManyRequests(
            _("Fifty photos of yours are waiting here already. Please order some first, or come back tomorrow."),
            retry_after=max(60, math.ceil(room_in)),
        )


def photo_of(upload_id: str, payer: Payer) -> bytes:
    """The photograph that was sent ahead, for an order of whoever sent it; raises NotFound for anybody else's."""
    return files.read(file_of(upload_id, payer))


def file_of(upload_id: str, payer: Payer) -> StoredFile:
    """Where it lies; raises NotFound."""
    with reading() as session:
        upload = session.scalar(select(Upload).where(Upload.public_id == upload_id))
    if upload is None or (upload.owner is not None and upload.owner != payer.owner):
        raise NotFound
    return StoredFile(upload.store, upload.key)


def from_base64(text: str) -> bytes:
    """Decode a picture from base64, a `data:` address included; raises InvalidFields or TooLarge."""
    payload = text.split(",", 1)[1] if text.startswith("data:") and "," in text else text
    if len(payload) // 4 * 3 > runtime().settings.max_upload_bytes + 2:
        raise too_large()
    try:
        return within_limit(base64.b64decode("".join(payload.split()), validate=True))
    except ValueError as error:  # binascii.Error is one; letters that are not ASCII are told by the plain one.
        raise InvalidFields(fields=(FieldError("imageBase64", _("This is not valid base64.")),)) from error


def within_limit(data: bytes) -> bytes:
    """The same bytes, if a photograph may have so many; raises TooLarge."""
    if len(data) > runtime().settings.max_upload_bytes:
        raise too_large()
    return data


def too_large() -> TooLarge:
    """The refusal that names the limit."""
    return TooLarge(
        _("That file is larger than %(max_mb)s MB. Nothing was charged."), max_mb=runtime().settings.max_upload_mb
    )
