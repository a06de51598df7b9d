"""Wishes: "paint it when the engine is back". Made from the task's page, kept once by the sweep as a new task.

A wish costs nothing until it is kept. The visitor is told on the first task's page, and by mail where an account
has an address.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import AppError, Forbidden, NoCredits, SignInRequired, Unavailable, WrongState
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.wish import Wish
from ghibli_flask.services import accounts, gpu_tokens, mail, payers, tasks
from ghibli_flask.services.allowances import Guest
from ghibli_flask.services.payers import Member, Payer
from ghibli_flask.task_states import Outcome

log = logging.getLogger(__name__)

AGAIN_AFTER = timedelta(minutes=30)
"""When the engine is asked again if nobody knows when its quota returns."""

GIVEN_UP_AFTER = timedelta(days=2)
BATCH = 50


class WishOutcome(StrEnum):
    """What became of a wish."""

    KEPT = "kept"
    NO_CREDIT = "no_credit"
    GONE = "gone"


MAILS = {WishOutcome.KEPT: "wish-kept", WishOutcome.NO_CREDIT: "wish-no-credit"}
"""The kinds of mail that tell an account's owner; a wish whose photograph is gone was ended by the owner."""


@dataclass(frozen=True)
class WishView:
    """A wish as its owner sees it: `outcome` is None while it waits, `task_id` the new task once it is kept."""

    not_before: datetime
    outcome: WishOutcome | None
    task_id: str | None


def make(public_id: str, payer: Payer) -> WishView:
    """Wish that this task is painted when an engine is back; wishing twice is one wish.

    Raises Forbidden for a stranger and for a task without an owner, who could not be told; WrongState unless the
    task ended without a painting; SourceGone when its photograph is no longer kept.
    """
    task = tasks.owned(public_id, payer)
    if task.owner is None:
        raise Forbidden
    if not may_be_wished(task):
        raise WrongState
    if task.mode == Mode.IMAGE_TO_IMAGE:
        tasks.source_of(task)
    try:
        transaction(lambda session: _make(session, task))
    except IntegrityError:
        log.debug("The wish for task %s stands already.", public_id)
    view = view_of(task)
    assert view is not None
    return view


def may_be_wished(task: ImageTask) -> bool:
    """Whether a later painting of this task makes sense: it ended, and not with a painting of its own accord."""
    return task.outcome in {Outcome.ORIGINAL, Outcome.FAILED}


def view_of(task: ImageTask) -> WishView | None:
    """The wish of this task, None when there is none."""
    return views_of([task.id]).get(task.id)


def views_of(task_ids: Collection[int]) -> dict[int, WishView]:
    """The wishes of these tasks, by the number of the task."""
    made = (
        select(Wish, ImageTask.public_id)
        .outerjoin(ImageTask, ImageTask.id == Wish.kept_as)
        .where(Wish.task_id.in_(task_ids))
    )
    with reading() as session:
        found = session.execute(made).all()
    return {
        wish.task_id: WishView(wish.not_before, WishOutcome(wish.outcome) if wish.outcome else None, kept_as)
        for wish, kept_as in found
    }


def keep_due(limit: int = BATCH) -> int:
    """Submit the wishes whose time has come, each as one new task; returns how many were kept.

    Called by the sweep. The wish's own idempotency key lets a sweep that died half-way be repeated.
    """
    now = runtime().clock.now()
    with reading() as session:
        due = session.scalars(
            select(Wish)
            .where(Wish.done_at.is_(None), Wish.not_before <= now)
            .order_by(Wish.not_before, Wish.id)
            .limit(limit)
        ).all()
    if not due:
        return 0
    back_at = gpu_tokens.next_return() if gpu_tokens.is_configured() else None
    if back_at and back_at > now:
        transaction(lambda session: _put_off([wish.id for wish in due], back_at, session))
        return 0
    return sum(_keep(wish) for wish in due)


def _make(session: Session, task: ImageTask) -> None:
    now = runtime().clock.now()
    if session.scalar(select(Wish.id).where(Wish.task_id == task.id)) is None:
        session.add(Wish(task_id=task.id, not_before=_back_at(now), created_at=now))


def _back_at(now: datetime) -> datetime:
    named = gpu_tokens.next_return() if gpu_tokens.is_configured() else None
    return max(now, named) if named else now + AGAIN_AFTER


def _put_off(ids: list[int], moment: datetime, session: Session) -> None:
    session.execute(update(Wish).where(Wish.id.in_(ids), Wish.done_at.is_(None)).values(not_before=moment))


def _keep(wish: Wish) -> bool:
    with reading() as session:
        task = session.get(ImageTask, wish.task_id)
    if task is None or task.deleted_at:
        _done(wish, WishOutcome.GONE)
        return False
    try:
        submission = tasks.submit(replace(tasks.order_again(task), wish=wish.id), _payer_of(task))
    except (NoCredits, SignInRequired):
        outcome, kept_as = WishOutcome.NO_CREDIT, None
    except Unavailable as error:
        log.info("wish %s waits: %s", wish.id, error.code)
        return _wait_or_give_up(wish)
    except AppError as error:
        log.info("wish %s cannot be kept: %s", wish.id, error.code)
        outcome, kept_as = WishOutcome.GONE, None
    else:
        outcome, kept_as = WishOutcome.KEPT, submission.task
    if _done(wish, outcome, kept_as):
        _tell(task, outcome, kept_as)
    return outcome is WishOutcome.KEPT


def _payer_of(task: ImageTask) -> Payer:
    """Who pays for a wish: whoever owns the task by now. Raises NotFound when the account is gone."""
    owner = task.owner or ""
    if owner.startswith(payers.USER):
        account = accounts.find(owner.removeprefix(payers.USER))
        nobody = Guest(None, "")
        return Member(account.user.id, nobody, is_blocked=account.profile.blocked_at is not None)
    return Guest(owner.removeprefix(payers.GUEST), task.address_subject or "")


def _wait_or_give_up(wish: Wish) -> bool:
    """A full queue or a paused site lets a wish wait, though not for ever: its photograph goes one day."""
    now = runtime().clock.now()
    if now - wish.created_at > GIVEN_UP_AFTER:
        _done(wish, WishOutcome.GONE)
    else:
        transaction(lambda session: _put_off([wish.id], now + AGAIN_AFTER, session))
    return False


def _done(wish: Wish, outcome: WishOutcome, kept_as: ImageTask | None = None) -> bool:
    """Close a wish; False when another sweep was first."""
    new_id = kept_as.id if kept_as else None
    values = {"done_at": runtime().clock.now(), "outcome": outcome.value, "kept_as": new_id}
    open_wish = update(Wish).where(Wish.id == wish.id, Wish.done_at.is_(None))
    return bool(transaction(lambda session: changed(session, open_wish.values(**values))))


def _tell(task: ImageTask, outcome: WishOutcome, kept_as: ImageTask | None) -> None:
    """A mail to an owner with an account; the first task's page tells everybody."""
    owner = task.owner or ""
    if not owner.startswith(payers.USER) or outcome not in MAILS:
        return
    profile = accounts.find(owner.removeprefix(payers.USER)).profile
    shown = kept_as or task
    try:
        mail.ask_for(MAILS[outcome], profile.email_key, profile.locale, shown.public_id)
    except Unavailable:
        log.warning("Redis is away; the owner of task %s learns of the wish on its page only.", task.public_id)
