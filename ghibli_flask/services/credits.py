"""The credits of users: every change is one signed entry and one guarded update, in one transaction.

Balance = sum of entries, always, and never below zero. The unique business key of an entry names its cause, so that
the same cause posts once however often it is told. Called by `services.payers`, `accounts` and the front doors.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.errors import InsufficientCredits, NoCredits
from ghibli_flask.extensions import runtime
from ghibli_flask.models.credit import CreditEntry
from ghibli_flask.models.user import User

PICTURE_COSTS = 1
PAGE = 50


@dataclass(frozen=True)
class Balance:
    """What a user has: credits now, what the month lifts them to, and when it does next."""

    credits: int
    monthly: int
    resets_at: datetime


@dataclass(frozen=True)
class Difference:
    """A user whose balance is not the sum of the entries."""

    user_id: str
    balance: int
    entries: int


def next_reset(moment: datetime) -> datetime:
    """The first moment of the next calendar month, UTC."""
    moment = moment.astimezone(UTC)
    years, month = divmod(moment.month, 12)
    return datetime(moment.year + years, month + 1, 1, tzinfo=UTC)


def open_account(session: Session, user_id: str, balance: int) -> None:
    """The first entry of a new or adopted user: the balance as it stands."""
    if balance:
        _enter(session, user_id, balance, "opening", f"opening-{user_id}")


def lock(session: Session, user_id: str) -> None:
    """Lock the balance for the rest of the transaction, and give the month's credits if they are due."""
    user = session.scalar(select(User).where(User.id == user_id).with_for_update())
    if user is not None:  # An account may have been deleted while its order was on the way.
        grant_month(session, user)


def grant_month(session: Session, user: User) -> bool:
    """Lift a balance below MONTHLY_CREDITS up to it, once a calendar month; missed months give one grant."""
    now, settings = runtime().clock.now(), runtime().settings
    if user.credits_reset_at is not None and user.credits_reset_at > now:
        return False
    guard = (
        User.credits_reset_at.is_(None)
        if user.credits_reset_at is None
        else User.credits_reset_at == user.credits_reset_at
    )
    lift = max(0, settings.monthly_credits - user.monthly_credits)
    moved = changed(
        session,
        update(User)
        .where(User.id == user.id, guard, User.monthly_credits == user.monthly_credits)
        .values(credits_reset_at=next_reset(now), monthly_credits=User.monthly_credits + lift)
        .execution_options(synchronize_session=False),
    )
    if not moved:
        return False
    if lift:
        _enter(session, user.id, lift, "month", f"month-{user.id}-{now:%Y-%m}")
    session.refresh(user)
    return True


def charge(session: Session, user_id: str, task_id: str) -> None:
    """Take a picture's price; raises NoCredits when the balance does not cover it."""
    if not _move(session, user_id, -PICTURE_COSTS):
        raise NoCredits
    _enter(session, user_id, -PICTURE_COSTS, "charge", charge_key(task_id), task_id)


def refund(session: Session, user_id: str, task_id: str) -> bool:
    """Give back exactly what this task was charged, once; False when there is nothing to give back."""
    charged = _entry(session, charge_key(task_id))
    if charged is None or charged.user_id != user_id or _entry(session, refund_key(task_id)):
        return False
    _enter(session, user_id, -charged.amount, "refund", refund_key(task_id), task_id)
    _move(session, user_id, -charged.amount)
    return True


def adjust(session: Session, user_id: str, amount: int, key: str, reason: str, kind: str = "adjust") -> None:
    """An operator's or program's posting with a reason; raises InsufficientCredits below zero."""
    if not _move(session, user_id, amount):
        raise InsufficientCredits
    _enter(session, user_id, amount, kind, key, reason=reason)


def balance_of(user_id: str) -> Balance:
    """What a user has now, the month's credits included."""
    now = runtime().clock.now()
    with reading() as session:
        user = session.get_one(User, user_id)
    if user.credits_reset_at is None or user.credits_reset_at <= now:
        transaction(lambda session: lock(session, user_id))
        with reading() as session:
            user = session.get_one(User, user_id)
    assert user.credits_reset_at is not None
    return Balance(user.monthly_credits, runtime().settings.monthly_credits, user.credits_reset_at)


def statement(user_id: str, before: int | None = None, limit: int = PAGE) -> list[CreditEntry]:
    """A user's entries, newest first, from before the entry with this id."""
    mine = select(CreditEntry).where(CreditEntry.user_id == user_id)
    if before is not None:
        mine = mine.where(CreditEntry.id < before)
    with reading() as session:
        return list(session.scalars(mine.order_by(CreditEntry.id.desc()).limit(limit)))


def charge_key(task_id: str) -> str:
    """The business key of a task's charge."""
    return f"task-{task_id}-charge"


def refund_key(task_id: str) -> str:
    """The business key of a task's refund."""
    return f"task-{task_id}-refund"


def differences() -> list[Difference]:
    """Every user whose balance is not the sum of the entries; empty when the books are right."""
    sums = (
        select(CreditEntry.user_id, func.sum(CreditEntry.amount).label("total"))
        .group_by(CreditEntry.user_id)
        .subquery()
    )
    total = func.coalesce(sums.c.total, 0)
    wrong = (
        select(User.id, User.monthly_credits, total.label("entries"))
        .outerjoin(sums, sums.c.user_id == User.id)
        .where(or_(User.monthly_credits != total, User.monthly_credits < 0))
        .order_by(User.id)
    )
    with reading() as session:
        return [Difference(row.id, row.monthly_credits, int(row.entries)) for row in session.execute(wrong)]


def _move(session: Session, user_id: str, amount: int) -> bool:
    """Change a balance, guarded so that it never goes below zero; False on refusal."""
    return (
        changed(
            session,
            update(User)
            .where(User.id == user_id, User.monthly_credits + amount >= 0)
            .values(monthly_credits=User.monthly_credits + amount)
            .execution_options(synchronize_session=False),
        )
        == 1
    )


def _entry(session: Session, key: str) -> CreditEntry | None:
    return session.scalar(select(CreditEntry).where(CreditEntry.business_key == key))


def _enter(
    session: Session,
    user_id: str,
    amount: int,
    kind: str,
    key: str,
    task_id: str | None = None,
    reason: str | None = None,
) -> None:
    session.add(
        CreditEntry(
            user_id=user_id,
            amount=amount,
            kind=kind,
            business_key=key,
            task_id=task_id,
            reason=reason,
            created_at=runtime().clock.now(),
        )
    )
    session.flush()
