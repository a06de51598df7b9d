"""What is wrong with the installation, one row a cause. `services.alerts` is the only reader and writer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id


class IncidentRow(Base):
    """One cause: since when it is so, what was last said and when, and when it was mended."""

    __tablename__ = "incidents"

    cause: Mapped[str] = mapped_column(ascii_id(40), primary_key=True)
    text: Mapped[str] = mapped_column(String(500))
    since: Mapped[datetime] = mapped_column(UTCDateTime)
    last_sent_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    mended_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
