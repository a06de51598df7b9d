"""Shares, what is reported about them, and how many there are.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
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
        "shares",
        sa.Column("id", row_id(), autoincrement=True, nullable=False),
        sa.Column("public_id", ascii_id(32), nullable=False),
        sa.Column("task_id", row_id(), nullable=False),
        sa.Column("mode", ascii_id(16), nullable=False),
        sa.Column("style", ascii_id(32), nullable=False),
        sa.Column("in_gallery", sa.Boolean(), nullable=False),
        sa.Column("show_prompt", sa.Boolean(), nullable=False),
        sa.Column("show_original", sa.Boolean(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("colour", ascii_id(7), nullable=False),
        sa.Column("thumbnail_store", ascii_id(16), nullable=True),
        sa.Column("thumbnail_key", ascii_id(160), nullable=True),
        sa.Column("card_store", ascii_id(16), nullable=True),
        sa.Column("card_key", ascii_id(160), nullable=True),
        sa.Column("copy_store", ascii_id(16), nullable=True),
        sa.Column("copy_key", ascii_id(160), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("approved_at", moment(), nullable=True),
        sa.Column("listed_at", moment(), nullable=True),
        sa.Column("attention_at", moment(), nullable=True),
        sa.Column("hidden_at", moment(), nullable=True),
        sa.Column("revoked_at", moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
        sa.UniqueConstraint("public_id", name=op.f("uq_shares_public_id")),
        sa.UniqueConstraint("task_id", name=op.f("uq_shares_task_id")),
        **TABLE,
    )
    op.create_index("ix_shares_listed_at", "shares", ["listed_at"])
    op.create_index("ix_shares_mode_listed_at", "shares", ["mode", "listed_at"])
    op.create_index("ix_shares_style_listed_at", "shares", ["style", "listed_at"])
    op.create_index("ix_shares_mode_style_listed_at", "shares", ["mode", "style", "listed_at"])
    op.create_index("ix_shares_attention_at", "shares", ["attention_at"])
    op.create_index("ix_shares_hidden_at", "shares", ["hidden_at"])
    op.create_table(
        "share_reports",
        sa.Column("id", row_id(), autoincrement=True, nullable=False),
        sa.Column("share_id", row_id(), nullable=False),
        sa.Column("reporter", ascii_id(64), nullable=False),
        sa.Column("reason", ascii_id(16), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("handled_at", moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_share_reports")),
        sa.UniqueConstraint("share_id", "reporter", name=op.f("uq_share_reports_share_id")),
        **TABLE,
    )
    op.create_table(
        "share_counts",
        sa.Column("mode", ascii_id(16), nullable=False),
        sa.Column("style", ascii_id(32), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mode", "style", name=op.f("pk_share_counts")),
        **TABLE,
    )
    op.create_index("ix_image_tasks_wants_gallery_outcome", "image_tasks", ["wants_gallery", "outcome"])


def downgrade() -> None:
    op.drop_index("ix_image_tasks_wants_gallery_outcome", "image_tasks")
    for name in ("share_counts", "share_reports", "shares"):
        op.drop_table(name)
