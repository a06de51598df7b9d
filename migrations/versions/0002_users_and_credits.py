"""Users, their sessions and the ledger. A users table of an earlier installation is adopted as it is.

Revision ID: 0002
Revises: 0001
"""

import hashlib
import unicodedata
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLE = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_ci"), ("engine", "InnoDB"))
}
BATCH = 500


def ascii_id(length: int) -> sa.types.TypeEngine:
    wide = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(wide, "mysql", "mariadb")


def row_id() -> sa.types.TypeEngine:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def moment() -> sa.types.TypeEngine:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def user_id() -> sa.types.TypeEngine:
    """A column that holds users.id, of the very collation that an adopted table has: others would not compare."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        return sa.String(50)
    charset, collation = connection.execute(
        sa.text(
            "SELECT CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLUMNS"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'users' AND COLUMN_NAME = 'id'"
        )
    ).one()
    return mysql.VARCHAR(50, charset=charset, collation=collation)


def upgrade() -> None:
    had_users = sa.inspect(op.get_bind()).has_table("users")
    if not had_users:
        create_users()
    create_profiles_and_sessions()
    create_ledger()
    if had_users:
        adopt_users()


def create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(50), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=True),
        sa.Column("name", sa.String(255), nullable=True),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("provider", sa.String(50), nullable=True),
        sa.Column("created_at", moment(), nullable=True),
        sa.Column("last_login", moment(), nullable=True),
        sa.Column("monthly_credits", sa.Integer(), server_default="30", nullable=False),
        sa.Column("credits_reset_at", moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        **TABLE,
    )


def create_profiles_and_sessions() -> None:
    op.create_table(
        "user_profiles",
        sa.Column("user_id", user_id(), nullable=False),
        sa.Column("email_key", ascii_id(64), nullable=False),
        sa.Column("google_sub", ascii_id(255), nullable=True),
        sa.Column("email_verified_at", moment(), nullable=True),
        sa.Column("adopted_at", moment(), nullable=True),
        sa.Column("locale", ascii_id(16), nullable=True),
        sa.Column("role", ascii_id(16), nullable=False),
        sa.Column("blocked_at", moment(), nullable=True),
        sa.CheckConstraint("role IN ('user', 'admin')", name=op.f("ck_user_profiles_role")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_profiles")),
        sa.UniqueConstraint("email_key", name=op.f("uq_user_profiles_email_key")),
        sa.UniqueConstraint("google_sub", name=op.f("uq_user_profiles_google_sub")),
        **TABLE,
    )
    op.create_table(
        "user_sessions",
        sa.Column("token_hash", ascii_id(64), nullable=False),
        sa.Column("public_id", ascii_id(32), nullable=False),
        sa.Column("user_id", user_id(), nullable=False),
        sa.Column("user_agent", sa.String(255), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("fresh_at", moment(), nullable=False),
        sa.Column("last_seen_at", moment(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_user_sessions")),
        sa.UniqueConstraint("public_id", name=op.f("uq_user_sessions_public_id")),
        **TABLE,
    )
    op.create_index("ix_user_sessions_user_id", "user_sessions", ["user_id"])
    op.create_index("ix_user_sessions_expires_at", "user_sessions", ["expires_at"])


def create_ledger() -> None:
    op.create_table(
        "credit_entries",
        sa.Column("id", row_id(), autoincrement=True, nullable=False),
        sa.Column("user_id", user_id(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("kind", ascii_id(16), nullable=False),
        sa.Column("business_key", ascii_id(160), nullable=False),
        sa.Column("task_id", ascii_id(64), nullable=True),
        sa.Column("reason", sa.String(255), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_credit_entries_amount")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_entries")),
        sa.UniqueConstraint("business_key", name=op.f("uq_credit_entries_business_key")),
        **TABLE,
    )
    op.create_index("ix_credit_entries_user_id_id", "credit_entries", ["user_id", "id"])
    op.create_table(
        "audit_log",
        sa.Column("id", row_id(), autoincrement=True, nullable=False),
        sa.Column("actor", sa.String(80), nullable=False),
        sa.Column("action", ascii_id(32), nullable=False),
        sa.Column("subject", sa.String(80), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        **TABLE,
    )


def adopt_users() -> None:
    """Give every user that is there already a profile and one opening entry; the rows themselves stay untouched."""
    connection = op.get_bind()
    users = sa.table("users", *(sa.column(name) for name in ("id", "email", "monthly_credits", "last_login")))
    profiles = sa.table("user_profiles", *(sa.column(name) for name in ("user_id", "email_key", "adopted_at", "role")))
    entries = sa.table(
        "credit_entries",
        *(sa.column(name) for name in ("user_id", "amount", "kind", "business_key", "created_at")),
    )
    # A missing balance is none: arithmetic with NULL would refuse every later grant.
    connection.execute(users.update().where(users.c.monthly_credits.is_(None)).values(monthly_credits=0))
    now = datetime.now(UTC).replace(tzinfo=None)
    # Of two addresses that differ in case alone, the one that was used last is found however it is typed.
    last_used_first = (users.c.last_login.is_(None), users.c.last_login.desc(), users.c.id)
    rows = connection.execute(
        sa.select(users.c.id, users.c.email, users.c.monthly_credits).order_by(*last_used_first)
    ).all()
    taken: set[str] = set()
    for begin in range(0, len(rows), BATCH):
        people, postings = [], []
        for row in rows[begin : begin + BATCH]:
            key = email_key(row.email)
            if key in taken:
                key = written_key(row.email)
            taken.add(key)
            people.append({"user_id": row.id, "email_key": key, "adopted_at": now, "role": "user"})
            if row.monthly_credits:
                postings.append(
                    {
                        "user_id": row.id,
                        "amount": row.monthly_credits,
                        "kind": "opening",
                        "business_key": f"opening-{row.id}",
                        "created_at": now,
                    }
                )
        connection.execute(profiles.insert(), people)
        if postings:
            connection.execute(entries.insert(), postings)


def email_key(email: str) -> str:
    """As `services.accounts.email_key` was at this revision."""
    return hashlib.sha256(unicodedata.normalize("NFKC", email.strip()).casefold().encode()).hexdigest()


def written_key(email: str) -> str:
    """As `services.accounts.written_key` was at this revision."""
    return hashlib.sha256(f"as written {email.strip()}".encode()).hexdigest()


def downgrade() -> None:
    """The users table stays: it may hold the rows of an earlier installation."""
    for table in ("audit_log", "credit_entries", "user_sessions", "user_profiles"):
        op.drop_table(table)
