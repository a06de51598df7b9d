"""Files that no row owns: entered before they are written, removed by the transaction that adopts them.

`services.files` is the only writer; the cleanup drains what is left.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id


class DiscardedFile(Base):
    """A file to delete once `not_before` has passed, unless a row adopts it first."""

    __tablename__ = "discarded_files"
    __table_args__ = (
        UniqueConstraint("store", "key"),
        Index("ix_discarded_files_not_before", "not_before"),
    )

    id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=True)
    store: Mapped[str] = mapped_column(ascii_id(16))
    key: Mapped[str] = mapped_column(ascii_id(160))
    delete_handle: Mapped[str | None] = mapped_column(ascii_id(255))
    not_before: Mapped[datetime] = mapped_column(UTCDateTime)
    tries: Mapped[int] = mapped_column(Integer, default=0)
