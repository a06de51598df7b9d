"""The kept results of health checks and sweeps. `services.health` and `services.repair` are the writers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, Index
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id


class HealthCheck(Base):
    """One finished run of a periodic duty: the sweep or the monitor."""

    __tablename__ = "health_checks"
    __table_args__ = (Index("ix_health_checks_kind_finished_at", "kind", "finished_at"),)

    id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(ascii_id(16))
    finished_at: Mapped[datetime] = mapped_column(UTCDateTime)
    ok: Mapped[bool] = mapped_column(Boolean)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
