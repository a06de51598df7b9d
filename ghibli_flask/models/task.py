"""The tasks: one row an order. `services.tasks` and `services.repair` are the only writers."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, Date, Index, Integer, Numeric, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ghibli_flask.database import Base, UTCDateTime, ascii_id, row_id
from ghibli_flask.task_states import Stage, TaskState

_STATES = ", ".join(f"'{state.value}'" for state in TaskState)


class ImageTask(Base):
    """A visitor's order, from its acceptance to its end, and afterwards its tombstone."""

    __tablename__ = "image_tasks"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATES})", name="status"),
        CheckConstraint("progress >= 0 AND progress <= 100", name="progress"),
        # An owner's history, page by page: every filter is answered from this index, and only a page's rows are read.
        Index("ix_image_tasks_history", "owner", "id", "outcome", "mode", "style", "is_shared", "deleted_at"),
        Index("ix_image_tasks_payer_created_at", "payer", "created_at"),
        Index("ix_image_tasks_payer_idempotency_key", "payer", "idempotency_key"),
        # The sweep walks only the live rows: by state and deadline, by state and heartbeat.
        Index("ix_image_tasks_status_deadline_at", "status", "deadline_at"),
        Index("ix_image_tasks_status_heartbeat_at", "status", "heartbeat_at"),
        # The retention walks only what has a day to go.
        Index("ix_image_tasks_expires_at", "expires_at"),
        Index("ix_image_tasks_source_expires_at", "source_expires_at"),
        # The sweep walks only the painted tasks that still wait to be put into the gallery.
        Index("ix_image_tasks_wants_gallery_outcome", "wants_gallery", "outcome"),
    )

    id: Mapped[int] = mapped_column(row_id(), primary_key=True, autoincrement=True)
    public_id: Mapped[str] = mapped_column(ascii_id(32), unique=True)
    alias: Mapped[str | None] = mapped_column(ascii_id(64), unique=True)
    owner: Mapped[str | None] = mapped_column(ascii_id(80))
    payer: Mapped[str] = mapped_column(ascii_id(80))
    retry_of: Mapped[int | None] = mapped_column(row_id())

    mode: Mapped[str] = mapped_column(ascii_id(16))
    prompt: Mapped[str] = mapped_column(Text, default="")
    style: Mapped[str] = mapped_column(ascii_id(32))
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    seed: Mapped[int] = mapped_column(Integer)
    engine: Mapped[str | None] = mapped_column(ascii_id(32))

    status: Mapped[str] = mapped_column(ascii_id(16), default=TaskState.QUEUED.value)
    progress: Mapped[Decimal] = mapped_column(Numeric(5, 2), default=Decimal(0))
    stage: Mapped[str] = mapped_column(Text, default=Stage.QUEUED.value)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    ring: Mapped[int] = mapped_column(Integer, default=0)
    deaths: Mapped[int] = mapped_column(Integer, default=0)
    handbacks: Mapped[int] = mapped_column(Integer, default=0)
    outcome: Mapped[str | None] = mapped_column(ascii_id(16))
    error_code: Mapped[str | None] = mapped_column(ascii_id(64))
    note: Mapped[str | None] = mapped_column(String(255))

    source_store: Mapped[str | None] = mapped_column(ascii_id(16))
    source_key: Mapped[str | None] = mapped_column(ascii_id(160))
    result_store: Mapped[str | None] = mapped_column(ascii_id(16))
    result_key: Mapped[str | None] = mapped_column(ascii_id(160))

    result_width: Mapped[int | None] = mapped_column(Integer)
    result_height: Mapped[int | None] = mapped_column(Integer)
    thumbnail_store: Mapped[str | None] = mapped_column(ascii_id(16))
    thumbnail_key: Mapped[str | None] = mapped_column(ascii_id(160))

    is_shared: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    wants_gallery: Mapped[int] = mapped_column(Integer, default=0, server_default="0")

    charged: Mapped[int] = mapped_column(Integer, default=0)
    refunded: Mapped[int] = mapped_column(Integer, default=0)
    address_subject: Mapped[str | None] = mapped_column(ascii_id(64))
    paid_on: Mapped[date] = mapped_column(Date)
    idempotency_key: Mapped[str | None] = mapped_column(ascii_id(64))
    fingerprint: Mapped[str] = mapped_column(ascii_id(64))

    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    queued_at: Mapped[datetime] = mapped_column(UTCDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    heartbeat_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    deadline_at: Mapped[datetime] = mapped_column(UTCDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    source_expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def state(self) -> TaskState:
        """The state as its enum."""
        return TaskState(self.status)

    @property
    def known_as(self) -> str:
        """The id in ledger keys and in Redis: the caller's own for a task that came from outside, else ours."""
        return self.alias or self.public_id
