"""A users table of an earlier installation is adopted with every row and balance kept: built by hand, then migrated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import pymysql
import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import Connection, create_engine, select, text

from ghibli_flask.database import reading
from ghibli_flask.errors import InvalidFields, WrongCredentials
from ghibli_flask.models.credit import CreditEntry
from ghibli_flask.models.user import User, UserProfile
from ghibli_flask.services import accounts, credits, google, sessions
from ghibli_flask.services.allowances import guest_of
from ghibli_flask.services.google import Identity
from tests.support.mariadb_server import PASSWORD as MARIADB_PASSWORD
from tests.support.mariadb_server import USER as MARIADB_USER
from tests.support.mariadb_server import MariaDBServer

_numbers = itertools.count(1)

OLD_PASSWORD = "what people chose in those days"
LONG_PASSWORD = "a sentence that is longer than the seventy-two bytes at which older libraries stopped reading"


def older_hash(password: str, prefix: str) -> str:
    """A bcrypt hash as older libraries wrote it, of the first 72 bytes; `2y` is what PHP calls `2b`."""
    made = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4, prefix=b"2a" if prefix == "2a" else b"2b")).decode()
    return made.replace("$2b$", f"${prefix}$")


HASHES = {prefix: older_hash(OLD_PASSWORD, prefix) for prefix in ("2a", "2b", "2y")}

COLUMNS = (
    "id", "email", "password_hash", "name", "image", "provider",
    "created_at", "last_login", "monthly_credits", "credits_reset_at",
)  # fmt: skip
LAST_YEAR, NEXT_CENTURY = "2025-03-01 00:00:00", "2125-01-01 00:00:00"

# The rows of an earlier installation: what it can have held in each column, one thing a row.
ROWS: tuple[tuple[Any, ...], ...] = (
    ("u-google", "anna@gmail.com", None, "Anna", "https://lh3.example/a", "google",
     "2025-01-02 03:04:05", "2025-02-02 03:04:05", 30, LAST_YEAR),
    ("u-google-empty", "ben@gmail.com", "", "Ben", None, "google", "2025-01-02 03:04:05", None, 12, None),
    ("u-2a", "Carla@Example.com", HASHES["2a"], "Carla", None, "credentials",
     "2025-01-03 00:00:00", "2025-01-03 00:00:00", 0, LAST_YEAR),
    ("u-2b", "dora@example.com", HASHES["2b"], None, None, "credentials", None, None, 7, NEXT_CENTURY),
    ("u-2y", "emil@example.com", HASHES["2y"], "Emil", None, None, "2025-01-04 00:00:00", None, 31, LAST_YEAR),
    ("u-long", "finn@example.com", older_hash(LONG_PASSWORD, "2b"), "Finn", None, "credentials",
     "2025-01-05 00:00:00", None, 100000, NEXT_CENTURY),
    ("u-damaged", "gina@example.com", HASHES["2b"][:-5], "Gina", None, "credentials", None, None, 1, None),
    ("u-nobody", "hans@example.com", None, None, None, None, None, None, 3, None),
    ("u-balance-missing", "ida@example.com", HASHES["2b"], "Ida", None, "credentials", None, None, None, None),
    ("u-umlaut", "jörg@example.com", HASHES["2b"], "Jörg Müßig – “Façade”", None, "credentials",
     "2025-01-06 00:00:00", None, 5, NEXT_CENTURY),
    ("u-han", "kei@example.com", HASHES["2b"], "圭子", None, "credentials",
     "2025-01-07 00:00:00", None, 6, NEXT_CENTURY),
    ("u-emoji", "lou@example.com", HASHES["2b"], "Lou 🎨🖌️", None, "credentials",
     "2025-01-08 00:00:00", None, 8, NEXT_CENTURY),
    ("u-" + "x" * 48, "max@example.com", HASHES["2b"], "M" * 255, "https://example.com/" + "m" * 300, "credentials",
     "2025-01-09 00:00:00", None, 9, NEXT_CENTURY),
)  # fmt: skip

# Two people, or one twice, whose addresses differ in case alone: possible where addresses are compared byte by byte.
TWINS: tuple[tuple[Any, ...], ...] = (
    ("u-twin-old", "Twin@example.com", older_hash("the older twin's words", "2b"), "Old", None, "credentials",
     "2025-01-01 00:00:00", "2025-01-01 00:00:00", 2, NEXT_CENTURY),
    ("u-twin-new", "twin@example.com", older_hash("the newer twin's words", "2b"), "New", None, "credentials",
     "2025-01-01 00:00:00", "2025-06-01 00:00:00", 4, NEXT_CENTURY),
)  # fmt: skip

MARIADB_TABLE = """
CREATE TABLE users (
  id VARCHAR(50) NOT NULL PRIMARY KEY,
  email VARCHAR(255) NOT NULL UNIQUE,
  password_hash VARCHAR(255),
  name VARCHAR(255),
  image TEXT,
  provider VARCHAR(50) DEFAULT 'credentials',
  created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
  last_login DATETIME,
  monthly_credits INT DEFAULT 30,
  credits_reset_at DATETIME
) ENGINE=InnoDB DEFAULT CHARSET={charset} COLLATE={collation}
"""
SQLITE_TABLE = MARIADB_TABLE.partition(" ENGINE=")[0]


@dataclass(frozen=True)
class Past:
    """An earlier installation: which database and letters it had, and how far the new migrations had come."""

    name: str
    charset: str | None
    collation: str
    encoding: str
    start: str | None
    has_twins: bool = False
    rows: tuple[tuple[Any, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        candidates = ROWS + (TWINS if self.has_twins else ())
        fitting = tuple(row for row in candidates if self._fits(f"{row[1]}{row[3]}"))
        object.__setattr__(self, "rows", fitting)

    def _fits(self, words: str) -> bool:
        try:
            words.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True


PASTS = (
    # What MySQL calls latin1 is Windows-1252.
    Past("latin1", "latin1", "latin1_swedish_ci", "cp1252", start=None),
    Past("utf8mb4", "utf8mb4", "utf8mb4_general_ci", "utf-8", start="0001"),
    Past("utf8mb4 by bytes", "utf8mb4", "utf8mb4_bin", "utf-8", start=None, has_twins=True),
    Past("sqlite", None, "", "utf-8", start="0001", has_twins=True),
)


class Installation:
    """An earlier installation's database, and the application upon it."""

    def __init__(self, past: Past, address: str, app: Flask) -> None:
        self.past, self.address, self.app = past, address, app

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A transaction of the test's own, beside the application's."""
        engine = create_engine(self.address)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def migrate(self, revision: str = "head") -> None:
        """Bring the database to a revision, as `flask db upgrade` does."""
        with self.app.app_context():
            upgrade(revision=revision)

    def build(self) -> None:
        """Make the table by hand and enter its rows."""
        past = self.past
        table = MARIADB_TABLE.format(charset=past.charset, collation=past.collation) if past.charset else SQLITE_TABLE
        names, places = ", ".join(COLUMNS), ", ".join(f":{name}" for name in COLUMNS)
        with self.connection() as connection:
            connection.execute(text(table))
            rows = [dict(zip(COLUMNS, row, strict=True)) for row in past.rows]
            connection.execute(text(f"INSERT INTO users ({names}) VALUES ({places})"), rows)

    def bytes_of_rows(self) -> dict[str, tuple[Any, ...]]:
        """Every value of every row as the database holds it, in hexadecimal, by the row's id."""
        values = ", ".join(f"HEX({name})" for name in COLUMNS)
        with self.connection() as connection:
            return {row[0]: tuple(row[1:]) for row in connection.execute(text(f"SELECT id, {values} FROM users"))}

    def table_text(self) -> str:
        """The table's columns, keys and letters as the database tells them."""
        if self.past.charset:
            question = "SHOW CREATE TABLE users"
        else:
            question = "SELECT name, sql FROM sqlite_master WHERE name = 'users'"
        with self.connection() as connection:
            return str(connection.execute(text(question)).one()[1])


