"""What administrators did: written by the services that they act through, and never changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id


class AuditEntry(Base):
    """One action: who, what, to whom, and the particulars."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=True)
    actor: Mapped[str] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(ascii_id(32))
    subject: Mapped[str] = mapped_column(String(80))
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
