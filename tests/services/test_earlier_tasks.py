"""A table of tasks of an earlier installation is upgraded with its rows kept: by the script, and by the migrations."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import Connection, create_engine, inspect, text

from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import processors
from ghibli_flask.task_states import TaskState
from tests.support.checkout import ROOT, offline_env
from tests.support.mariadb_server import PASSWORD, USER, MariaDBServer
from tests.support.visitor import Visitor

_numbers = itertools.count(1)

# What an earlier installation can have had: its own id, its own columns, and neither `progress` nor `stage`.
FOREIGN = """
CREATE TABLE image_tasks (
  id VARCHAR(64) NOT NULL PRIMARY KEY,
  user_id VARCHAR(50),
  prompt TEXT,
  status VARCHAR(20) NOT NULL,
  result_url VARCHAR(500) NOT NULL,
  expires_at DATETIME,
  created_at DATETIME
)
"""
NUMBERED = """
CREATE TABLE image_tasks (
  id INTEGER NOT NULL PRIMARY KEY,
  task_id VARCHAR(64),
  status VARCHAR(20),
  progress INTEGER,
  stage TEXT
)
"""
PICTURE = "https://pictures.example/1.png"
FOREIGN_ROWS = [
    ("4f2c-done", "u-1", "a red boat, 圭子 🎨", "completed", PICTURE, "2025-02-01 00:00:00", "2025-01-01 10:00:00"),
    ("4f2c-live", None, None, "processing", "", None, None),
    ("not an id of ours", "ü", "x" * 5000, "whatever", "", None, "2025-01-01 00:00:00"),
]
NUMBERED_ROWS = [(7, "first", "completed", 100, "done"), (9, "second", "failed", 40, "Generating…")]
FOREIGN_NAMES = ("id", "user_id", "prompt", "status", "result_url", "expires_at", "created_at")
NUMBERED_NAMES = ("id", "task_id", "status", "progress", "stage")


@pytest.fixture
def earlier_url(each_database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database of its own."""
    if each_database == "sqlite":
        yield f"sqlite:///{tmp_path / 'earlier.sqlite3'}"
        return
    server: MariaDBServer = request.getfixturevalue("mariadb_server")
    name = f"ghibli_tasks_{next(_numbers)}"
    as_root(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4", f"GRANT ALL ON {name}.* TO '{USER}'@'127.0.0.1'")
    yield f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{server.port}/{name}?charset=utf8mb4"
    as_root(server, f"DROP DATABASE {name}")


def as_root(server: MariaDBServer, *statements: str) -> None:
    """Do what the application's user may not, through the server's socket."""
    socket = server.folder / "mariadb.sock"
    for statement in statements:
        subprocess.run(["mariadb", "--no-defaults", f"--socket={socket}", "-uroot", "-e", statement], check=True)


@contextmanager
def connected(address: str) -> Iterator[Connection]:
    """A transaction of the test's own."""
    engine = create_engine(address)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def build(address: str, table: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Make an earlier table by hand."""
    places = ", ".join(f":{name}" for name in names)
    with connected(address) as connection:
        connection.execute(text(table))
        statement = text(f"INSERT INTO image_tasks ({', '.join(names)}) VALUES ({places})")
        connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])


def rows_of(address: str, *names: str) -> list[tuple[str, ...]]:
    """These columns of every row as texts, in a settled order."""
    with connected(address) as connection:
        found = connection.execute(text(f"SELECT {', '.join(names)} FROM image_tasks")).all()
    return sorted(tuple(str(value) for value in row) for row in found)


def columns(address: str) -> set[str]:
    """The table's columns."""
    with connected(address) as connection:
        return {column["name"] for column in inspect(connection).get_columns("image_tasks")}


def run_script(address: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Type what an operator types."""
    env = offline_env(DATABASE_URL=address, INSTANCE_DIR=str(tmp_path))
    command = [ROOT / ".venv/bin/python", "scripts/add_progress_columns.py"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def migrated(app_factory: Callable[..., Flask], address: str) -> Flask:
    """The application on this database, after the migrations."""
    app = app_factory(database_url=address)
    with app.app_context():
        upgrade()
    return app


def test_the_script_adds_what_is_missing(earlier_url: str, tmp_path: Path) -> None:
    """It adds both columns once, prints what it finds each time, and leaves every value of every row."""
    build(earlier_url, FOREIGN, FOREIGN_NAMES, FOREIGN_ROWS)
    before = rows_of(earlier_url, *FOREIGN_NAMES)
    for last_line in ("added: progress, stage", "nothing was missing"):
        done = run_script(earlier_url, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            f"image_tasks has the columns {', '.join(FOREIGN_NAMES)}, progress, stage",
            last_line,
        ]
        assert rows_of(earlier_url, *FOREIGN_NAMES) == before
        assert [(status, float(part), stage) for status, part, stage in rows_of(
            earlier_url, "status", "progress", "stage"
        )] == [("completed", 100, "done"), ("processing", 0, "queued"), ("whatever", 0, "queued")]  # fmt: skip


def test_the_script_adds_one(earlier_url: str, tmp_path: Path) -> None:
    """Of a table that has one of the two, that one stays as it is."""
    build(earlier_url, "CREATE TABLE image_tasks (id INTEGER, progress INTEGER)", ("id", "progress"), [(1, 55)])
    assert run_script(earlier_url, tmp_path).stdout.endswith("added: stage\n")
    assert rows_of(earlier_url, "id", "progress", "stage") == [("1", "55", "queued")]


def test_the_script_on_other_databases(tmp_path: Path) -> None:
    """Without the table, and without a database, it says so in one line and ends with 1."""
    done = run_script(f"sqlite:///{tmp_path / 'empty.sqlite3'}", tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert "no table image_tasks" in done.stdout
    done = run_script("mysql+pymysql://x:y@127.0.0.1:1/z", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "127.0.0.1" in done.stderr


def test_the_migrations_keep_every_row(earlier_url: str, app_factory: Callable[..., Flask]) -> None:
    """A foreign table becomes ours: its rows and columns are there, with the two new ones, and orders work upon it."""
    build(earlier_url, FOREIGN, FOREIGN_NAMES, FOREIGN_ROWS)
    kept = ("user_id", "result_url")
    before = rows_of(earlier_url, "id", *kept)
    app = migrated(app_factory, earlier_url)
    assert columns(earlier_url) >= {"progress", "stage", "public_id", "earlier_id", "earlier_expires_at", *kept}
    assert rows_of(earlier_url, "earlier_id", *kept) == before
    assert [(status, float(part), stage) for status, part, stage in rows_of(
        earlier_url, "status", "progress", "stage"
    )] == [("completed", 100, "done"), ("failed", 0, "queued"), ("failed", 0, "queued")]  # fmt: skip
    assert {row[0] for row in rows_of(earlier_url, "prompt")} == {"a red boat, 圭子 🎨", "", "x" * 5000}
    with app.app_context():
        told = processors.view("4f2c-done")
        assert (told.state, told.progress, told.has_result) == (TaskState.COMPLETED, 100, False)
        assert processors.view("4f2c-live").state is TaskState.FAILED
    visitor = Visitor(app)
    assert visitor.poll(visitor.ordered())["status"] == "PENDING"


def test_the_migrations_keep_numbers(earlier_url: str, app_factory: Callable[..., Flask]) -> None:
    """Where ids are numbers they stay, a stage in others' words becomes ours, and migrating again is harmless."""
    build(earlier_url, NUMBERED, NUMBERED_NAMES, NUMBERED_ROWS)
    app = migrated(app_factory, earlier_url)
    expected = [("7", "first", "first", "completed", "done"), ("9", "second", "second", "failed", "queued")]
    assert rows_of(earlier_url, "id", "task_id", "alias", "status", "stage") == expected
    migrated(app_factory, earlier_url)
    assert len(rows_of(earlier_url, "id")) == 2
    assert Visitor(app).ordered()


def test_the_migrations_bear_every_name(earlier_url: str, app_factory: Callable[..., Flask]) -> None:
    """A foreign table may have columns of any name that ours has now, in words of its own."""
    names = [column.name for column in ImageTask.__table__.columns if column.name not in {"public_id", "id"}]
    table = f"CREATE TABLE image_tasks (id INTEGER PRIMARY KEY, {', '.join(f'{name} VARCHAR(20)' for name in names)})"
    build(earlier_url, table, ("id", *names), [(1, *("their own words" for _name in names))])
    app = migrated(app_factory, earlier_url)
    assert rows_of(earlier_url, "id", "status", "prompt") == [("1", "failed", "their own words")]
    assert Visitor(app).ordered()


def test_the_migrations_repair_our_own_table(earlier_url: str, app_factory: Callable[..., Flask]) -> None:
    """Our own table without the two columns, on a database that has forgotten its revision, keeps ids and states."""
    app = app_factory(database_url=earlier_url)
    with app.app_context():
        upgrade(revision="0001")
    with connected(earlier_url) as connection:
        for name in ("allowances", "discarded_files", "health_checks", "alembic_version"):
            connection.execute(text(f"DROP TABLE {name}"))
        values = {"public_id": "a" * 32, "payer": "guest:x", "prompt": "", "mode": "image-to-image", "style": "night"}
        values |= {"seed": 5, "status": "completed", "progress": 100, "stage": "done", "paid_on": "2026-01-01"}
        values |= dict.fromkeys(("attempt", "ring", "deaths", "handbacks", "charged", "refunded"), 1)
        values |= dict.fromkeys(("created_at", "queued_at", "deadline_at"), "2026-01-01 00:00:00.000000")
        values |= {"fingerprint": "f"}
        places = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO image_tasks ({', '.join(values)}) VALUES ({places})"), values)
        others = ", ".join(["id", *(name for name in values if name not in {"progress", "stage"})])
        connection.execute(text(f"CREATE TABLE behind AS SELECT {others} FROM image_tasks"))
        connection.execute(text("DROP TABLE image_tasks"))
        connection.execute(text("ALTER TABLE behind RENAME TO image_tasks"))
    migrated(app_factory, earlier_url)
    names = ("id", "public_id", "style", "seed", "status", "stage", "charged")
    assert rows_of(earlier_url, *names) == [("1", "a" * 32, "night", "5", "completed", "done", "1")]
    assert Visitor(app).ordered()
