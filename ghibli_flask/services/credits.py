"""The credits of users: every change is one signed entry and one guarded update, in one transaction.

Balance = sum of entries, always, and never below zero. The unique business key of an entry names its cause, so that
the same cause posts once however often it is told. Called by `services.payers`, `accounts` and the front doors.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.errors import Conflict, FieldError, InsufficientCredits, InvalidFields, NoCredits, NotSignedIn, _
from ghibli_flask.extensions import runtime
from ghibli_flask.models.credit import CreditEntry
from ghibli_flask.models.departure import Departure
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.user import User, UserProfile

PICTURE_COSTS = 1
PAGE = 50


@dataclass(frozen=True)
class Balance:
    """What a user has: credits now, what the month lifts them to, and when it does next."""

    credits: int
    monthly: int
    resets_at: datetime


@dataclass(frozen=True)
class Line:
    """One entry of a statement, and our own id of its task when the picture is still there to be looked at."""

    entry: CreditEntry
    picture: str | None

    @property
    def has_picture(self) -> bool:
        """Whether there is something to look at."""
        return self.picture is not None


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
    """The first entry of a new user: the balance, or less when an account at this address was deleted this month."""
    left = _left_by_departed(session, session.get_one(UserProfile, user_id).email_key)
    if left is not None and left < balance:
        balance = session.get_one(User, user_id).monthly_credits = left
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
    # Not "equals what was read": SQLite compares texts, and an adopted row may lack the fraction of a second.
    is_due = or_(User.credits_reset_at.is_(None), User.credits_reset_at <= now)
    key = f"month-{user.id}-{now:%Y-%m}"
    lift = 0 if _entry(session, key) else max(0, settings.monthly_credits - user.monthly_credits)
    moved = changed(
        session,
        update(User)
        .where(User.id == user.id, is_due, User.monthly_credits == user.monthly_credits)
        .values(credits_reset_at=next_reset(now), monthly_credits=User.monthly_credits + lift)
        .execution_options(synchronize_session=False),
    )
    if not moved:
        return False
    if lift:
        _enter(session, user.id, lift, "month", key)
    session.refresh(user)
    return True


def charge(session: Session, user_id: str, task_id: str) -> None:
    """Take a picture's price; raises NoCredits when the balance does not cover it, NotSignedIn for a deleted user."""
    if not _move(session, user_id, -PICTURE_COSTS):
        raise NoCredits if session.get(User, user_id) else NotSignedIn
    _enter(session, user_id, -PICTURE_COSTS, "charge", charge_key(task_id), task_id)


def has_charged(session: Session, user_id: str, task_id: str) -> bool:
    """Whether this task's charge stands already; raises Conflict when it is another user's or was given back."""
    charged = _entry(session, charge_key(task_id))
    if charged is None:
        return False
    if charged.user_id != user_id or _entry(session, refund_key(task_id)):
        raise Conflict
    return True


def refund(session: Session, user_id: str, task_id: str) -> bool:
    """Give back exactly what this task was charged, once; False when there is nothing to give back."""
    charged = _entry(session, charge_key(task_id))
    if charged is None or charged.user_id != user_id or _entry(session, refund_key(task_id)):
        return False
    _enter(session, user_id, -charged.amount, "refund", refund_key(task_id), task_id)
    _move(session, user_id, -charged.amount)
    return True


def lock_many(session: Session, user_ids: Collection[str]) -> None:
    """Lock these balances in the order of their ids, and give the month's credits where they are due."""
    if user_ids:
        for user in session.scalars(select(User).where(User.id.in_(user_ids)).order_by(User.id).with_for_update()):
            grant_month(session, user)


def refund_many(session: Session, charges: Sequence[tuple[str, str]]) -> None:
    """Give back what these tasks were charged, as (user, task), each once; what was given back already is left out."""
    if not charges:
        return
    keys = [key for _user, task_id in charges for key in (charge_key(task_id), refund_key(task_id))]
    entries = {
        entry.business_key: entry
        for entry in session.scalars(select(CreditEntry).where(CreditEntry.business_key.in_(keys)))
    }
    now, rows, sums = runtime().clock.now(), [], Counter[str]()
    for user_id, task_id in charges:
        charged = entries.get(charge_key(task_id))
        if charged is None or charged.user_id != user_id or refund_key(task_id) in entries:
            continue
        row = {"user_id": user_id, "amount": -charged.amount, "kind": "refund", "task_id": task_id, "created_at": now}
        rows.append({**row, "business_key": refund_key(task_id)})
        sums[user_id] -= charged.amount
    if rows:
        session.execute(insert(CreditEntry), rows)
    for user_id, amount in sums.items():
        _move(session, user_id, amount)


def adjust(
    session: Session, user_id: str, amount: int, key: str, reason: str | None = None, kind: str = "adjust"
) -> None:
    """An operator's posting with a reason, or a program's; raises InsufficientCredits below zero."""
    if not _move(session, user_id, amount):
        raise InsufficientCredits
    _enter(session, user_id, amount, kind, key, reason=reason)


def post(user_id: str, amount: int, task_id: str | None = None) -> int:
    """A program's posting: `amount` is signed; gives the balance after it.

    With a task, taking is its charge and giving its refund, each posted once however often it is sent; without one,
    each call counts. Raises InvalidFields for an unknown user, Conflict when the task was booked differently or a
    refund has no charge, and InsufficientCredits below zero.
    """
    if amount == 0:
        raise InvalidFields(fields=(FieldError("amount", _("Please give a whole number other than 0.")),))
    try:
        return transaction(lambda session: _post(session, user_id, amount, task_id))
    except IntegrityError as error:
        # Two users cannot lock each other out, so the same task booked for both meets at the unique key.
        raise Conflict from error


