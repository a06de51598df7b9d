"""Wishes: "paint it when the engine is back", at most one for each task. `services.wishes` is the only writer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id


class Wish(Base):
    """One wish, from its making to its end. `kept_as` is the new task, when the wish became one."""

    __tablename__ = "wishes"
    __table_args__ = (Index("ix_wishes_done_at_not_before", "done_at", "not_before"),)

    id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=True)
    task_id: Mapped[int] = mapped_column(row_id(), unique=True)
    not_before: Mapped[datetime] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    done_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    outcome: Mapped[str | None] = mapped_column(ascii_id(16))
    kept_as: Mapped[int | None] = mapped_column(row_id())
