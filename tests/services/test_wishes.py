"""Wishes to be painted later: made once, kept once, and told. On SQLite and on MariaDB."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from ghibli_flask import queueing
from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading, transaction
from ghibli_flask.models import ImageTask, Wish
from ghibli_flask.services import credits, flags, gpu_tokens, wishes
from ghibli_flask.services.wishes import AGAIN_AFTER, GIVEN_UP_AFTER, WishOutcome, WishView
from ghibli_flask.task_states import Outcome
from tests.faults.conftest import at_once, row
from tests.support.member import Member, member
from tests.support.runs import paint
from tests.support.visitor import Visitor

pytestmark = pytest.mark.usefixtures("each_database")

TOKEN = "hf_wishing000000000000000000000000001"


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """The application at noon."""
    return app_factory(clock=clock)


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A guest."""
    return Visitor(app)


def unpainted(visitor: Visitor, outcome: Outcome = Outcome.ORIGINAL) -> str:
    """An order that ended without a painting."""
    task_id = visitor.ordered()
    paint(visitor.app, task_id, outcome, "quota")
    return task_id


def wish(visitor: Visitor, task_id: str) -> dict:
    """Wish for it over HTTP."""
    answer = visitor.post(f"/api/tasks/{task_id}/retry", json={"whenReady": True})
    assert answer.status_code == 202, answer.text
    return dict(answer.get_json()["wish"])


def keep_due(app: Flask) -> int:
    """What the sweep does."""
    with app.app_context():
        return wishes.keep_due()


def seen(app: Flask, task_id: str) -> WishView | None:
    """The wish as the page shows it."""
    with app.app_context():
        return wishes.view_of(row(app, task_id))


def task_count(app: Flask) -> int:
    """How many tasks there are."""
    with app.app_context(), reading() as session:
        return session.scalar(select(func.count()).select_from(ImageTask)) or 0


@pytest.mark.parametrize("outcome", [Outcome.ORIGINAL, Outcome.FAILED])
def test_a_wish_becomes_one_new_task(app: Flask, visitor: Visitor, clock: FixedClock, outcome: Outcome) -> None:
    """A wish waits for its time, then becomes a new task with the same photograph and a charge, once and for all."""
    first = unpainted(visitor, outcome)
    made = wish(visitor, first)
    assert (made["state"], made["taskId"]) == ("waiting", None)
    assert keep_due(app) == 0
    clock.advance(seconds=AGAIN_AFTER.total_seconds() + 1)
    assert (keep_due(app), keep_due(app)) == (1, 0)
    kept = seen(app, first)
    assert kept is not None
    assert kept.outcome is WishOutcome.KEPT
    new = row(app, str(kept.task_id))
    assert (new.retry_of, new.charged, new.owner) == (row(app, first).id, 1, row(app, first).owner)
    assert task_count(app) == 2
    assert wish(visitor, first)["state"] == "kept"


def test_wishing_twice_is_one_wish(app: Flask, visitor: Visitor) -> None:
    """A second click, or two at once, changes nothing."""
    first = unpainted(visitor)
    others = [Visitor(app) for _ in range(2)]
    for other in others:
        other.client, other.token = app.test_client(), visitor.token
        for name in ("guest", "session"):
            cookie = visitor.client.get_cookie(name)
            assert cookie is not None
            other.client.set_cookie(name, cookie.value)
    answers = at_once(*(lambda other=other: wish(other, first) for other in (visitor, *others)))
    assert answers[0] == answers[1] == answers[2]
    with app.app_context(), reading() as session:
        assert session.scalar(select(func.count()).select_from(Wish)) == 1


