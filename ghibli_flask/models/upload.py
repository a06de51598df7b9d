"""Uploads: photographs that were sent ahead of their order. `services.uploads` is the only writer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id


class Upload(Base):
    """One photograph as it is kept: its owner, where it lies, its sides in pixels and its size in bytes.

    Without an owner, who had no cookie, its id opens it; `payer` is whom it is counted for.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        Index("ix_uploads_created_at", "created_at"),
        Index("ix_uploads_owner", "owner"),
        Index("ix_uploads_payer", "payer"),
    )

    id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=True)
    public_id: Mapped[str] = mapped_column(ascii_id(32), unique=True)
    owner: Mapped[str | None] = mapped_column(ascii_id(80))
    payer: Mapped[str] = mapped_column(ascii_id(80))
    store: Mapped[str] = mapped_column(ascii_id(16))
    key: Mapped[str] = mapped_column(ascii_id(160))
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    size: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
