"""Many tasks in one transaction: the same refunds as one at a time, the same guards, and nobody locked out."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from ghibli_flask import queueing
from ghibli_flask.database import reading, transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models import Allowance, ImageTask
from ghibli_flask.services import batches, credits, repair
from tests.support.member import Member, member
from tests.support.runs import claim, paint
from tests.support.visitor import Visitor


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """An application with room for many orders."""
    return app_factory(guest_daily_limit=100, guest_daily_limit_per_address=1000, orders_per_minute=0)


def rows(app: Flask) -> list[ImageTask]:
    """Every task, the oldest first."""
    with app.app_context(), reading() as session:
        return list(session.scalars(select(ImageTask).order_by(ImageTask.id)))


def make_late(app: Flask) -> None:
    """Take the time away from every order."""
    with app.app_context():
        late = runtime().clock.now() - timedelta(hours=1)
        transaction(lambda session: session.execute(update(ImageTask).values(deadline_at=late)))


def used(app: Flask) -> list[int]:
    """The used tries of every browser and address."""
    with app.app_context(), reading() as session:
        return sorted(session.scalars(select(Allowance.used)))


def balances(app: Flask, *members: Member) -> list[int]:
    """What these users have."""
    with app.app_context():
        assert credits.differences() == []
        return [credits.balance_of(one.user_id).credits for one in members]


def test_each_payer_gets_back_what_was_paid(each_database: str, app: Flask) -> None:
    """Users and guests, with several orders each, get everything back, once, and the books are right."""
    ada, bob = member(app, "ada@example.org"), member(app, "bob@example.org")
    guests = [Visitor(app, "192.0.2.1"), Visitor(app, "192.0.2.1"), Visitor(app, "192.0.2.9")]
    for buyer in (ada, ada, bob, *guests, *guests):
        buyer.ordered()
    paint(app, ada.ordered())
    assert balances(app, ada, bob) == [27, 29]
    assert used(app) == [2, 2, 2, 2, 4]
    make_late(app)
    with app.app_context():
        assert repair.sweep().failed == 9
        assert repair.sweep().failed == 0
    assert balances(app, ada, bob) == [29, 30]
    assert used(app) == [0, 0, 0, 0, 0]
    ended = [(task.status, task.refunded, task.error_code) for task in rows(app)]
    assert Counter(ended) == {("failed", 1, "too_late"): 9, ("completed", 0, None): 1}
    assert all(task.expires_at and task.finished_at for task in rows(app))
    with app.app_context():
        assert queueing.waiting() == 1, "Only the ring of the one that was painted by hand is left."
    assert ada.poll(rows(app)[0].public_id)["status"] == "FAILED"


def test_what_moved_meanwhile_is_left_alone(each_database: str, app: Flask) -> None:
    """Rows that a worker, a visitor or another sweep moved after they were read are neither ended nor given back."""
    visitor = Visitor(app)
    ids = [visitor.ordered() for _number in range(4)]
    read = rows(app)
    claim(app, ids[0])
    visitor.post(f"/api/tasks/{ids[1]}/cancel")
    with app.app_context():
        assert [task.public_id for task in batches.fail(read[2:3], "too_late")] == [ids[2]]
        assert [task.public_id for task in batches.fail(read, "too_late")] == [ids[3]]
        assert batches.fail(read, "too_late") == []
        assert batches.ring_again(read) == []
        assert batches.queue_again(read) == []
    assert [task.status for task in rows(app)] == ["processing", "cancelled", "failed", "failed"]
    assert used(app) == [1, 1]


def test_dead_and_unheard_come_back_to_the_queue(each_database: str, app: Flask) -> None:
    """A batch of silent runs and lost rings is queued under the next numbers, each exactly once."""
    visitor = Visitor(app)
    ids = [visitor.ordered() for _number in range(6)]
    for task_id in ids[:3]:
        claim(app, task_id)
    with app.app_context():
        repair.sweep()
        long_ago = runtime().clock.now() - timedelta(minutes=2)
        times = {"queued_at": long_ago, "heartbeat_at": long_ago}
        transaction(lambda session: session.execute(update(ImageTask).values(**times)))
        queueing.paint_queue().empty()
        report = repair.sweep()
        assert (report.requeued, report.rung, report.failed) == (3, 3, 0)
        waiting = set(queueing.paint_queue().job_ids)
        assert repair.sweep().stuck == 0
    dead, unheard = rows(app)[:3], rows(app)[3:]
    assert [(task.status, task.attempt, task.ring, task.deaths) for task in dead] == [("queued", 2, 2, 1)] * 3
    assert [(task.status, task.attempt, task.ring, task.deaths) for task in unheard] == [("queued", 0, 2, 0)] * 3
    assert waiting == {queueing.job_id(task_id, 2) for task_id in ids}


def test_a_sweep_takes_up_a_bounded_number(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond the bound of one sweep is left for the next one, the oldest first, and said."""
    monkeypatch.setattr(repair, "MOST_A_SWEEP", 3)
    monkeypatch.setattr(repair, "BATCH", 2)
    visitor = Visitor(app)
    for _number in range(4):
        visitor.ordered()
    make_late(app)
    runner = app.test_cli_runner()
    dry = runner.invoke(args=["tasks", "fix-stuck", "--dry-run"])
    assert (dry.exit_code, "failed 3, requeued 0, rung 0" in dry.output) == (1, True)
    first = runner.invoke(args=["tasks", "fix-stuck"])
    assert (first.exit_code, "failed 3" in first.output, "more is stuck" in first.output) == (1, True, True)
    second = runner.invoke(args=["tasks", "fix-stuck"])
    assert (second.exit_code, "failed 1" in second.output, "more is stuck" in second.output) == (0, True, False)


def test_sweeps_and_orders_at_once(each_database: str, app: Flask) -> None:
    """Two sweeps that end many orders and visitors who order more meanwhile all come through, and nothing is lost."""
    visitors = [Visitor(app, f"192.0.2.{number % 2}") for number in range(4)]
    ada = member(app, "ada@example.org")
    for buyer in (*visitors, ada) * 4:
        buyer.ordered()
    make_late(app)
    read = rows(app)
    ended: list[ImageTask] = []
    errors: list[BaseException] = []

    def watched(action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    def end() -> None:
        with app.app_context():
            for begin in range(0, len(read), 5):
                ended.extend(batches.fail(read[begin : begin + 5], "too_late"))

    actions = [end, end, *(buyer.ordered for buyer in (*visitors, ada))]
    threads = [threading.Thread(target=watched, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(ended) == len({task.id for task in ended}) == 20
    assert balances(app, ada) == [29]
    assert sum(used(app)) == 8
    assert Counter(task.status for task in rows(app)) == {"failed": 20, "queued": 5}
