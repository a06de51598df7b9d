"""The files of shares: the thumbnail, the card, and the public copy of what hangs in the gallery.

Called by `services.sharing` and `services.moderation`. Files are made before the transaction that adopts them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import AppError, NotFound
from ghibli_flask.extensions import runtime
from ghibli_flask.images import main_colour, share_card, size_of, thumbnail
from ghibli_flask.models.share import Share
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import files, gallery, payers
from ghibli_flask.storage import StoredFile, StoreError, stores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """The files of a share, kept and not yet adopted, and what is known of its picture."""

    thumbnail: StoredFile
    card: StoredFile
    width: int
    height: int
    colour: str
    with_original: bool


def make(task: ImageTask, *, with_original: bool) -> Kept:
    """Make and keep the thumbnail and the card of a painted task; `with_original` shows the photograph on the card.

    Raises NotFound when the picture is gone, Unavailable when no store takes the files, and Busy.
    """
    painting = files.read(result_of(task))
    source = source_of(task) if with_original else None
    width, height = size_of(painting)
    preview = thumbnail(painting)
    card = share_card(painting, files.read(source) if source else None, runtime().settings.site_name)
    kept_preview = files.keep(preview.data, "thumbnails", "webp")
    try:
        kept_card = files.keep(card.data, "cards", "jpg")
    except AppError:
        files.abandon(kept_preview)
        raise
    return Kept(kept_preview, kept_card, width, height, main_colour(preview.data), with_original)


def stored(share: Share, part: Literal["thumbnail", "card"]) -> StoredFile:
    """Where a share's own file lies, open or not; raises NotFound when it has none any more."""
    pairs = {"thumbnail": (share.thumbnail_store, share.thumbnail_key), "card": (share.card_store, share.card_key)}
    store, key = pairs[part]
    if store is None or key is None:
        raise NotFound
    return StoredFile(store, key)


def limit_keeping(task: ImageTask, share: Share, now: datetime) -> None:
    """What is shown is kept as long as it is shown, where its store allows; afterwards the usual time begins anew."""
    task.is_shared = int(share.revoked_at is None)
    expiry = stores().expiry_of(result_of(task)) if task.result_key else None
    if share.revoked_at is None and expiry is None:
        task.expires_at = None
    elif task.expires_at is None:
        task.expires_at = now + payers.kept_for(task.owner)
    if share.show_original:
        task.source_expires_at = None
    elif task.source_key and task.source_expires_at is None:
        task.source_expires_at = now + timedelta(days=runtime().settings.source_ttl_days)


def result_of(task: ImageTask) -> StoredFile:
    """Where the painted picture of a task lies; raises NotFound when it is gone."""
    if task.result_store is None or task.result_key is None:
        raise NotFound
    return StoredFile(task.result_store, task.result_key)


def source_of(task: ImageTask) -> StoredFile | None:
    """Where the photograph of a task lies, if it is still kept."""
    if task.source_store is None or task.source_key is None:
        return None
    return StoredFile(task.source_store, task.source_key)


def adopt(session: Session, share: Share, kept: Kept) -> None:
    """Give these files to a share in place of those that it has, within its transaction."""
    let_go(session, share)
    files.adopt(session, kept.thumbnail)
    files.adopt(session, kept.card)
    share.thumbnail_store, share.thumbnail_key = kept.thumbnail.store, kept.thumbnail.key
    share.card_store, share.card_key = kept.card.store, kept.card.key
    share.width, share.height, share.colour = kept.width, kept.height, kept.colour


def let_go(session: Session, share: Share) -> None:
    """Let the thumbnail and the card of a share go, within its transaction."""
    for store, key in ((share.thumbnail_store, share.thumbnail_key), (share.card_store, share.card_key)):
        if store and key:
            files.discard(session, StoredFile(store, key))
    share.thumbnail_store = share.thumbnail_key = share.card_store = share.card_key = None


def abandon(kept: Kept | None) -> None:
    """Say that these files will not be adopted."""
    if kept:
        files.abandon(kept.thumbnail)
        files.abandon(kept.card)


def publish_copy(share: Share) -> None:
    """Copy a picture that hangs in the gallery to where its store shows files publicly, if a store does.

    Our own address stands in for a copy that could not be made, so a failure is only logged.
    """
    if runtime().settings.cloudflare_r2_public_url is None or share.listed_at is None or share.copy_key:
        return
    try:
        with reading() as session:
            task = session.get_one(ImageTask, share.task_id)
        copy = files.keep(files.read(result_of(task)), "gallery", "jpg")
        is_public = stores().of(copy).public_address(copy.key) is not None
        if not is_public or not transaction(partial(_adopt_copy, share_id=share.id, copy=copy)):
            files.abandon(copy)
    except AppError:
        log.exception("A picture of the gallery could not be copied; our own address stands in for it.")


def _adopt_copy(session: Session, share_id: int, copy: StoredFile) -> bool:
    share = session.get_one(Share, share_id, with_for_update=True)
    if share.listed_at is None or share.copy_key:
        return False
    with gallery.counted(session, share):
        files.adopt(session, copy)
        share.copy_store, share.copy_key = copy.store, copy.key
    return True


def forget_copy(before: Share, now: Share | None = None) -> None:
    """Delete a copy that the gallery has let go; its entry in the file table repeats that if it fails here."""
    store, key = before.copy_store, before.copy_key
    if store is None or key is None or (now and now.copy_key == key):
        return
    try:
        stores().delete(StoredFile(store, key))
    except StoreError as error:
        log.warning("The copy of a picture that no longer hangs is left to the cleanup: %s", error)