@pytest.fixture
def own_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Past], str]]:
    """Make an empty database for an earlier installation; dropped after the test."""
    made: list[str] = []

    def make(past: Past) -> str:
        if past.charset is None:
            return f"sqlite:///{tmp_path / 'earlier.sqlite3'}"
        server: MariaDBServer = request.getfixturevalue("mariadb_server")
        name = f"ghibli_earlier_{next(_numbers)}"
        made.append(name)
        letters = f"CHARACTER SET {past.charset} COLLATE {past.collation}"
        as_root(server, f"CREATE DATABASE {name} {letters}", f"GRANT ALL ON {name}.* TO '{MARIADB_USER}'@'127.0.0.1'")
        return f"mysql+pymysql://{MARIADB_USER}:{MARIADB_PASSWORD}@127.0.0.1:{server.port}/{name}?charset=utf8mb4"

    yield make
    for name in made:
        as_root(request.getfixturevalue("mariadb_server"), f"DROP DATABASE {name}")


def as_root(server: MariaDBServer, *statements: str) -> None:
    """Do what the application's user may not, through the server's socket."""
    with pymysql.connect(unix_socket=str(server.folder / "mariadb.sock"), user="root") as connection:
        for statement in statements:
            connection.cursor().execute(statement)


@pytest.fixture(params=PASTS, ids=lambda past: past.name)
def earlier(
    request: pytest.FixtureRequest, own_database: Callable[[Past], str], app_factory: Callable[..., Flask]
) -> Installation:
    """An earlier installation with its rows, not yet migrated to the end."""
    past: Past = request.param
    address = own_database(past)
    installation = Installation(past, address, app_factory(database_url=address))
    if past.start:
        installation.migrate(past.start)
    installation.build()
    return installation


