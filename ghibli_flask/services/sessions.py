"""Signed-in browsers: each has a secret in its cookie and a row with its hash, so that it can be listed and ended.

Called by `visitors` for every request of a signed-in browser, and by `services.accounts`.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from ghibli_flask.database import changed, reading, transaction
from ghibli_flask.errors import NotSignedIn
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.upload import Upload
from ghibli_flask.models.user import User, UserProfile, UserSession
from ghibli_flask.services.allowances import Guest

LASTS = timedelta(days=30)
SEEN_EVERY = timedelta(minutes=10)
FRESH_FOR = timedelta(minutes=10)
LONGEST_AGENT = 255


@dataclass(frozen=True)
class SignedIn:
    """Who a session belongs to, and how long ago its owner last proved it."""

    user_id: str
    session_id: str
    email: str
    name: str | None
    locale: str | None
    is_admin: bool
    is_blocked: bool
    fresh_at: datetime


def begin(user_id: str, user_agent: str, guest: Guest) -> str:
    """Begin a session and take the guest's pictures along; gives the secret for the cookie."""
    secret = secrets.token_urlsafe(32)
    now = runtime().clock.now()

    def unit(session: Session) -> None:
        # The lock that a deletion holds: nobody is signed in to, or given pictures of, an account that goes.
        if session.scalar(select(User.id).where(User.id == user_id).with_for_update()) is None:
            raise NotSignedIn
        session.add(
            UserSession(
                token_hash=_hashed(secret),
                public_id=uuid.uuid4().hex,
                user_id=user_id,
                user_agent=user_agent[:LONGEST_AGENT],
                created_at=now,
                fresh_at=now,
                last_seen_at=now,
                expires_at=now + LASTS,
            )
        )
        if guest.owner:
            _bring_along(session, guest.owner, f"user:{user_id}")

    transaction(unit)
    return secret


def _bring_along(session: Session, guest: str, user: str) -> None:
    """A guest's pictures and uploads become the user's, and finished pictures are kept as long as a user's are.

    The payer of a task never changes: a refund goes to where the charge came from.
    """
    kept_for = timedelta(days=runtime().settings.result_ttl_days)
    finished = select(ImageTask.id, ImageTask.finished_at).where(
        ImageTask.owner == guest,
        ImageTask.finished_at.is_not(None),
        ImageTask.expires_at.is_not(None),  # What is shared has no day to go.
        ImageTask.deleted_at.is_(None),
        # What lies with ImgBB goes there on the day that was named at the upload.
        func.coalesce(ImageTask.result_store, "") != "imgbb",
    )
    for task in session.execute(finished).all():
        session.execute(update(ImageTask).where(ImageTask.id == task.id).values(expires_at=task.finished_at + kept_for))
    session.execute(update(ImageTask).where(ImageTask.owner == guest).values(owner=user))
    session.execute(update(Upload).where(Upload.owner == guest).values(owner=user))


def find(secret: str) -> SignedIn | None:
    """Who this secret belongs to; None when the session has ended. Moves its end on, at most every ten minutes."""
    now = runtime().clock.now()
    with reading() as session:
        row = session.execute(
            select(UserSession, User, UserProfile)
            .join(User, User.id == UserSession.user_id)
            .join(UserProfile, UserProfile.user_id == UserSession.user_id)
            .where(UserSession.token_hash == _hashed(secret), UserSession.expires_at > now)
        ).one_or_none()
    if row is None:
        return None
    kept, user, profile = row
    if now - kept.last_seen_at > SEEN_EVERY:
        _see(kept.token_hash, now)
    return SignedIn(
        user_id=user.id,
        session_id=kept.public_id,
        email=user.email,
        name=user.name,
        locale=profile.locale,
        is_admin=profile.role == "admin",
        is_blocked=profile.blocked_at is not None,
        fresh_at=kept.fresh_at,
    )


def is_fresh(signed_in: SignedIn) -> bool:
    """Whether the owner proved this session within the last minutes."""
    return runtime().clock.now() - signed_in.fresh_at <= FRESH_FOR


def of_user(user_id: str) -> list[UserSession]:
    """A user's running sessions, the last used first."""
    now = runtime().clock.now()
    with reading() as session:
        return list(
            session.scalars(
                select(UserSession)
                .where(UserSession.user_id == user_id, UserSession.expires_at > now)
                .order_by(UserSession.last_seen_at.desc())
            )
        )


def end(user_id: str, public_id: str) -> bool:
    """End one of a user's sessions; False when there is none of this id."""
    ended = delete(UserSession).where(UserSession.user_id == user_id, UserSession.public_id == public_id)
    return transaction(lambda session: changed(session, ended)) == 1


def end_all(user_id: str) -> None:
    """Sign a user out everywhere."""
    transaction(lambda session: end_all_within(session, user_id))


def end_all_within(session: Session, user_id: str, but: str | None = None) -> None:
    """Sign a user out everywhere within a transaction, except from the session of this id."""
    ended = delete(UserSession).where(UserSession.user_id == user_id)
    session.execute(ended.where(UserSession.public_id != but) if but else ended)


def drop_expired(limit: int = 500) -> int:
    """Remove sessions that have run out, at most `limit`; returns how many."""
    now = runtime().clock.now()
    with reading() as session:
        old = session.scalars(select(UserSession.token_hash).where(UserSession.expires_at <= now).limit(limit)).all()
    if old:
        transaction(lambda session: session.execute(delete(UserSession).where(UserSession.token_hash.in_(old))))
    return len(old)


def _see(token_hash: str, now: datetime) -> None:
    seen = update(UserSession).where(UserSession.token_hash == token_hash)
    transaction(lambda session: session.execute(seen.values(last_seen_at=now, expires_at=now + LASTS)))


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