def test_two_sweeps_keep_a_wish_once(app: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Two sweeps at the same moment make one task and one charge."""
    first = unpainted(visitor)
    wish(visitor, first)
    clock.advance(hours=1)
    at_once(lambda: keep_due(app), lambda: keep_due(app))
    assert task_count(app) == 2


def test_who_may_wish(app: Flask, visitor: Visitor) -> None:
    """A stranger may not wish, nor may anybody for a painted picture or for one that is still in work."""
    first = unpainted(visitor)
    assert Visitor(app).post(f"/api/tasks/{first}/retry", json={"whenReady": True}).status_code == 403
    live = visitor.ordered()
    assert visitor.post(f"/api/tasks/{live}/retry", json={"whenReady": True}).status_code == 409
    paint(app, live)
    assert visitor.post(f"/api/tasks/{live}/retry", json={"whenReady": True}).status_code == 409


def test_a_wish_without_a_picture_left(app: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Whoever has no picture left is told so, and pays nothing."""
    first = unpainted(visitor)
    wish(visitor, first)
    for _ in range(3):
        visitor.ordered()
    clock.advance(minutes=31)
    assert keep_due(app) == 0
    kept = seen(app, first)
    assert kept is not None
    assert kept.outcome is WishOutcome.NO_CREDIT
    assert task_count(app) == 4


def test_a_deleted_picture_takes_its_wish_along(app: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Deleting the first task ends the wish."""
    first = unpainted(visitor)
    wish(visitor, first)
    assert visitor.delete(f"/api/tasks/{first}").status_code == 204
    clock.advance(hours=1)
    assert keep_due(app) == 0
    assert task_count(app) == 1


def test_a_wish_outlives_a_pause_but_not_for_ever(app: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """While the site takes no orders a wish waits; after two days it is given up."""
    first = unpainted(visitor)
    wish(visitor, first)
    with app.app_context():
        flags.switch("maintenance", "We paint the walls.", by="test")
    clock.advance(hours=1)
    assert keep_due(app) == 0
    waiting = seen(app, first)
    assert waiting is not None
    assert (waiting.outcome, waiting.not_before) == (None, clock.now() + AGAIN_AFTER)
    clock.advance(seconds=GIVEN_UP_AFTER.total_seconds())
    keep_due(app)
    given_up = seen(app, first)
    assert given_up is not None
    assert given_up.outcome is WishOutcome.GONE


def test_a_wish_waits_for_the_first_token(app_factory: Callable[..., Flask], clock: FixedClock) -> None:
    """Where tokens are configured a wish waits for the moment at which the first of them comes back."""
    app = app_factory(clock=clock, hugging_face_tokens=(TOKEN,))
    visitor = Visitor(app)
    with app.app_context():
        lease = gpu_tokens.lease()
        assert lease is not None
        gpu_tokens.rest(lease, 3 * 3600)
    first = unpainted(visitor)
    back_at = datetime.fromisoformat(wish(visitor, first)["notBefore"])
    assert abs(back_at - clock.now() - timedelta(hours=3)) < timedelta(seconds=2)
    clock.advance(hours=3, seconds=5)
    assert keep_due(app) == 1


def test_a_member_pays_with_a_credit_and_is_told_by_mail(
    app: Flask, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wish of a signed-in person costs one picture when it is kept, and a mail is asked for."""
    person: Member = member(app)
    first = unpainted(person)
    with app.app_context():
        before = credits.balance_of(person.user_id).credits
    wish(person, first)
    clock.advance(hours=1)
    assert keep_due(app) == 1
    with app.app_context():
        assert credits.balance_of(person.user_id).credits == before - 1
        jobs = queueing.maintenance_queue().get_jobs()
    assert [job.args[0] for job in jobs if job.func_name == "jobs.letters.write"][-1] == "wish-kept"


def test_a_guest_who_signed_in_pays_as_a_member(app: Flask, clock: FixedClock) -> None:
    """A wish of a guest who has signed in since belongs to the account, as the picture does."""
    person = member(app)
    guest = Visitor(app)
    first = unpainted(guest)
    wish(guest, first)
    owner = f"user:{person.user_id}"
    statement = ImageTask.__table__.update().values(owner=owner)
    with app.app_context():
        transaction(lambda session: session.execute(statement))
    clock.advance(hours=1)
    assert keep_due(app) == 1
    kept = seen(app, first)
    assert kept is not None
    assert row(app, str(kept.task_id)).payer == owner
