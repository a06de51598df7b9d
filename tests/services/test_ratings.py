"""Thumbs for painted pictures: kept once, told to the operator, gone with the picture. On SQLite and on MariaDB."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import func, select

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading
from ghibli_flask.models import Rating
from ghibli_flask.services import ratings, repair
from ghibli_flask.task_states import Outcome
from tests.faults.conftest import at_once
from tests.support.runs import paint
from tests.support.visitor import Visitor

pytestmark = pytest.mark.usefixtures("each_database")

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(NOON)


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """The application at noon."""
    return app_factory(clock=clock, guest_daily_limit=10, guest_daily_limit_per_address=10)


def painted(visitor: Visitor, **fields: str) -> str:
    """An order that has its picture."""
    task_id = visitor.ordered(**fields)
    paint(visitor.app, task_id)
    return task_id


def rate(visitor: Visitor, task_id: str, **rating: str) -> int:
    """Rate over HTTP; gives the status."""
    return visitor.post(f"/api/tasks/{task_id}/rating", json=rating).status_code


def told(app: Flask) -> list[tuple[str, str | None]]:
    """What the operator reads, newest first."""
    with app.app_context():
        return [(rated.verdict, rated.word) for rated in ratings.recent(10)]


def test_the_operator_reads_the_newest_first(app: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Thumbs come with picture, style and time, their words on one line; counts begin where they are asked to."""
    first = painted(visitor, style="night")
    assert rate(visitor, first, verdict="down", word="  the ears\n are 太红 🦊 ") == 204
    clock.advance(hours=1)
    assert rate(visitor, painted(visitor), verdict="up") == 204
    with app.app_context():
        newest, oldest = ratings.recent(10)
        assert [newest] == ratings.recent(1)
        assert (newest.verdict, newest.word) == ("up", None)
        assert (oldest.task_id, oldest.verdict, oldest.word, oldest.style, oldest.at) == (
            first, "down", "the ears are 太红 🦊", "night", NOON,
        )  # fmt: skip
        assert ratings.counts(NOON) == (1, 1)
        assert ratings.counts(NOON + timedelta(minutes=1)) == (1, 0)


def test_a_second_rating_replaces_the_first(app: Flask, visitor: Visitor) -> None:
    """The last thumb counts, and its word takes the place of the earlier one, by whichever door it comes."""
    task_id = painted(visitor)
    rate(visitor, task_id, verdict="down", word="too dark")
    answer = visitor.post(f"/tasks/{task_id}/rating", data={"verdict": "up", "word": ""})
    assert (answer.status_code, answer.location) == (303, f"/tasks/{task_id}")
    assert told(app) == [("up", None)]


def test_many_thumbs_at_once_are_one(app: Flask, visitor: Visitor) -> None:
    """Eight ratings of one picture at the same moment leave one row, and no error."""
    task_id = painted(visitor)
    answers = at_once(*[partial(rate, visitor, task_id, verdict="up", word=str(number)) for number in range(8)])
    assert answers == [204] * 8
    assert len(told(app)) == 1


def test_only_the_owner_of_a_painted_picture_rates(app: Flask, visitor: Visitor) -> None:
    """A stranger gets 403; what waits, failed or came back unpainted cannot be rated; nothing is kept of the tries."""
    waiting, failed, original = visitor.ordered(), visitor.ordered(), visitor.ordered()
    paint(app, failed, Outcome.FAILED, "engine_busy")
    paint(app, original, Outcome.ORIGINAL, "quota")
    assert [rate(visitor, task_id, verdict="up") for task_id in (waiting, failed, original)] == [409] * 3
    assert rate(Visitor(app), painted(visitor), verdict="up") == 403
    assert told(app) == []


@pytest.mark.parametrize("rating", [{"verdict": "sideways"}, {"word": "nice"}, {"verdict": "up", "word": "x" * 281}])
def test_what_is_no_rating_is_refused(app: Flask, visitor: Visitor, rating: dict[str, str]) -> None:
    """A third thumb, none at all, and more than 280 characters are 422 at both doors."""
    task_id = painted(visitor)
    assert rate(visitor, task_id, **rating) == 422
    assert visitor.post(f"/tasks/{task_id}/rating", data=rating).status_code == 422
    assert told(app) == []


def test_the_twenty_first_in_a_minute_waits(visitor: Visitor) -> None:
    """Twenty ratings a minute are taken from one address; the next is told when to come again."""
    task_id = painted(visitor)
    for _ in range(20):
        assert rate(visitor, task_id, verdict="up") == 204
    answer = visitor.post(f"/api/tasks/{task_id}/rating", json={"verdict": "up"})
    assert answer.status_code == 429
    assert answer.headers["RateLimit-Policy"] == '"ratings";q=20;w=60'
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_rating_goes_with_its_picture(app: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Deleted by hand, or kept long enough: no thumb and no word stays behind, and none can follow."""
    deleted, expired = painted(visitor), painted(visitor)
    for task_id in (deleted, expired):
        rate(visitor, task_id, verdict="up", word="Zuzu")
    visitor.delete(f"/api/tasks/{deleted}")
    assert len(told(app)) == 1
    assert rate(visitor, deleted, verdict="up") == 404
    clock.advance(days=40)
    with app.app_context():
        repair.sweep()
        with reading() as session:
            assert session.scalar(select(func.count()).select_from(Rating)) == 0
