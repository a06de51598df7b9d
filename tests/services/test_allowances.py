"""How long the counts of free tries are kept. On SQLite and on MariaDB."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import select

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading
from ghibli_flask.models import Allowance
from ghibli_flask.services import allowances
from ghibli_flask.task_states import Outcome
from tests.support.runs import claim, settle
from tests.support.visitor import Visitor

pytestmark = pytest.mark.usefixtures("each_database")


def test_counts_of_past_days_are_forgotten(app_factory: Callable[..., Flask]) -> None:
    """A week later a day's counts are gone, today's stay, and an order of a forgotten day can still end."""
    clock = FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))
    app = app_factory(clock=clock, stuck_after_s=30 * 86_400)
    old = Visitor(app).ordered()
    clock.advance(days=7)
    Visitor(app).ordered()
    assert counted_days(app) == [1, 8]
    clock.advance(days=1)
    assert counted_days(app) == [8]
    assert settle(app, claim(app, old), Outcome.FAILED, "internal")
    assert counted_days(app) == [8]


def counted_days(app: Flask) -> list[int]:
    """The days of the month that still have counts, after a sweep's turn."""
    with app.app_context():
        allowances.drop_old()
        with reading() as session:
            return sorted({day.day for day in session.scalars(select(Allowance.day))})
