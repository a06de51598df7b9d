"""Sharing a picture: make a link, change what it shows, take it back; and what whoever has the link may see.

Called by the front doors, by `services.tasks` when a picture goes or is painted, and by the sweep. Everything is
decided under the lock of the task's row, so several web processes agree and Redis is not asked.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import Blocked, Forbidden, NotFound, NotPainted, NotYourPicture, WrongState, _
from ghibli_flask.extensions import runtime
from ghibli_flask.models.share import Share, ShareReport
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.user import UserProfile
from ghibli_flask.services import flags, gallery, payers, progress, share_files
from ghibli_flask.services.payers import Member, Payer
from ghibli_flask.services.share_files import Kept
from ghibli_flask.storage import StoredFile
from ghibli_flask.task_states import Outcome

log = logging.getLogger(__name__)

DUPLICATE_WITHIN = timedelta(seconds=5)
WISHED_WITHIN = timedelta(days=1)
WISHES_A_SWEEP = 20

HIDDEN = _("An operator has taken this picture out of sharing. Please write to us if you think that is a mistake.")

Part = Literal["picture", "thumbnail", "card", "original"]


@dataclass(frozen=True)
class Wishes:
    """What the owner wants the share to be; None leaves a point as it is."""

    in_gallery: bool | None = None
    show_prompt: bool | None = None
    show_original: bool | None = None


@dataclass(frozen=True)
class Shared:
    """The answer to a wish to share: the share, whether it is new, and whether it was asked for twice at once."""

    share: Share
    created: bool
    duplicate: bool


# --- What owners do ---


def share(task_id: str, payer: Payer, wishes: Wishes) -> Shared:
    """Give a painted picture a link of its own, or the one that it has, with these wishes applied.

    Raises NotFound, Forbidden, Blocked, NotPainted, and Unavailable when no store takes the files.
    """
    task = progress.look_up(task_id)
    _check_may_share(task, payer)
    shared = _write(task, wishes)
    if shared.duplicate:
        gallery.count_duplicate()
    return shared


def task_behind(address: str, payer: Payer) -> str:
    """The id of the caller's own task whose picture is at this address; raises NotYourPicture for anything else."""
    path = address.removeprefix(runtime().settings.public_url)
    parts = path.strip("/").split("/")
    if not path.startswith("/") or parts[:2] != ["api", "image"] or len(parts) != 3:
        raise NotYourPicture
    try:
        task = progress.look_up(parts[2])
    except NotFound as error:
        raise NotYourPicture from error
    if not payers.owns(payer, task):
        raise NotYourPicture
    return task.public_id


def change(share_id: str, payer: Payer, wishes: Wishes, task_id: str | None = None) -> Share:
    """Change what a share shows. For a picture without an owner the task's id proves that the caller may.

    Raises NotFound, Forbidden, Blocked and Unavailable.
    """
    _share, task = _owned(share_id, payer, task_id)
    _check_may_share(task, payer)
    return _write(task, wishes).share


def revoke(share_id: str, payer: Payer, task_id: str | None = None) -> str:
    """Take a share back: its addresses answer 404 from now on. Gives the task's id. Raises NotFound, Forbidden."""
    share, task = _owned(share_id, payer, task_id)
    transaction(partial(revoke_within, task_id=task.id))
    # The one file that others can reach without us does not wait for the next cleanup.
    share_files.forget_copy(share)
    return task.public_id


def of_task(task: ImageTask) -> Share | None:
    """The share of a task that its owner has not taken back."""
    with reading() as session:
        return session.scalar(select(Share).where(Share.task_id == task.id, Share.revoked_at.is_(None)))


def revoke_within(session: Session, task_id: int) -> None:
    """Take the share of a task back within a transaction that holds the task's lock; without one nothing happens."""
    mine = select(Share).where(Share.task_id == task_id, Share.revoked_at.is_(None)).with_for_update()
    share = session.scalar(mine)
    if share is None:
        return
    now = runtime().clock.now()
    session.execute(
        update(ShareReport)
        .where(ShareReport.share_id == share.id, ShareReport.handled_at.is_(None))
        .values(handled_at=now)
    )
    with gallery.counted(session, share):
        share_files.let_go(session, share)
        share.in_gallery = share.show_prompt = share.show_original = False
        share.approved_at, share.revoked_at = None, now
    share_files.limit_keeping(session.get_one(ImageTask, task_id), share, now)


def _owned(share_id: str, payer: Payer, task_id: str | None) -> tuple[Share, ImageTask]:
    share, task = _find(share_id)
    has_proof = task.owner is not None or task.public_id == task_id
    if not payers.owns(payer, task) or not has_proof:
        raise Forbidden
    return share, task


def _check_may_share(task: ImageTask, payer: Payer) -> None:
    if isinstance(payer, Member) and payer.is_blocked:
        raise Blocked
    if not payers.owns(payer, task):
        raise Forbidden
    if task.outcome != Outcome.PAINTED or task.result_key is None:
        raise NotPainted


# --- Writing a share ---


def _write(task: ImageTask, wishes: Wishes) -> Shared:
    """Make the files that are needed, then decide in one transaction; the copy for the gallery comes after it."""
    needs_approval = flags.current().gallery_needs_approval
    before = of_task(task)
    kept = None
    if _needs_files(wishes, before):
        kept = share_files.make(task, with_original=_with_original(wishes, before))
    try:
        shared = transaction(lambda session: _enter(session, task.id, wishes, kept, needs_approval))
    except Exception:
        share_files.abandon(kept)
        raise
    if kept and shared.share.card_key != kept.card.key:
        share_files.abandon(kept)
    if before:
        share_files.forget_copy(before, shared.share)
    share_files.publish_copy(shared.share)
    return shared


