"""Ratings: a visitor's thumb for a painted picture, at most one for each task. `services.ratings` writes them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id

LONGEST_WORD = 280


class Rating(Base):
    """What the owner of a picture thinks of it; it goes with the picture, because its word is the visitor's own."""

    __tablename__ = "ratings"
    __table_args__ = (CheckConstraint("verdict IN ('up', 'down')", name="verdict"),)

    task_id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=False)
    verdict: Mapped[str] = mapped_column(ascii_id(8))
    word: Mapped[str | None] = mapped_column(String(LONGEST_WORD))
    rated_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
