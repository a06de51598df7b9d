"""The free tries of guests: how many a subject used on a day. `services.allowances` is the only writer."""

from __future__ import annotations

from datetime import date

from sqlalchemy import CheckConstraint, Date, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, ascii_id


class Allowance(Base):
    """One subject (a hashed browser id or a keyed hash of an address) on one UTC day."""

    __tablename__ = "allowances"
    __table_args__ = (CheckConstraint("used >= 0", name="used"), Index("ix_allowances_day", "day"))

    subject: Mapped[str] = mapped_column(ascii_id(64), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    used: Mapped[int] = mapped_column(Integer, default=0)
