"""The people: the users table of earlier installations as it is, and what is new about a user beside it.

`services.accounts` and `services.credits` are the only writers. No foreign key points to `users`: an adopted table
may have another charset, and then the key would be refused, so the services own that rule.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id


class User(Base):
    """A user, in exactly the columns that earlier installations have. `monthly_credits` is the balance."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(50), primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    name: Mapped[str | None] = mapped_column(String(255))
    image: Mapped[str | None] = mapped_column(Text)
    provider: Mapped[str | None] = mapped_column(String(50))
    created_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_login: Mapped[datetime | None] = mapped_column(UTCDateTime)
    monthly_credits: Mapped[int] = mapped_column(Integer, default=30, server_default="30")
    credits_reset_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class UserProfile(Base):
    """What is known of a user beyond the adopted columns."""

    __tablename__ = "user_profiles"
    __table_args__ = (CheckConstraint("role IN ('user', 'admin')", name="role"),)

    user_id: Mapped[str] = mapped_column(String(50), primary_key=True)
    email_key: Mapped[str] = mapped_column(ascii_id(64), unique=True)
    google_sub: Mapped[str | None] = mapped_column(ascii_id(255), unique=True)
    email_verified_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    adopted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    locale: Mapped[str | None] = mapped_column(ascii_id(16))
    role: Mapped[str] = mapped_column(ascii_id(16), default="user")
    blocked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class UserSession(Base):
    """One signed-in browser: the cookie holds a secret, the row its hash."""

    __tablename__ = "user_sessions"
    __table_args__ = (
        Index("ix_user_sessions_user_id", "user_id"),
        Index("ix_user_sessions_expires_at", "expires_at"),
    )

    token_hash: Mapped[str] = mapped_column(ascii_id(64), primary_key=True)
    public_id: Mapped[str] = mapped_column(ascii_id(32), unique=True)
    user_id: Mapped[str] = mapped_column(String(50))
    user_agent: Mapped[str] = mapped_column(String(255), default="")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    fresh_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
