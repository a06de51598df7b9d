"""The first tables: tasks, free tries, files that nobody owns yet, results of periodic duties.

A table of tasks of an earlier installation becomes ours: every row stays, with each column that it had, gains
`progress` and `stage` and the rest of what a task has here, and counts as ended, because nobody works on it any more.

Revision ID: 0001
Revises:
"""

import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

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


EARLIER = "image_tasks_earlier"
BATCH = 500
# Columns of later revisions: an earlier table may have others of the same names.
LATER = {
    "wants_gallery", "is_shared", "expires_at", "source_expires_at", "thumbnail_store", "thumbnail_key",
    "result_width", "result_height",
}  # fmt: skip
STATES = ("completed", "failed", "cancelled")
STAGES = ("queued", "connecting", "waiting_for_gpu", "painting", "downloading", "saving", "done")


def ascii_id(length: int) -> sa.types.TypeEngine:
    wide = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(wide, "mysql", "mariadb")


def row_id() -> sa.types.TypeEngine:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def moment() -> sa.types.TypeEngine:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    set_earlier_tasks_aside()
    create_tables()
    bring_earlier_tasks_over()


def create_tables() -> None:
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


def set_earlier_tasks_aside() -> None:
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    if not inspector.has_table("image_tasks") or inspector.has_table(EARLIER):
        return
    # Names of indexes belong to the whole file on SQLite, and to their table elsewhere.
    indexes = inspector.get_indexes("image_tasks") if connection.dialect.name == "sqlite" else []
    for index in indexes:
        op.drop_index(index["name"], "image_tasks")
    op.rename_table("image_tasks", EARLIER)


def bring_earlier_tasks_over() -> None:
    """Give our table the earlier one's further columns and its rows, and let the earlier one go."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    if not inspector.has_table(EARLIER):
        return
    ours = {column["name"].lower() for column in inspector.get_columns("image_tasks")}
    earlier = inspector.get_columns(EARLIER)
    is_ours = any(column["name"] == "public_id" for column in earlier)
    kept: dict[str, str] = {}
    for column in earlier:
        name = column["name"]
        if name.lower() in ours and (name != "id" or isinstance(column["type"], sa.Integer)):
            continue
        kept[name] = f"earlier_{name}" if name.lower() in LATER | ours else name
        op.add_column("image_tasks", sa.Column(kept[name], column["type"], nullable=True))
    make = own_values if is_ours else foreign_values
    for rows in batches(sa.text(f"SELECT * FROM {EARLIER}"), make, kept):  # noqa: S608 - a constant.
        # Not typed: what the driver gave is what it gets back.
        connection.execute(sa.insert(sa.table("image_tasks", *(sa.column(name) for name in rows[0]))), rows)
    op.drop_table(EARLIER)


def batches(
    question: sa.TextClause, make: Callable[[dict[str, Any], set[str]], dict[str, Any]], kept: dict[str, str]
) -> Iterator[list[dict[str, Any]]]:
    """The earlier rows as rows of ours, some at a time."""
    found = op.get_bind().execute(question).mappings().all()
    taken: set[str] = set()
    for begin in range(0, len(found), BATCH):
        yield [
            make(dict(row), taken) | {new: row[name] for name, new in kept.items()}
            for row in found[begin : begin + BATCH]
        ]


def own_values(row: dict[str, Any], taken: set[str]) -> dict[str, Any]:
    """A row of our own table that lacks columns, `progress` and `stage` first of all: its values win."""
    defaults = foreign_values(row, taken)
    return {name: row.get(name, value) for name, value in defaults.items()}


def foreign_values(row: dict[str, Any], taken: set[str]) -> dict[str, Any]:
    """What a task of ours has, made of a row whose columns we can only guess; what was still going on has failed."""
    said = {name.lower(): value for name, value in row.items()}
    made = moment_of(said.get("created_at")) or datetime.now(UTC).replace(tzinfo=None)
    status = str(said.get("status") or "").lower()
    state = status if status in STATES else "failed"
    owner = owner_of(said.get("user_id") or said.get("userid"))
    stage = str(said.get("stage") or "")
    values = {
        "public_id": secrets.token_hex(16),
        "alias": alias_of(said, taken),
        "owner": owner,
        "payer": owner or "processor",
        "retry_of": None,
        "mode": "image-to-image",
        "prompt": str(said.get("prompt") or ""),
        "style": "ghibli",
        "width": number_of(said.get("width"), 256, 1024),
        "height": number_of(said.get("height"), 256, 1024),
        "seed": number_of(said.get("seed"), 0, 2**31 - 1) or 0,
        "engine": None,
        "status": state,
        "progress": 100 if state == "completed" else number_of(said.get("progress"), 0, 100) or 0,
        "stage": stage if stage in STAGES else "done" if state == "completed" else "queued",
        **dict.fromkeys(("attempt", "ring", "deaths", "handbacks", "charged", "refunded"), 0),
        "outcome": "painted" if state == "completed" else state,
        "error_code": "interrupted" if state == "failed" else None,
        **dict.fromkeys(("note", "source_store", "source_key", "result_store", "result_key"), None),
        "address_subject": None,
        "paid_on": made.date().isoformat(),
        "idempotency_key": None,
        "fingerprint": "0" * 64,
        **dict.fromkeys(("created_at", "queued_at", "deadline_at"), made.isoformat(" ")),
        # Without an end: what is kept for so many days after its end stays.
        **dict.fromkeys(("started_at", "heartbeat_at", "finished_at", "deleted_at"), None),
    }
    if isinstance(said.get("id"), int):
        values["id"] = said["id"]
    return values


def alias_of(said: dict[str, Any], taken: set[str]) -> str | None:
    """The id under which a task was known, when it has the form of one and nobody else has it."""
    known = next((said[name] for name in ("task_id", "taskid", "uuid", "id") if said.get(name) is not None), None)
    if not isinstance(known, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", known) or known in taken:
        return None
    taken.add(known)
    return known


def owner_of(user: object) -> str | None:
    return f"user:{user}" if re.fullmatch(r"[!-~]{1,50}", str(user or "")) else None


def number_of(value: object, least: int, most: int) -> int | None:
    try:
        number = int(float(str(value)))
    except (ValueError, OverflowError):
        return None
    return number if least <= number <= most else None


def moment_of(value: object) -> datetime | None:
    """A moment as UTC without a zone, from whatever a driver gives for it."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


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
