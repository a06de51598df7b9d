#!/usr/bin/env python3
"""Give the tasks' table of an earlier installation the columns `progress` and `stage`, its rows kept.

    python scripts/add_progress_columns.py

Reads the database's address from the settings as everything else does, works on SQLite, MySQL and MariaDB, and may
be run as often as one likes: it prints the columns that it finds, and adds only what is missing. `flask db upgrade`
does the same on its way; this is for a table that has to be helped at once. Exit code 1 when there is no such table.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import OperationalError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ghibli_flask.settings import SettingsError, load_settings

TABLE = "image_tasks"
COLUMNS = {
    "progress": "NUMERIC(5, 2) NOT NULL DEFAULT 0",
    # MySQL gives texts no default, so the rows get their word below.
    "stage": "TEXT NULL",
}
# A row from before has ended one way or the other; a word that the application knows has to stand in each.
FILL = {
    "progress": "UPDATE image_tasks SET progress = 100 WHERE status = 'completed'",
    "stage": "UPDATE image_tasks SET stage = CASE status WHEN 'completed' THEN 'done' ELSE 'queued' END",
}
FILL_WITHOUT_STATUS = {"stage": "UPDATE image_tasks SET stage = 'queued'"}


def columns_of(connection: Connection) -> list[str]:
    """The names of the table's columns, in their order; raises NoSuchTableError."""
    return [column["name"] for column in inspect(connection).get_columns(TABLE)]


def add_missing(connection: Connection) -> list[str]:
    """Add those of the two columns that are missing; gives their names."""
    present = columns_of(connection)
    fill = FILL if "status" in present else FILL_WITHOUT_STATUS
    missing = [name for name in COLUMNS if name not in present]
    for name in missing:
        connection.execute(text(f"ALTER TABLE {TABLE} ADD COLUMN {name} {COLUMNS[name]}"))
        if name in fill:
            connection.execute(text(fill[name]))
    return missing


def main() -> int:
    """Add what is missing and say what there is."""
    try:
        address = load_settings().database_address
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    engine = create_engine(address)
    try:
        with engine.begin() as connection:
            if not inspect(connection).has_table(TABLE):
                print(f"There is no table {TABLE}. A new database is made by: flask --app wsgi db upgrade")
                return 1
            added = add_missing(connection)
            print(f"{TABLE} has the columns {', '.join(columns_of(connection))}")
    except OperationalError as error:
        print(f"The database does not let itself be changed: {error.orig}", file=sys.stderr)
        return 1
    finally:
        engine.dispose()
    print(f"added: {', '.join(added)}" if added else "nothing was missing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
