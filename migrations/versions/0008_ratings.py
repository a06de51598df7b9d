"""Visitors' thumbs for their pictures.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"
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
        "ratings",
        sa.Column("task_id", row_id(), autoincrement=False, nullable=False),
        sa.Column("verdict", ascii_id(8), nullable=False),
        sa.Column("word", sa.String(280), nullable=True),
        sa.Column("rated_at", moment(), nullable=False),
        sa.CheckConstraint("verdict IN ('up', 'down')", name=op.f("ck_ratings_verdict")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_ratings")),
        **TABLE,
    )
    op.create_index("ix_ratings_rated_at", "ratings", ["rated_at"])


def downgrade() -> None:
    op.drop_table("ratings")
