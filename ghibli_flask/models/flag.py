"""The operator's switches: a row stands for each that was set. `services.flags` is the only reader and writer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id


class Flag(Base):
    """One switch: its value, and who set it when."""

    __tablename__ = "flags"

    name: Mapped[str] = mapped_column(ascii_id(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(500))
    set_by: Mapped[str] = mapped_column(String(80))
    set_at: Mapped[datetime] = mapped_column(UTCDateTime)