@pytest.fixture
def adopted(earlier: Installation) -> Installation:
    """An earlier installation after the migrations."""
    earlier.migrate()
    return earlier


def sign_in(adopted: Installation, email: str, password: str) -> accounts.Account:
    """Sign in by address and password."""
    with adopted.app.app_context():
        return accounts.sign_in(email, password, "192.0.2.1")


def test_every_row_is_kept(earlier: Installation) -> None:
    """The migrations leave the table's columns and letters and every byte of its rows as they were."""
    rows, table = earlier.bytes_of_rows(), earlier.table_text()
    assert len(rows) == len(earlier.past.rows) >= 11
    earlier.migrate()
    # A balance that was missing is none from now on; nothing else differs.
    missing = list(rows["u-balance-missing"])
    missing[COLUMNS.index("monthly_credits")] = "0" if earlier.past.charset else "30"
    assert earlier.bytes_of_rows() == {**rows, "u-balance-missing": tuple(missing)}
    assert earlier.table_text() == table


def test_migrating_twice_is_harmless(adopted: Installation) -> None:
    """A second run of the migrations changes neither rows nor entries."""
    rows, entries = adopted.bytes_of_rows(), entries_of(adopted)
    adopted.migrate()
    assert (adopted.bytes_of_rows(), entries_of(adopted)) == (rows, entries)


def entries_of(adopted: Installation) -> list[tuple[str, int, str, str]]:
    """The ledger."""
    with adopted.app.app_context(), reading() as session:
        rows = session.scalars(select(CreditEntry).order_by(CreditEntry.user_id))
        return [(row.user_id, row.amount, row.kind, row.business_key) for row in rows]


def test_each_balance_has_one_opening_entry(adopted: Installation) -> None:
    """Each balance but a zero is one entry under the key opening-<user>, and the books are right."""
    balances = {row[0]: row[8] for row in adopted.past.rows if row[8]}
    expected = sorted((user_id, amount, "opening", f"opening-{user_id}") for user_id, amount in balances.items())
    assert sorted(entries_of(adopted)) == expected
    with adopted.app.app_context():
        assert credits.differences() == []


def test_everybody_has_a_profile(adopted: Installation) -> None:
    """Each user is adopted: not confirmed by us, bound to no Google account, no administrator, and found by id."""
    with adopted.app.app_context():
        for row in adopted.past.rows:
            account = accounts.find(row[0])
            assert (account.user.email, account.user.name) == (row[1], row[3])
            assert account.profile.adopted_at is not None
            assert (account.profile.email_verified_at, account.profile.google_sub) == (None, None)
            assert (account.profile.role, account.may_sign_in) == ("user", True)


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("carla@example.com", OLD_PASSWORD),
        ("dora@example.com", OLD_PASSWORD),
        ("EMIL@example.com", OLD_PASSWORD),
        ("finn@example.com", LONG_PASSWORD),
        ("jörg@example.com", OLD_PASSWORD),
    ],
    ids=["2a", "2b", "2y", "long", "umlaut"],
)
def test_older_hashes_sign_in_and_are_renewed(adopted: Installation, email: str, password: str) -> None:
    """A password under an older bcrypt hash signs in, becomes argon2 on the way, and signs in again."""
    first = sign_in(adopted, email, password)
    with adopted.app.app_context():
        renewed = accounts.find(first.user.id).user.password_hash
    assert renewed is not None
    assert renewed.startswith("$argon2id$")
    assert sign_in(adopted, email, password).user.id == first.user.id
    with pytest.raises(WrongCredentials):
        sign_in(adopted, email, password + "!")


@pytest.mark.parametrize("email", ["anna@gmail.com", "ben@gmail.com", "gina@example.com", "hans@example.com"])
@pytest.mark.parametrize("password", [OLD_PASSWORD, "", LONG_PASSWORD])
def test_rows_without_a_usable_password_refuse(adopted: Installation, email: str, password: str) -> None:
    """No password, an empty one or a damaged hash opens nothing, and says no more than a wrong password does."""
    with pytest.raises(WrongCredentials):
        sign_in(adopted, email, password)


