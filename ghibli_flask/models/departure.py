"""What deleted accounts had left of the month, so that signing up again gives that and not a new month.

`services.credits` is the only writer.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id


class Departure(Base):
    """One deleted account: a keyed hash of its address, forgotten when the month has ended."""

    __tablename__ = "departures"
    __table_args__ = (Index("ix_departures_until", "until"),)

    subject: Mapped[str] = mapped_column(ascii_id(64), primary_key=True)
    credits_left: Mapped[int] = mapped_column(Integer)
    until: Mapped[datetime] = mapped_column(UTCDateTime)
