"""What administrators do to people: block them, and change a balance with a reason. Called by `admin`.

Every action is entered in the audit log within its own transaction, so that there is none without its entry.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import FieldError, InvalidFields, NotFound, _
from ghibli_flask.extensions import runtime
from ghibli_flask.models.audit import AuditEntry
from ghibli_flask.models.credit import CreditEntry
from ghibli_flask.models.user import User, UserProfile
from ghibli_flask.services import accounts, credits, sessions

PAGE = 50
LARGEST_ADJUSTMENT = 10_000
LONGEST_REASON = 200


@dataclass(frozen=True)
class Person:
    """One line of the list of users."""

    user_id: str
    email: str
    name: str | None
    balance: int
    role: str
    is_blocked: bool


def people(search: str = "", after: str = "") -> list[Person]:
    """Users by address, at most 50 behind `after`; `search` is the beginning of an address or a whole id."""
    found = (
        select(User, UserProfile)
        .join(UserProfile, UserProfile.user_id == User.id)
        .where(User.email > after)
        .order_by(User.email)
        .limit(PAGE)
    )
    if search:
        found = found.where(or_(User.email.startswith(search, autoescape=True), User.id == search))
    with reading() as session:
        return [
            Person(user.id, user.email, user.name, user.monthly_credits, profile.role, profile.blocked_at is not None)
            for user, profile in session.execute(found)
        ]


def block(actor: str, user_id: str) -> None:
    """Block a user: signed out everywhere, no sign-in and no order until unblocked. Raises NotFound."""

    def unit(session: Session) -> None:
        _profile(session, user_id).blocked_at = runtime().clock.now()
        sessions.end_all_within(session, user_id)
        note(session, actor, "block", user_id, {})

    transaction(unit)


def unblock(actor: str, user_id: str) -> None:
    """Let a blocked user in again. Raises NotFound."""

    def unit(session: Session) -> None:
        _profile(session, user_id).blocked_at = None
        note(session, actor, "unblock", user_id, {})

    transaction(unit)


def adjust_balance(actor: str, user_id: str, amount: int, reason: str) -> None:
    """Add to a balance, or take from it, with a reason that the user reads in the statement.

    Raises InvalidFields without a reason or for an amount of 0, NotFound, and InsufficientCredits below zero.
    """
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON:
        raise InvalidFields(fields=(FieldError("reason", _("Please give a reason of at most 200 characters.")),))
    if amount == 0 or abs(amount) > LARGEST_ADJUSTMENT:
        raise InvalidFields(fields=(FieldError("amount", _("Please give a whole number other than 0.")),))
    key = f"adjust-{uuid.uuid4().hex}"

    def unit(session: Session) -> None:
        _profile(session, user_id)
        credits.adjust(session, user_id, amount, key, reason)
        note(session, actor, "adjust-balance", user_id, {"amount": amount, "reason": reason, "key": key})

    transaction(unit)


def audit(before: int | None = None) -> list[AuditEntry]:
    """The audit log, newest first, from before the entry with this id."""
    entries = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(PAGE)
    if before is not None:
        entries = entries.where(AuditEntry.id < before)
    with reading() as session:
        return list(session.scalars(entries))


def statement_of(user_id: str) -> tuple[accounts.Account, list[CreditEntry]]:
    """A user with the latest entries of the ledger. Raises NotFound."""
    return accounts.find(user_id), credits.statement(user_id)


def _profile(session: Session, user_id: str) -> UserProfile:
    profile = session.get(UserProfile, user_id, with_for_update=True)
    if profile is None:
        raise NotFound
    return profile


def note(session: Session, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
    """Enter an action in the audit log; within the transaction that carries it out."""
    session.add(
        AuditEntry(actor=actor, action=action, subject=subject, details=details, created_at=runtime().clock.now())
    )
