"""Exports of what is kept about a user, and what deleted accounts had left of the month.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
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
        "exports",
        sa.Column("user_id", sa.String(50), nullable=False),
        sa.Column("public_id", ascii_id(32), nullable=False),
        sa.Column("status", ascii_id(16), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("last_task_id", row_id(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("started_at", moment(), nullable=False),
        sa.Column("beat_at", moment(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.CheckConstraint("status IN ('running', 'ready', 'failed')", name=op.f("ck_exports_status")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_exports")),
        sa.UniqueConstraint("public_id", name=op.f("uq_exports_public_id")),
        **TABLE,
    )
    op.create_table(
        "departures",
        sa.Column("subject", ascii_id(64), nullable=False),
        sa.Column("credits_left", sa.Integer(), nullable=False),
        sa.Column("until", moment(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_departures")),
        **TABLE,
    )
    op.create_index("ix_departures_until", "departures", ["until"])


def downgrade() -> None:
    op.drop_table("departures")
    op.drop_table("exports")
