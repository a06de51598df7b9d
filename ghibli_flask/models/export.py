"""The exports: one row for each user who asked for all that is kept about them. `services.exports` is the writer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id


class Export(Base):
    """A user's latest export. `part` counts the finished jobs and fences them; `last_task_id` is how far they got."""

    __tablename__ = "exports"
    __table_args__ = (CheckConstraint("status IN ('running', 'ready', 'failed')", name="status"),)

    user_id: Mapped[str] = mapped_column(String(50), primary_key=True)
    public_id: Mapped[str] = mapped_column(ascii_id(32), unique=True)
    status: Mapped[str] = mapped_column(ascii_id(16))
    part: Mapped[int] = mapped_column(Integer, default=0)
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int] = mapped_column(Integer)
    last_task_id: Mapped[int] = mapped_column(row_id(), default=0)
    size: Mapped[int | None] = mapped_column(BigInteger)
    started_at: Mapped[datetime] = mapped_column(UTCDateTime)
    beat_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
