"""Shares: pictures that their owners show to others, what was reported about them, and how many there are.

`services.sharing`, `services.gallery` and `services.moderation` are the writers.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id


class Share(Base):
    """The one share of a task. Shared again after a revocation it gets a new public id; the old one stays dead.

    `listed_at` decides alone what hangs in the gallery, and since when: it is empty for whatever does not hang there.
    `attention_at` is set while an operator should look: the picture waits for approval, or somebody reported it.
    """

    __tablename__ = "shares"
    __table_args__ = (
        # The gallery's pages: everything, by mode, by style, by both; InnoDB adds the id to each.
        Index("ix_shares_listed_at", "listed_at"),
        Index("ix_shares_mode_listed_at", "mode", "listed_at"),
        Index("ix_shares_style_listed_at", "style", "listed_at"),
        Index("ix_shares_mode_style_listed_at", "mode", "style", "listed_at"),
        Index("ix_shares_attention_at", "attention_at"),
        Index("ix_shares_hidden_at", "hidden_at"),
    )

    id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=True)
    public_id: Mapped[str] = mapped_column(ascii_id(32), unique=True)
    task_id: Mapped[int] = mapped_column(row_id(), unique=True)
    mode: Mapped[str] = mapped_column(ascii_id(16))
    style: Mapped[str] = mapped_column(ascii_id(32))

    in_gallery: Mapped[bool] = mapped_column(Boolean)
    show_prompt: Mapped[bool] = mapped_column(Boolean)
    show_original: Mapped[bool] = mapped_column(Boolean)

    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    colour: Mapped[str] = mapped_column(ascii_id(7))
    thumbnail_store: Mapped[str | None] = mapped_column(ascii_id(16))
    thumbnail_key: Mapped[str | None] = mapped_column(ascii_id(160))
    card_store: Mapped[str | None] = mapped_column(ascii_id(16))
    card_key: Mapped[str | None] = mapped_column(ascii_id(160))
    copy_store: Mapped[str | None] = mapped_column(ascii_id(16))
    copy_key: Mapped[str | None] = mapped_column(ascii_id(160))

    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    approved_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    listed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    attention_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    hidden_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def is_open(self) -> bool:
        """Whether its addresses answer: neither revoked by the owner nor hidden by an operator."""
        return self.revoked_at is None and self.hidden_at is None

    @property
    def awaits_approval(self) -> bool:
        """Whether it is meant for the gallery and no operator has looked at it yet."""
        return self.is_open and self.in_gallery and self.approved_at is None


class ShareReport(Base):
    """What one visitor said about one share; `reporter` is the hash that stands for a browser or an address."""

    __tablename__ = "share_reports"
    __table_args__ = (UniqueConstraint("share_id", "reporter"),)

    id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=True)
    share_id: Mapped[int] = mapped_column(row_id())
    reporter: Mapped[str] = mapped_column(ascii_id(64))
    reason: Mapped[str] = mapped_column(ascii_id(16))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    handled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class ShareCount(Base):
    """How many shares of a mode and a style are open and hang in the gallery, and how often the gallery changed.

    Kept by the same transactions as the shares, because counting a million rows for each page would take too long.
    The sum of `version` names one state of the gallery: what is cached under it is right for as long as it stands.
    """

    __tablename__ = "share_counts"

    mode: Mapped[str] = mapped_column(ascii_id(16), primary_key=True)
    style: Mapped[str] = mapped_column(ascii_id(32), primary_key=True)
    live: Mapped[int] = mapped_column(Integer)
    listed: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(BigInteger)
