"""Two at once: whatever the order of things, one payer's orders are decided one after the other."""

from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import files, tasks
from ghibli_flask.services.runs import Run
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import Outcome
from tests.faults.conftest import (
    Visitor,
    assert_nothing_left,
    at_once,
    claim,
    photo,
    row,
    stored_files,
    task_count,
    tries_used,
)

MANY = 20
ROUNDS = 6

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def web(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """The web side with room for many orders of one address and no limit of requests a minute."""
    return app_factory(clock=clock, guest_daily_limit_per_address=1000, orders_per_minute=0)


def twins(visitor: Visitor, web: Flask, count: int = MANY) -> list[Visitor]:
    """The same browser, once for each thread."""
    return [Visitor(web, like=visitor) for _ in range(count)]


def settle(app: Flask, run: Run, ending: Ending) -> bool:
    """End a run from within, as its worker does."""
    with app.app_context():
        return tasks.settle(run.task_id, run.attempt, ending)


def test_identical_orders(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Twenty identical orders of one guest make one task, one charge and one stored photograph."""
    answers = at_once(*(one.try_to_order for one in twins(visitor, web)))
    assert sorted(answer.status_code for answer in answers) == [200] * (MANY - 1) + [202]
    assert len({answer.json["taskId"] for answer in answers}) == 1
    assert task_count(web) == 1
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)
    assert len(stored_files(web)) == 1


def test_different_orders(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Of twenty different orders of a guest with three tries exactly three are accepted; the rest leave nothing."""
    answers = at_once(*(partial(one.try_to_order, number) for number, one in enumerate(twins(visitor, web))))
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [401] * (MANY - 3)
    assert {answer.json["code"] for answer in answers if answer.status_code == 401} == {"sign_in_required"}
    assert task_count(web) == 3
    assert tries_used(web) == [3, 3]
    assert_nothing_left(web, clock)
    assert len(stored_files(web)) == 3


def test_guests_behind_one_address(web: Flask, clock: FixedClock) -> None:
    """Twenty guests behind one address order at once and all are served: they share a count, not a fate."""
    visitors = [Visitor(web) for _ in range(MANY)]
    answers = at_once(*(one.try_to_order for one in visitors))
    assert [answer.status_code for answer in answers] == [202] * MANY
    assert tries_used(web) == [1] * MANY + [MANY]
    assert_nothing_left(web, clock)


def test_the_same_key(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Orders under one Idempotency-Key make one task however many arrive at once, also when the photographs differ."""
    same = at_once(*(partial(one.try_to_order, 1, key="k") for one in twins(visitor, web, 5)))
    assert sorted(answer.status_code for answer in same) == [200] * 4 + [202]
    mixed = at_once(*(partial(one.try_to_order, n, key="m") for n, one in enumerate(twins(visitor, web, 5), 10)))
    assert sorted(answer.status_code for answer in mixed) == [202] + [422] * 4
    assert {answer.json["code"] for answer in mixed if answer.status_code == 422} == {"idempotency_mismatch"}
    assert tries_used(web) == [2, 2]
    assert_nothing_left(web, clock)
    assert len(stored_files(web)) == 2


def test_the_same_key_a_minute_later(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """A key is remembered for a day: the same order gets the first answer, another one 422, and the next day a task."""
    first = visitor.order(1, key="mine")
    clock.advance(minutes=1)
    again = visitor.try_to_order(1, key="mine")
    assert (again.status_code, again.json["taskId"], again.json["duplicate"]) == (200, first, True)
    other = visitor.try_to_order(2, key="mine")
    assert (other.status_code, other.json["code"]) == (422, "idempotency_mismatch")
    assert sum(tries_used(web)) == 2
    clock.advance(hours=24)
    assert visitor.order(2, key="mine") != first
    assert_nothing_left(web, clock)


def test_cancel_and_settle(web: Flask, clock: FixedClock) -> None:
    """A cancel and an ending at the same moment agree on one of the two, and only a cancel gives the try back."""
    painted = 0
    for number in range(ROUNDS):
        visitor = Visitor(web)
        task_id = visitor.order(number)
        run = claim(web, task_id)
        with web.app_context():
            painted_ending = Ending(Outcome.PAINTED, result=files.keep(photo(number), "results", "jpg"))
        settled, cancelled = at_once(partial(settle, web, run, painted_ending), partial(visitor.cancel, task_id))
        told = visitor.poll(task_id)
        if settled:
            assert (told["status"], told["refunded"], cancelled.status_code) == ("SUCCESS", False, 409)
        else:
            assert (told["status"], told["refunded"], cancelled.status_code) == ("CANCELLED", True, 200)
        assert bool(row(web, task_id).result_key) == settled
        painted += settled
        used_before = sum(tries_used(web))
        assert visitor.cancel(task_id).status_code == cancelled.status_code
        assert sum(tries_used(web)) == used_before
    assert sum(tries_used(web)) == 2 * painted
    assert_nothing_left(web, clock)


def test_many_endings(web: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Ten endings of one order at once give back one try."""
    visitor.order(1)
    task_id = visitor.order(2)
    fail = partial(settle, web, claim(web, task_id), Ending(Outcome.FAILED, error_code="internal"))
    cancels = [partial(one.cancel, task_id) for one in twins(visitor, web, 5)]
    answers = at_once(*[fail] * 5, *cancels)
    failed, cancelled = answers[:5].count(True), {answer.status_code for answer in answers[5:]}
    assert (failed, cancelled) in [(1, {409}), (0, {200})]
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_late_cancels(app_factory: Callable[..., Flask], clock: FixedClock) -> None:
    """Of eight paintings that are stopped half-way at the same moment five give the try back, as the page says."""
    web = app_factory(clock=clock, guest_daily_limit=8, orders_per_minute=0)
    visitor = Visitor(web)
    orders = [visitor.order(number) for number in range(8)]
    assert all(claim(web, task_id) for task_id in orders)
    pairs = zip(twins(visitor, web, 8), orders, strict=True)
    answers = at_once(*(partial(one.cancel, task_id) for one, task_id in pairs))
    assert [answer.json["status"] for answer in answers] == ["CANCELLED"] * 8
    assert sorted(answer.json["refunded"] for answer in answers) == [False] * 3 + [True] * 5
    assert tries_used(web) == [3, 3]
    assert_nothing_left(web, clock)


def test_one_claim(web: Flask, visitor: Visitor) -> None:
    """Of ten workers that ring at the same door one gets the order."""
    task_id = visitor.order()
    claims = at_once(*[partial(claim, web, task_id)] * 10)
    assert sum(run is not None for run in claims) == 1
    assert row(web, task_id).attempt == 1
