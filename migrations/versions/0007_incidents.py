"""What is wrong with the installation and who was told when: the alerts' memory.

Revision ID: 0007
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0005"
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


def moment() -> sa.types.TypeEngine:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("cause", ascii_id(40), nullable=False),
        sa.Column("text", sa.String(500), nullable=False),
        sa.Column("since", moment(), nullable=False),
        sa.Column("last_sent_at", moment(), nullable=True),
        sa.Column("mended_at", moment(), nullable=True),
        sa.PrimaryKeyConstraint("cause", name=op.f("pk_incidents")),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("incidents")
