"""The ground that the services stand on: transactions, times, ids, migrations. On SQLite and on MariaDB."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from ghibli_flask.database import changed, db, reading, transaction
from ghibli_flask.models import Allowance, HealthCheck

pytestmark = pytest.mark.usefixtures("each_database")

TODAY = datetime(2026, 7, 1, tzinfo=UTC).date()


def test_the_migrations_make_what_the_models_say(app: Flask) -> None:
    """A migrated database does not differ from the models."""
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, db.metadata) == []


def test_times_come_back_aware_and_exact(app: Flask) -> None:
    """A moment in any zone comes back as the same moment in UTC, to the microsecond; a naive one is refused."""
    moment = datetime(2026, 7, 1, 20, 15, 30, 123456, tzinfo=timezone(timedelta(hours=8)))
    with app.app_context():
        transaction(lambda session: session.add(HealthCheck(kind="test", finished_at=moment, ok=True, details={})))
        with reading() as session:
            kept = session.scalars(select(HealthCheck.finished_at)).one()
        assert kept == moment
        assert kept.tzinfo is UTC
        with pytest.raises(Exception, match="naive datetime"):
            transaction(
                lambda session: session.add(
                    HealthCheck(kind="t", finished_at=moment.replace(tzinfo=None), ok=True, details={})
                )
            )


def test_ids_differ_by_case(app: Flask) -> None:
    """Two subjects that differ in case alone are two rows."""
    with app.app_context():
        transaction(
            lambda session: session.add_all([Allowance(subject=name, day=TODAY, used=0) for name in ("AbC", "aBc")])
        )


def test_parallel_writers_all_get_their_turn(app: Flask) -> None:
    """Sixteen threads adding to one row lose no addition and raise no lock error."""
    with app.app_context():
        transaction(lambda session: session.add(Allowance(subject="one", day=TODAY, used=0)))
    failures: list[BaseException] = []

    def add() -> None:
        try:
            with app.app_context():
                for _ in range(10):
                    transaction(_add_one)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with app.app_context(), reading() as session:
        assert session.scalars(select(Allowance.used)).one() == 160


def _add_one(session: Session) -> None:
    """Read, then write: the pattern that loses additions without a lock at the start."""
    row = session.scalars(select(Allowance).where(Allowance.subject == "one").with_for_update()).one()
    changed(session, update(Allowance).where(Allowance.subject == "one").values(used=row.used + 1))


def test_a_unit_that_fails_leaves_nothing(app: Flask) -> None:
    """An exception in the unit rolls everything back and comes out as it is."""

    def unit(session: Session) -> None:
        session.add(Allowance(subject="gone", day=TODAY, used=0))
        session.flush()
        raise KeyError("mine")

    with app.app_context():
        with pytest.raises(KeyError, match="mine"):
            transaction(unit)
        with reading() as session:
            assert session.scalars(select(Allowance)).all() == []


def test_the_connection_is_set_up_as_promised(app: Flask, each_database: str) -> None:
    """SQLite runs in WAL; MariaDB at READ COMMITTED in UTC, and takes back the locks of whoever falls silent."""
    with app.app_context(), reading() as session:
        if each_database == "sqlite":
            assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        else:
            isolation, zone, idle = session.execute(
                text("SELECT @@tx_isolation, @@time_zone, @@idle_transaction_timeout")
            ).one()
            assert (isolation, zone) == ("READ-COMMITTED", "+00:00")
            assert idle == 20, "What a machine that was cut off had locked is free again after so many seconds."
