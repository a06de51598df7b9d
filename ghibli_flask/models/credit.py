"""The ledger: one signed posting for every change of a balance, never changed and never removed.

`services.credits` is the only writer.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id


class CreditEntry(Base):
    """One posting. The business key names its cause, so that the same cause posts once however often it is told."""

    __tablename__ = "credit_entries"
    __table_args__ = (
        CheckConstraint("amount <> 0", name="amount"),
        Index("ix_credit_entries_user_id_id", "user_id", "id"),
    )

    id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=True)
    user_id: Mapped[str] = mapped_column(String(50))
    amount: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(ascii_id(16))
    business_key: Mapped[str] = mapped_column(ascii_id(160), unique=True)
    task_id: Mapped[str | None] = mapped_column(ascii_id(64))
    reason: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