def test_addresses_that_differ_in_case(adopted: Installation) -> None:
    """Of two such addresses each signs in as it was written; typed otherwise, the one that was used last is meant."""
    if not adopted.past.has_twins:
        with adopted.connection() as connection:
            count = connection.execute(text("SELECT COUNT(*) FROM users WHERE email = 'CARLA@example.COM'")).scalar()
        assert count == 1  # Such a table cannot hold two of them.
        return
    old, new = "the older twin's words", "the newer twin's words"
    assert sign_in(adopted, "Twin@example.com", old).user.id == "u-twin-old"
    assert sign_in(adopted, "twin@example.com", new).user.id == "u-twin-new"
    assert sign_in(adopted, "TWIN@example.com", new).user.id == "u-twin-new"
    with pytest.raises(WrongCredentials):
        sign_in(adopted, "TWIN@example.com", old)


def test_the_month_is_granted_once(adopted: Installation) -> None:
    """Balances below the month's credits are lifted to it where the reset is due, none is lowered, and it adds up."""
    expected = {row[0]: row[8] or 0 for row in adopted.past.rows}
    due = {row[0] for row in adopted.past.rows if row[9] != NEXT_CENTURY}
    with adopted.app.app_context():
        for user_id, before in expected.items():
            after = max(before, 30) if user_id in due else before
            assert credits.balance_of(user_id).credits == after
            assert credits.balance_of(user_id).credits == after
        assert credits.differences() == []


def test_sessions_and_guests_work_beside_the_old_table(adopted: Installation) -> None:
    """A session of an adopted user is found by its cookie: tables of different letters are compared without error."""
    with adopted.app.app_context():
        secret = sessions.begin("u-2b", "a browser", guest_of(None, "192.0.2.1"))
        found = sessions.find(secret)
    assert found is not None
    assert (found.user_id, found.email) == ("u-2b", "dora@example.com")


def test_users_are_found_by_their_key(adopted: Installation) -> None:
    """Joining a profile or a session with its user reads one row of the old table, however large that is."""
    question = "EXPLAIN " if adopted.past.charset else "EXPLAIN QUERY PLAN "
    joined = (
        "SELECT users.id FROM user_profiles JOIN users ON users.id = user_profiles.user_id"
        " WHERE user_profiles.email_key = :key"
    )
    with adopted.connection() as connection:
        key = accounts.email_key("dora@example.com")
        plan = [row._mapping for row in connection.execute(text(question + joined), {"key": key})]
    if adopted.past.charset is None:
        assert [step["detail"] for step in plan if "SCAN" in step["detail"]] == []
    else:
        assert {step["type"] for step in plan} <= {"const", "eq_ref", "ref"}


def test_a_google_row_is_bound(adopted: Installation) -> None:
    """A row that was only ever opened with Google is bound to `sub` at the owner's first sign-in."""
    anna = Identity(sub="sub-anna", email="anna@gmail.com", name="Anna", is_authoritative=True)
    with adopted.app.app_context():
        account = google.sign_in(anna, "en", "192.0.2.1")
        assert account is not None
        assert (account.user.id, account.profile.google_sub) == ("u-google", "sub-anna")
        assert credits.differences() == []


def test_new_people_fit_into_the_old_table(adopted: Installation) -> None:
    """A name with letters that the table does not know loses them; such an address is refused in words."""
    is_narrow = adopted.past.charset == "latin1"
    names = {"圭子": None if is_narrow else "圭子", "Zoë 🎨": "Zoë" if is_narrow else "Zoë 🎨", "Why?": "Why?"}
    with adopted.app.app_context():
        for number, (name, kept) in enumerate(names.items()):
            identity = Identity(f"sub-{number}", f"new-{number}@gmail.com", name, is_authoritative=True)
            account = google.sign_in(identity, "en", "192.0.2.1")
            assert account is not None
            assert accounts.find(account.user.id).user.name == kept
            accounts.update_profile("u-2b", name, None)
            assert accounts.find("u-2b").user.name == kept
        if is_narrow:
            with pytest.raises(InvalidFields) as refused:
                accounts.sign_up("圭子@example.com", "a short sentence is good", "", "en", "192.0.2.1")
            assert [item.field for item in refused.value.fields] == ["email"]
        assert credits.differences() == []


def test_an_empty_old_table_is_adopted_too(
    own_database: Callable[[Past], str], app_factory: Callable[..., Flask], tmp_path: Path
) -> None:
    """A table without rows needs nothing but its companions."""
    past = PASTS[-1]
    address = own_database(past)
    installation = Installation(past, address, app_factory(database_url=address))
    with installation.connection() as connection:
        connection.execute(text(SQLITE_TABLE))
    installation.migrate()
    with installation.app.app_context(), reading() as session:
        assert session.scalars(select(User)).all() == []
        assert session.scalars(select(UserProfile)).all() == []