def _post(session: Session, user_id: str, amount: int, task_id: str | None) -> int:
    user = session.scalar(select(User).where(User.id == user_id).with_for_update())
    if user is None:
        raise InvalidFields(fields=(FieldError("userId", _("There is no such user.")),))
    grant_month(session, user)
    if task_id is None:
        adjust(session, user.id, amount, f"api-{uuid.uuid4().hex}", kind="api")
    elif not _stands(session, user.id, amount, task_id):
        kind, key = ("charge", charge_key(task_id)) if amount < 0 else ("refund", refund_key(task_id))
        if not _move(session, user.id, amount):
            raise InsufficientCredits
        _enter(session, user.id, amount, kind, key, task_id)
    session.refresh(user)
    return user.monthly_credits


def _stands(session: Session, user_id: str, amount: int, task_id: str) -> bool:
    """Whether exactly this charge or refund of a task was posted before; raises Conflict when it does not fit."""
    charged = _entry(session, charge_key(task_id))
    if charged is None:
        if amount > 0:
            raise Conflict(_("A refund needs the charge that it gives back."))
        return False
    if charged.user_id != user_id or abs(amount) != -charged.amount:
        raise Conflict
    return amount < 0 or _entry(session, refund_key(task_id)) is not None


def balance_of(user_id: str) -> Balance:
    """What a user has now, the month's credits included; raises NotSignedIn when the account was just deleted."""
    user = _user(user_id)
    if user.credits_reset_at is None or user.credits_reset_at <= runtime().clock.now():
        transaction(lambda session: lock(session, user_id))
        user = _user(user_id)
    assert user.credits_reset_at is not None
    return Balance(user.monthly_credits, runtime().settings.monthly_credits, user.credits_reset_at)


def _user(user_id: str) -> User:
    with reading() as session:
        user = session.get(User, user_id)
    if user is None:
        raise NotSignedIn
    return user


def lines(user_id: str, before: int | None = None, limit: int = PAGE) -> list[Line]:
    """A user's statement as `statement` gives it, with a word on which pictures are still there."""
    entries = statement(user_id, before, limit)
    named = [entry.task_id for entry in entries if entry.task_id]
    mine = select(ImageTask).where(
        or_(ImageTask.public_id.in_(named), ImageTask.alias.in_(named)),
        ImageTask.owner == f"user:{user_id}",
        ImageTask.deleted_at.is_(None),
    )
    with reading() as session:
        present = {task.known_as: task.public_id for task in session.scalars(mine)} if named else {}
    return [Line(entry, present.get(entry.task_id or "")) for entry in entries]


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


def repair(user_id: str) -> int:
    """Make entries and balance agree again by one entry with a reason; gives its amount, 0 when they agree already.

    The balance is what the user was shown, so it stays, but for one below zero, which becomes zero.
    """
    return transaction(lambda session: _repair(session, user_id))


def _repair(session: Session, user_id: str) -> int:
    user = session.scalar(select(User).where(User.id == user_id).with_for_update())
    if user is None:
        return 0
    entered = int(
        session.scalar(select(func.coalesce(func.sum(CreditEntry.amount), 0)).where(CreditEntry.user_id == user_id))
        or 0
    )
    reason = f"Reconciled: the balance was {user.monthly_credits}, the entries came to {entered}."
    user.monthly_credits = max(0, user.monthly_credits)
    missing = user.monthly_credits - entered
    if missing:
        _enter(session, user.id, missing, "adjust", f"reconcile-{uuid.uuid4().hex}", reason=reason)
    return missing


def make_anonymous(session: Session, user: User, email_key: str, stranger: str) -> None:
    """Take a deleted user out of the ledger: the sums stay under `stranger`, an id that leads nowhere.

    What was left of the month is kept under a keyed hash of the address until the month ends, so that deleting an
    account and making a new one gives no new month.
    """
    grant_month(session, user)
    own_keys = select(CreditEntry).where(CreditEntry.user_id == user.id, CreditEntry.kind.in_(("opening", "month")))
    for entry in session.scalars(own_keys).all():
        entry.business_key = entry.business_key.replace(f"{entry.kind}-{user.id}", f"{entry.kind}-{stranger}", 1)
    session.flush()
    # A reason was written to and about a person.
    mine = update(CreditEntry).where(CreditEntry.user_id == user.id).values(user_id=stranger, reason=None)
    session.execute(mine.execution_options(synchronize_session=False))
    _remember_departure(session, user, email_key)


def drop_departures() -> None:
    """Forget the addresses of deleted accounts whose month is over; for the sweep."""
    over = delete(Departure).where(Departure.until <= runtime().clock.now())
    transaction(lambda session: session.execute(over))


def _remember_departure(session: Session, user: User, email_key: str) -> None:
    now, subjects = runtime().clock.now(), _departed_subjects(email_key)
    outdated = or_(Departure.until <= now, Departure.subject.in_(subjects))
    session.execute(delete(Departure).where(outdated))
    session.add(Departure(subject=subjects[0], credits_left=user.monthly_credits, until=next_reset(now)))


def _left_by_departed(session: Session, email_key: str) -> int | None:
    """What the last account at this address had left when it was deleted this month, if one was."""
    now = runtime().clock.now()
    kept = select(func.min(Departure.credits_left)).where(Departure.subject.in_(_departed_subjects(email_key)))
    kept = kept.where(Departure.until > now)
    return session.scalar(kept)


def _departed_subjects(email_key: str) -> list[str]:
    """The keyed hashes of an address under every signing key, the newest first."""
    keys = runtime().settings.signing_keys
    return [hmac.new(key.encode(), f"departure:{email_key}".encode(), hashlib.sha256).hexdigest() for key in keys]


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
