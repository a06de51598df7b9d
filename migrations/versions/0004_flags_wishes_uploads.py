"""Operators' switches, wishes to be painted later, uploads that wait for their order, when pictures go, thumbnails.

Revision ID: 0004
Revises: 0003
"""

from datetime import timedelta

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLE = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_ci"), ("engine", "InnoDB"))
}


HISTORY = ["owner", "id", "outcome", "mode", "style", "is_shared", "deleted_at"]


def ascii_id(length: int) -> sa.types.TypeEngine:
    wide = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(wide, "mysql", "mariadb")


def row_id() -> sa.types.TypeEngine:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def moment() -> sa.types.TypeEngine:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "flags",
        sa.Column("name", ascii_id(40), nullable=False),
        sa.Column("value", sa.String(500), nullable=False),
        sa.Column("set_by", sa.String(80), nullable=False),
        sa.Column("set_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_flags")),
        **TABLE,
    )
    op.create_table(
        "wishes",
        sa.Column("id", row_id(), autoincrement=True, nullable=False),
        sa.Column("task_id", row_id(), nullable=False),
        sa.Column("not_before", moment(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("done_at", moment(), nullable=True),
        sa.Column("outcome", ascii_id(16), nullable=True),
        sa.Column("kept_as", row_id(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wishes")),
        sa.UniqueConstraint("task_id", name=op.f("uq_wishes_task_id")),
        **TABLE,
    )
    op.create_index("ix_wishes_done_at_not_before", "wishes", ["done_at", "not_before"])
    op.create_table(
        "uploads",
        sa.Column("id", row_id(), autoincrement=True, nullable=False),
        sa.Column("public_id", ascii_id(32), nullable=False),
        sa.Column("owner", ascii_id(80), nullable=True),
        sa.Column("payer", ascii_id(80), nullable=False),
        sa.Column("store", ascii_id(16), nullable=False),
        sa.Column("key", ascii_id(160), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("public_id", name=op.f("uq_uploads_public_id")),
        **TABLE,
    )
    op.create_index("ix_uploads_created_at", "uploads", ["created_at"])
    op.create_index("ix_uploads_owner", "uploads", ["owner"])
    op.create_index("ix_uploads_payer", "uploads", ["payer"])
    op.create_index("ix_allowances_day", "allowances", ["day"])
    op.add_column("image_tasks", sa.Column("wants_gallery", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("image_tasks", sa.Column("is_shared", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("image_tasks", sa.Column("thumbnail_store", ascii_id(16), nullable=True))
    op.add_column("image_tasks", sa.Column("thumbnail_key", ascii_id(160), nullable=True))
    op.add_column("image_tasks", sa.Column("result_width", sa.Integer(), nullable=True))
    op.add_column("image_tasks", sa.Column("result_height", sa.Integer(), nullable=True))
    op.add_column("image_tasks", sa.Column("expires_at", moment(), nullable=True))
    op.add_column("image_tasks", sa.Column("source_expires_at", moment(), nullable=True))
    op.create_index("ix_image_tasks_expires_at", "image_tasks", ["expires_at"])
    op.create_index("ix_image_tasks_source_expires_at", "image_tasks", ["source_expires_at"])
    op.create_index("ix_image_tasks_history", "image_tasks", HISTORY)
    op.drop_index("ix_image_tasks_owner_id", "image_tasks")
    _give_old_tasks_their_end()


def _give_old_tasks_their_end() -> None:
    """Pictures from before this revision are kept for the usual times, counted from their end."""
    tasks = sa.table(
        "image_tasks",
        *(sa.column(name, moment()) for name in ("created_at", "finished_at", "expires_at", "source_expires_at")),
        *(sa.column(name) for name in ("id", "owner", "source_key")),
    )
    connection = op.get_bind()
    columns = (tasks.c.id, tasks.c.owner, tasks.c.created_at, tasks.c.finished_at, tasks.c.source_key)
    for row in connection.execute(sa.select(*columns)).all():
        days = 30 if (row.owner or "").startswith("user:") else 7
        values = {
            "expires_at": row.finished_at + timedelta(days=days) if row.finished_at else None,
            "source_expires_at": row.created_at + timedelta(days=7) if row.source_key else None,
        }
        connection.execute(sa.update(tasks).where(tasks.c.id == row.id).values(**values))


def downgrade() -> None:
    op.create_index("ix_image_tasks_owner_id", "image_tasks", ["owner", "id"])
    op.drop_index("ix_image_tasks_history", "image_tasks")
    op.drop_index("ix_image_tasks_source_expires_at", "image_tasks")
    op.drop_index("ix_image_tasks_expires_at", "image_tasks")
    with op.batch_alter_table("image_tasks") as table:
        for name in (
            "result_height", "result_width", "thumbnail_key", "thumbnail_store", "is_shared",
            "source_expires_at", "expires_at", "wants_gallery",
        ):  # fmt: skip
            table.drop_column(name)
    op.drop_index("ix_allowances_day", "allowances")
    for name in ("uploads", "wishes", "flags"):
        op.drop_table(name)