def _needs_files(wishes: Wishes, before: Share | None) -> bool:
    return before is None or (wishes.show_original is not None and wishes.show_original != before.show_original)


def _with_original(wishes: Wishes, before: Share | None) -> bool:
    return _chosen(wishes.show_original, before is not None and before.show_original)


def _enter(session: Session, task_id: int, wishes: Wishes, kept: Kept | None, needs_approval: bool) -> Shared:
    """The decision: who was first, what the share shows, whether it hangs. Runs under the lock of the task's row."""
    now = runtime().clock.now()
    task = session.scalar(
        select(ImageTask).where(ImageTask.id == task_id, ImageTask.deleted_at.is_(None)).with_for_update()
    )
    if task is None:
        raise NotFound
    share = session.scalar(select(Share).where(Share.task_id == task_id).with_for_update())
    if share and share.hidden_at:
        raise Forbidden(HIDDEN)
    created = share is None or share.revoked_at is not None
    if share and not created and _is_as_wished(share, wishes) and now - share.created_at < DUPLICATE_WITHIN:
        return Shared(share, created=False, duplicate=True)
    share = share or _new_share(task)
    if kept is None and (created or _needs_files(wishes, share)):
        raise WrongState  # It was taken back, or changed, at this very moment.
    with gallery.counted(session, share):
        if created:
            share.public_id, share.created_at, share.revoked_at = secrets.token_hex(16), now, None
        _apply(share, wishes, needs_approval, now)
        if kept and kept.with_original == share.show_original:
            share_files.adopt(session, share, kept)
    task.wants_gallery = 0
    share_files.limit_keeping(task, share, now)
    return Shared(share, created, duplicate=False)


def _new_share(task: ImageTask) -> Share:
    return Share(
        task_id=task.id,
        mode=task.mode,
        style=task.style,
        in_gallery=False,
        show_prompt=False,
        show_original=False,
    )


def _apply(share: Share, wishes: Wishes, needs_approval: bool, now: datetime) -> None:
    """Set what the share shows. Approval covers what the operator saw: showing more of it asks for it again."""
    shown = _shown(share)
    share.in_gallery = _chosen(wishes.in_gallery, share.in_gallery)
    share.show_prompt = _chosen(wishes.show_prompt, share.show_prompt)
    share.show_original = _chosen(wishes.show_original, share.show_original)
    shows_more = any(now_shown and not then for now_shown, then in zip(_shown(share), shown, strict=True))
    if not share.in_gallery or (needs_approval and shows_more):
        share.approved_at = None
    elif not needs_approval:
        share.approved_at = share.approved_at or now


def _shown(share: Share) -> tuple[bool, bool]:
    return share.show_prompt, share.show_original


def _is_as_wished(share: Share, wishes: Wishes) -> bool:
    pairs = (
        (wishes.in_gallery, share.in_gallery),
        (wishes.show_prompt, share.show_prompt),
        (wishes.show_original, share.show_original),
    )
    return all(_chosen(wish, present) == present for wish, present in pairs)


def _chosen(wish: bool | None, present: bool) -> bool:
    return present if wish is None else wish


# --- Wishes to be in the gallery that came with the order ---


def publish_if_wished(task: ImageTask) -> None:
    """Put a task that has just been painted into the gallery if its order asked for that.

    What goes wrong is only logged, because the picture itself is safe: the sweep tries again.
    """
    if not task.wants_gallery or task.outcome != Outcome.PAINTED or _owner_is_blocked(task):
        return
    try:
        _write(task, Wishes(in_gallery=True))
    except Exception:
        log.exception("task %s could not be put into the gallery and will be tried again", task.public_id)


def publish_wished() -> int:
    """Try again for what was painted within a day and still waits to be put into the gallery; returns how many."""
    waiting = select(ImageTask).where(
        ImageTask.wants_gallery == 1,
        ImageTask.outcome == Outcome.PAINTED.value,
        ImageTask.deleted_at.is_(None),
        ImageTask.finished_at > runtime().clock.now() - WISHED_WITHIN,
    )
    with reading() as session:
        tasks = session.scalars(waiting.order_by(ImageTask.id).limit(WISHES_A_SWEEP)).all()
    for task in tasks:
        publish_if_wished(task)
    return len(tasks)


def _owner_is_blocked(task: ImageTask) -> bool:
    if task.owner is None or not task.owner.startswith(payers.USER):
        return False
    blocked = select(UserProfile.blocked_at).where(UserProfile.user_id == task.owner.removeprefix(payers.USER))
    with reading() as session:
        return session.scalar(blocked) is not None


# --- What others see ---


def open_share(share_id: str) -> tuple[Share, ImageTask]:
    """An open share and its task; raises NotFound for one that is unknown, taken back or hidden."""
    share, task = _find(share_id)
    if not share.is_open:
        raise NotFound
    return share, task


def file_of(share_id: str, part: Part) -> StoredFile:
    """Where a part of an open share lies; raises NotFound, also for an original that its owner does not show."""
    share, task = open_share(share_id)
    if part == "picture":
        return share_files.result_of(task)
    if part == "original":
        source = share_files.source_of(task)
        if not share.show_original or source is None:
            raise NotFound
        return source
    return share_files.stored(share, part)


def _find(share_id: str) -> tuple[Share, ImageTask]:
    """A share that was not taken back, and its task; raises NotFound."""
    found = (
        select(Share, ImageTask)
        .join(ImageTask, ImageTask.id == Share.task_id)
        .where(Share.public_id == share_id, Share.revoked_at.is_(None), ImageTask.deleted_at.is_(None))
    )
    with reading() as session:
        row = session.execute(found).one_or_none()
    if row is None:
        raise NotFound
    return row[0], row[1]
