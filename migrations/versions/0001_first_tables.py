"""The first tables: tasks, free tries, files that nobody owns yet, results of periodic duties.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLE = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_ci"), ("engine", "InnoDB"))
}


def ascii_id(length: int) -> sa.types.TypeEngine:
    wide = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(wide, "mysql", "mariadb")


def row_id() -> sa.types.TypeEngine:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def moment() -> sa.types.TypeEngine:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "allowances",
        sa.Column("subject", ascii_id(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.CheckConstraint("used >= 0", name=op.f("ck_allowances_used")),
        sa.PrimaryKeyConstraint("subject", "day", name=op.f("pk_allowances")),
        **TABLE,
    )
    op.create_table(
        "discarded_files",
        sa.Column("id", row_id(), autoincrement=True, nullable=False),
        sa.Column("store", ascii_id(16), nullable=False),
        sa.Column("key", ascii_id(160), nullable=False),
        sa.Column("delete_handle", ascii_id(255), nullable=True),
        sa.Column("not_before", moment(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discarded_files")),
        sa.UniqueConstraint("store", "key", name=op.f("uq_discarded_files_store")),
        **TABLE,
    )
    op.create_index("ix_discarded_files_not_before", "discarded_files", ["not_before"])

    op.create_table(
        "health_checks",
        sa.Column("id", row_id(), autoincrement=True, nullable=False),
        sa.Column("kind", ascii_id(16), nullable=False),
        sa.Column("finished_at", moment(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_health_checks")),
        **TABLE,
    )
    op.create_index("ix_health_checks_kind_finished_at", "health_checks", ["kind", "finished_at"])

    op.create_table(
        "image_tasks",
        sa.Column("id", row_id(), autoincrement=True, nullable=False),
        sa.Column("public_id", ascii_id(32), nullable=False),
        sa.Column("alias", ascii_id(64), nullable=True),
        sa.Column("owner", ascii_id(80), nullable=True),
        sa.Column("payer", ascii_id(80), nullable=False),
        sa.Column("retry_of", row_id(), nullable=True),
        sa.Column("mode", ascii_id(16), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("style", ascii_id(32), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("engine", ascii_id(32), nullable=True),
        sa.Column("status", ascii_id(16), nullable=False),
        sa.Column("progress", sa.Numeric(precision=5, scale=2), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("ring", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("handbacks", sa.Integer(), nullable=False),
        sa.Column("outcome", ascii_id(16), nullable=True),
        sa.Column("error_code", ascii_id(64), nullable=True),
        sa.Column("note", sa.String(length=255), nullable=True),
        sa.Column("source_store", ascii_id(16), nullable=True),
        sa.Column("source_key", ascii_id(160), nullable=True),
        sa.Column("result_store", ascii_id(16), nullable=True),
        sa.Column("result_key", ascii_id(160), nullable=True),
        sa.Column("charged", sa.Integer(), nullable=False),
        sa.Column("refunded", sa.Integer(), nullable=False),
        sa.Column("address_subject", ascii_id(64), nullable=True),
        sa.Column("paid_on", sa.Date(), nullable=False),
        sa.Column("idempotency_key", ascii_id(64), nullable=True),
        sa.Column("fingerprint", ascii_id(64), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("queued_at", moment(), nullable=False),
        sa.Column("started_at", moment(), nullable=True),
        sa.Column("heartbeat_at", moment(), nullable=True),
        sa.Column("deadline_at", moment(), nullable=False),
        sa.Column("finished_at", moment(), nullable=True),
        sa.Column("deleted_at", moment(), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'processing', 'completed', 'failed', 'cancelled')", name=op.f("ck_image_tasks_status")
        ),
        sa.CheckConstraint("progress >= 0 AND progress <= 100", name=op.f("ck_image_tasks_progress")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_tasks")),
        sa.UniqueConstraint("alias", name=op.f("uq_image_tasks_alias")),
        sa.UniqueConstraint("public_id", name=op.f("uq_image_tasks_public_id")),
        **TABLE,
    )
    op.create_index("ix_image_tasks_owner_id", "image_tasks", ["owner", "id"])
    op.create_index("ix_image_tasks_payer_created_at", "image_tasks", ["payer", "created_at"])
    op.create_index("ix_image_tasks_payer_idempotency_key", "image_tasks", ["payer", "idempotency_key"])
    op.create_index("ix_image_tasks_status_deadline_at", "image_tasks", ["status", "deadline_at"])
    op.create_index("ix_image_tasks_status_heartbeat_at", "image_tasks", ["status", "heartbeat_at"])


def downgrade() -> None:
    op.drop_index("ix_image_tasks_status_heartbeat_at", "image_tasks")
    op.drop_index("ix_image_tasks_status_deadline_at", "image_tasks")
    op.drop_index("ix_image_tasks_payer_idempotency_key", "image_tasks")
    op.drop_index("ix_image_tasks_payer_created_at", "image_tasks")
    op.drop_index("ix_image_tasks_owner_id", "image_tasks")

    op.drop_table("image_tasks")
    op.drop_index("ix_health_checks_kind_finished_at", "health_checks")

    op.drop_table("health_checks")
    op.drop_index("ix_discarded_files_not_before", "discarded_files")

    op.drop_table("discarded_files")
    op.drop_table("allowances")
