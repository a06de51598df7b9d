"""The database: the handle, column types, and the one way to read and to write.

Every writing unit goes through `transaction()`, every reading one through `reading()`; both open a session of their
own and close it, so that no session outlives its unit or crosses a thread. Services are the only callers that write.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from flask_sqlalchemy import SQLAlchemy
from pymysql.connections import Connection as MySQLConnection
from sqlalchemy import (
    BigInteger,
    Connection,
    CursorResult,
    DateTime,
    Dialect,
    Engine,
    Integer,
    MetaData,
    String,
    TypeDecorator,
    event,
    make_url,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeEngine

from ghibli_flask.errors import Unavailable

TRIES = 3
RETRY_PAUSE_S = 0.05

# MySQL and MariaDB: deadlock, lock wait timeout. SQLite says "database is locked" or "busy" in words.
MYSQL_TRY_AGAIN = frozenset({1205, 1213})

# A machine that is cut off in the middle of a transaction never says so, and the server would keep its locks for hours.
# MariaDB alone reads such a comment; MySQL has no such time and goes by its wait_timeout.
LET_GO = "/*M!100300 , idle_transaction_timeout = 20 */"

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}

T = TypeVar("T")


class Base(DeclarativeBase):
    """The declarative base; constraints get predictable names, so that migrations can name them."""

    metadata = MetaData(naming_convention=NAMING)


db = SQLAlchemy(model_class=Base)


class UTCDateTime(TypeDecorator[datetime]):
    """A moment with microseconds: stored as naive UTC, aware in Python. Refuses naive values."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """DATETIME(6) where the default would drop the microseconds."""
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware in, naive UTC out to the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC from the database, aware out."""
        return None if value is None else value.replace(tzinfo=UTC)


class AsciiId(TypeDecorator[str]):
    """Our own ids, keys and hashes: compared byte by byte, where the default would fold the case."""

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The collation that compares bytes, where there is one to choose."""
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.VARCHAR(self.length, charset="ascii", collation="ascii_bin"))
        return dialect.type_descriptor(String(self.length))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Whatever a caller sends as an id may be looked up: MariaDB refuses to compare other letters with these."""
        return value if value is None else value.encode("ascii", "backslashreplace").decode()


def ascii_id(length: int) -> TypeEngine[Any]:
    """A column for our own ids, keys and hashes."""
    return AsciiId(length)


def row_id() -> TypeEngine[Any]:
    """A BIGINT that counts up by itself, also on SQLite, where only INTEGER does."""
    return BigInteger().with_variant(Integer(), "sqlite")


def engine_options(address: str, *, patient: bool) -> dict[str, Any]:
    """Options of the engine; `patient` is for workers, which may wait longer than a web request may."""
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_recycle": 1800}
    if make_url(address).get_backend_name() == "sqlite":
        # isolation_level None: the driver opens no transaction of its own, `_begin` below does.
        options["connect_args"] = {"timeout": 5.0, "isolation_level": None, "check_same_thread": False}
        return options
    options |= {"pool_size": 10, "max_overflow": 10, "pool_timeout": 10 if patient else 1}
    options["isolation_level"] = "READ COMMITTED"
    options["connect_args"] = {
        "connect_timeout": 10 if patient else 1,
        "read_timeout": 60 if patient else 5,
        "write_timeout": 60 if patient else 5,
        "init_command": f"SET time_zone = '+00:00' {LET_GO}",
    }
    return options


class PromptConnection(MySQLConnection):
    """A connection that counts a server as away when it leaves a greeting or a ping unanswered for connect_timeout.

    PyMySQL means that time for TCP alone, and a frozen server still accepts; read_timeout is what statements may take.
    """

    _read_timeout: float | None

    def connect(self, sock: Any = None) -> None:
        """Connect and sign in."""
        with self._promptly():
            super().connect(sock)

    def ping(self, reconnect: Any = False) -> None:
        """Ask whether the server is there; the pool does before it hands a connection out."""
        with self._promptly():
            super().ping(reconnect)

    @contextmanager
    def _promptly(self) -> Iterator[None]:
        usual, self._read_timeout = self._read_timeout, self.connect_timeout
        try:
            yield
        finally:
            self._read_timeout = usual


def prepare_engine(engine: Engine, *, patient: bool) -> None:
    """Give the engine the connections that its side needs; `patient` as for `engine_options`."""
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    elif not patient:

        @event.listens_for(engine, "do_connect")
        def _connect(_dialect: object, _record: object, words: Any, options: Any) -> PromptConnection:
            return PromptConnection(*words, **options)


def _prepare_sqlite(engine: Engine) -> None:
    """Make SQLite safe for many processes: WAL, and writers that take their lock at the start."""

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred writer that finds a newer snapshot at its first write fails at once, whatever the timeout.
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def transaction(unit: Callable[[Session], T]) -> T:
    """Run `unit` in one writing transaction and commit it; the whole unit is tried again on a lock conflict.

    `unit` may run more than once, so it does nothing but work on its session. Raises Unavailable when the database
    cannot be reached, and whatever `unit` raises, after a rollback.
    """
    for attempt in range(1, TRIES + 1):
        try:
            engine = db.engine.execution_options(writing=True)
            with Session(engine, expire_on_commit=False) as session, session.begin():
                return unit(session)
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            if not _is_lock_conflict(error):
                raise _as_unavailable(error) from error
            if attempt == TRIES:
                raise Unavailable from error
            time.sleep(RETRY_PAUSE_S * attempt * random.uniform(0.5, 1.5))
    raise AssertionError("unreachable: the loop returns or raises")


def changed(session: Session, statement: UpdateBase) -> int:
    """Execute an INSERT, UPDATE or DELETE and return how many rows it matched."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


@contextmanager
def reading() -> Iterator[Session]:
    """A session for one reading unit; its rows stay readable after it is closed. Raises Unavailable."""
    try:
        with Session(db.engine, expire_on_commit=False) as session:
            yield session
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise _as_unavailable(error) from error


def _is_lock_conflict(error: Exception) -> bool:
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    code = error.orig.args[0] if error.orig.args else None
    return code in MYSQL_TRY_AGAIN or "database is locked" in str(error.orig)


# PyMySQL: cannot connect, server gone, lost connection, too many connections, shutting down.
MYSQL_AWAY = frozenset({0, 1040, 1053, 1927, 2002, 2003, 2006, 2013})


def _as_unavailable(error: Exception) -> Exception:
    """An outage becomes Unavailable; a mistake of ours (bad SQL, a broken CHECK) stays what it is."""
    if isinstance(error, PoolTimeoutError):
        return Unavailable()
    if not isinstance(error, DBAPIError) or error.orig is None:
        return error
    code = error.orig.args[0] if error.orig.args else None
    words = ("unable to open", "disk i/o", "disk is full", "readonly", "database is locked")
    if error.connection_invalidated or code in MYSQL_AWAY or any(word in str(error.orig).lower() for word in words):
        return Unavailable()
    return error
