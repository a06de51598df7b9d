"""The ledger: grants, charges, refunds, postings and races. On SQLite and on MariaDB."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import delete, func, select, update

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading, transaction
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import Conflict, InsufficientCredits, InvalidFields, NoCredits, NotSignedIn
from ghibli_flask.models import CreditEntry, ImageTask, User
from ghibli_flask.services import credits, files, runs, tasks
from ghibli_flask.services.orders import Order, Submission
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import Outcome, TaskState
from tests.services.conftest import member
from tests.support.member import confirmed_account
from tests.support.runs import claim, paint
from tests.support.visitor import photo

pytestmark = pytest.mark.usefixtures("each_database")

TOO_LATE = Ending(Outcome.FAILED, error_code="too_late")


@pytest.fixture
def clock() -> FixedClock:
    """Noon in the middle of a year's last month."""
    return FixedClock(datetime(2026, 12, 15, 12, 0, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Iterator[Flask]:
    """The application with ten credits a month, patient enough for fifty threads at once, with its context."""
    app = app_factory(clock=clock, for_worker=True, monthly_credits=10)
    with app.app_context():
        yield app


def order(user_id: str) -> ImageTask:
    """An accepted order of this user."""
    return tasks.submit(Order(Mode.IMAGE_TO_IMAGE, photo()), member(user_id)).task


def entries(user_id: str) -> list[tuple[str, int]]:
    """What the ledger says of a user, oldest first."""
    return [(entry.kind, entry.amount) for entry in reversed(credits.statement(user_id))]


def balance(user_id: str) -> int:
    """The balance as the row has it; the books must be right whenever somebody looks."""
    assert credits.differences() == []
    with reading() as session:
        return session.get_one(User, user_id).monthly_credits


def set_row(user_id: str, **values: object) -> None:
    """Change a user's row by hand, behind the services' back."""
    transaction(lambda session: session.execute(update(User).where(User.id == user_id).values(**values)))


def at_once(app: Flask, *works: Callable[[], object]) -> list[object]:
    """Run works in threads that start together, each on a connection of its own; what each gave or raised."""
    barrier, results = threading.Barrier(len(works)), [None] * len(works)

    def run(index: int, work: Callable[[], object]) -> None:
        with app.app_context():
            barrier.wait()
            try:
                results[index] = work()
            except Exception as error:
                results[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# --- One after the other ---


def test_an_order_costs_one_and_a_failure_gives_it_back(app: Flask, user_id: str) -> None:
    """A charge with the order, a refund with its failure, and no refund for a picture that was painted."""
    paint(app, order(user_id).public_id)
    assert balance(user_id) == 9
    paint(app, order(user_id).public_id, Outcome.FAILED, "engine_unavailable")
    assert balance(user_id) == 9
    assert entries(user_id) == [("opening", 10), ("charge", -1), ("charge", -1), ("refund", 1)]


def test_the_eleventh_picture_is_refused(user_id: str) -> None:
    """A balance of nothing refuses an order, and the refusal leaves no order and no entry."""
    for _ in range(10):
        order(user_id)
    with pytest.raises(NoCredits):
        order(user_id)
    assert balance(user_id) == 0
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(ImageTask)) == 10


@pytest.mark.parametrize(
    ("moment", "reset"),
    [
        ("2026-01-31T23:59:59+00:00", "2026-02-01T00:00:00+00:00"),
        ("2026-02-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00"),
        ("2026-12-15T12:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        ("2027-01-01T05:00:00+08:00", "2027-01-01T00:00:00+00:00"),
    ],
)
def test_the_next_reset_is_the_first_of_the_next_month(moment: str, reset: str) -> None:
    """Counted in UTC, whatever the zone of the moment, across the end of a year."""
    assert credits.next_reset(datetime.fromisoformat(moment)) == datetime.fromisoformat(reset)


def test_the_month_lifts_a_balance_once(user_id: str, clock: FixedClock) -> None:
    """On the first of the month a spent balance is lifted to the month's credits, by one entry, at the first look."""
    for _ in range(4):
        order(user_id)
    clock.moment = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert credits.balance_of(user_id).credits == 6
    clock.advance(seconds=1)
    assert credits.balance_of(user_id) == credits.Balance(10, 10, datetime(2027, 2, 1, tzinfo=UTC))
    assert credits.balance_of(user_id).credits == balance(user_id) == 10
    assert entries(user_id)[-1] == ("month", 4)
    assert len(entries(user_id)) == 6


def test_missed_months_give_one_grant(user_id: str, clock: FixedClock) -> None:
    """Who comes back after half a year gets this month's credits and not six times as many."""
    order(user_id)
    clock.advance(days=190)
    order(user_id)
    assert entries(user_id) == [("opening", 10), ("charge", -1), ("month", 1), ("charge", -1)]
    assert credits.balance_of(user_id).resets_at == datetime(2027, 7, 1, tzinfo=UTC)


def test_the_month_never_takes(user_id: str, clock: FixedClock) -> None:
    """A balance above the month's credits stays as it is, without an entry, and the next reset moves on."""
    transaction(lambda session: credits.adjust(session, user_id, 25, "a-gift", "a gift"))
    clock.advance(days=30)
    assert credits.balance_of(user_id) == credits.Balance(35, 10, datetime(2027, 2, 1, tzinfo=UTC))
    assert balance(user_id) == 35
    assert entries(user_id) == [("opening", 10), ("adjust", 25)]


def test_a_period_gives_once_even_when_its_reset_is_set_back(user_id: str, clock: FixedClock) -> None:
    """The key of the period keeps a second grant out when the row says that one is due again."""
    order(user_id)
    clock.advance(days=30)
    assert credits.balance_of(user_id).credits == 10
    order(user_id)
    set_row(user_id, credits_reset_at=clock.now())
    assert credits.balance_of(user_id).credits == 9
    assert balance(user_id) == 9


def test_an_adopted_row_without_a_reset_gets_its_month(user_id: str) -> None:
    """A user whose next reset was never noted gets the month's credits at the first look."""
    order(user_id)
    set_row(user_id, credits_reset_at=None)
    assert credits.balance_of(user_id) == credits.Balance(10, 10, datetime(2027, 1, 1, tzinfo=UTC))
    assert balance(user_id) == 10


def test_nobody_has_no_balance_and_pays_nothing(app: Flask) -> None:
    """Somebody whose account is gone meanwhile is asked to sign in, early and within the order's transaction."""
    with pytest.raises(NotSignedIn):
        credits.balance_of("nobody")
    with pytest.raises(NotSignedIn):
        transaction(lambda session: credits.charge(session, "nobody", "a-task"))


def test_a_refund_needs_its_charge_and_its_user(user_id: str) -> None:
    """Nothing comes back for a task that was not charged, or to somebody who did not pay."""
    other = confirmed_account("bob@example.org")
    task = order(user_id)
    assert not transaction(lambda session: credits.refund(session, user_id, "never-charged"))
    assert not transaction(lambda session: credits.refund(session, other, task.public_id))
    assert (balance(user_id), balance(other)) == (9, 10)


# --- Programs ---


def test_a_program_books_a_task_once(user_id: str) -> None:
    """Charge and refund of a task post once however often they are sent."""
    assert [credits.post(user_id, -3, "their-task") for _ in range(3)] == [7, 7, 7]
    assert [credits.post(user_id, 3, "their-task") for _ in range(3)] == [10, 10, 10]
    assert credits.post(user_id, -3, "their-task") == 10
    assert balance(user_id) == 10
    assert entries(user_id) == [("opening", 10), ("charge", -3), ("refund", 3)]


def test_a_program_does_not_charge_what_we_charged(user_id: str) -> None:
    """Our own charge of a task is its charge: sent again by a program it posts nothing, nor does a second refund."""
    task = order(user_id)
    assert credits.post(user_id, -1, task.public_id) == 9
    assert credits.post(user_id, 1, task.public_id) == 10
    tasks.end_from_outside(task, TOO_LATE)
    assert balance(user_id) == 10


@pytest.mark.parametrize(("amount", "whose"), [(-2, 0), (-1, 1), (2, 0), (1, 1)])
def test_a_task_booked_differently_is_a_conflict(user_id: str, amount: int, whose: int) -> None:
    """The same task with another amount or another user is refused, for charge and refund alike."""
    people = (user_id, confirmed_account("bob@example.org"))
    credits.post(user_id, -1, "their-task")
    with pytest.raises(Conflict):
        credits.post(people[whose], amount, "their-task")
    assert [balance(person) for person in people] == [9, 10]


def test_a_program_cannot_refund_without_a_charge(user_id: str) -> None:
    """A refund whose charge was never posted is a conflict."""
    with pytest.raises(Conflict):
        credits.post(user_id, 1, "never-charged")
    assert balance(user_id) == 10


def test_a_program_without_a_task_counts_each_time(user_id: str) -> None:
    """Without a task there is nothing to recognise a repeat by."""
    assert [credits.post(user_id, amount) for amount in (5, 5, -2)] == [15, 20, 18]
    assert entries(user_id)[1:] == [("api", 5), ("api", 5), ("api", -2)]
    assert balance(user_id) == 18


def test_a_program_never_gets_below_zero(user_id: str) -> None:
    """What the balance does not cover is refused, with a task and without one."""
    for task_id in (None, "their-task"):
        with pytest.raises(InsufficientCredits):
            credits.post(user_id, -11, task_id)
    assert entries(user_id) == [("opening", 10)]


def test_a_program_meets_the_month_first(user_id: str, clock: FixedClock) -> None:
    """A charge by a program at the beginning of a month finds the month's credits there."""
    credits.post(user_id, -10)
    clock.advance(days=30)
    assert credits.post(user_id, -4, "their-task") == 6
    assert balance(user_id) == 6


def test_a_program_names_nobody(app: Flask) -> None:
    """An unknown user and an amount of nothing are refused as fields."""
    with pytest.raises(InvalidFields):
        credits.post("nobody", 1)
    with pytest.raises(InvalidFields):
        credits.post("nobody", 0)


# --- The statement ---


def test_the_statement_pages_from_the_newest(user_id: str) -> None:
    """Pages follow each other without a gap or a repeat."""
    for _ in range(6):
        credits.post(user_id, 1)
    first = credits.statement(user_id, limit=3)
    second = credits.statement(user_id, before=first[-1].id, limit=9)
    assert [entry.kind for entry in first + second] == ["api"] * 6 + ["opening"]
    assert [entry.id for entry in first + second] == sorted((e.id for e in first + second), reverse=True)


def test_the_statement_knows_which_pictures_are_there(app: Flask, user_id: str) -> None:
    """An entry leads to its picture until that is deleted; a program's task leads nowhere."""
    kept, gone = order(user_id), order(user_id)
    credits.post(user_id, -1, "their-task")
    paint(app, gone.public_id)
    tasks.remove(gone.public_id, member(user_id))
    found = {line.entry.task_id: line.has_picture for line in credits.lines(user_id)}
    assert found == {None: False, kept.public_id: True, gone.public_id: False, "their-task": False}


# --- Reconciling ---


def reconcile(app: Flask, *options: str) -> tuple[int, str]:
    """Run the command: its exit code and what it says."""
    result = app.test_cli_runner().invoke(args=["credits", "reconcile", *options])
    return result.exit_code, result.output


def test_reconcile_finds_nothing_in_right_books(app: Flask, user_id: str) -> None:
    """After charges and refunds the command ends with 0."""
    paint(app, order(user_id).public_id, Outcome.FAILED, "internal")
    order(user_id)
    assert reconcile(app) == (0, "reconcile: differences 0, remaining 0\n")


def test_reconcile_only_looks_unless_told(app: Flask, user_id: str) -> None:
    """A balance that was changed behind the ledger's back is told with exit code 1, and nothing is written."""
    set_row(user_id, monthly_credits=13)
    code, said = reconcile(app)
    assert code == 1
    assert f"user {user_id}: the balance is 13, the entries come to 10" in said
    assert entries(user_id) == [("opening", 10)]


def test_reconcile_repairs_by_one_entry_with_a_reason(app: Flask, user_id: str) -> None:
    """The balance stays as the user saw it; one entry with a reason makes up for what is missing in the ledger."""
    other = confirmed_account("bob@example.org")
    transaction(lambda session: session.execute(delete(CreditEntry).where(CreditEntry.user_id == other)))
    set_row(user_id, monthly_credits=7)
    code, said = reconcile(app, "--repair")
    assert code == 0
    assert said.endswith("reconcile: differences 2, remaining 0\n")
    assert entries(user_id) == [("opening", 10), ("adjust", -3)]
    assert credits.statement(user_id)[0].reason == "Reconciled: the balance was 7, the entries came to 10."
    assert entries(other) == [("adjust", 10)]
    assert (balance(user_id), balance(other)) == (7, 10)
    assert reconcile(app, "--repair") == (0, "reconcile: differences 0, remaining 0\n")


def test_reconcile_lifts_a_balance_below_zero(app: Flask, user_id: str) -> None:
    """A negative balance is a difference even when the entries agree with it, and is repaired to zero."""
    set_row(user_id, monthly_credits=-2)
    transaction(lambda session: session.execute(update(CreditEntry).values(amount=-2)))
    assert reconcile(app)[0] == 1
    assert reconcile(app, "--repair")[0] == 0
    assert balance(user_id) == 0
    assert entries(user_id) == [("opening", -2), ("adjust", 2)]


# --- At once ---


def test_fifty_orders_at_once_with_ten_credits_accept_ten(app: Flask, user_id: str) -> None:
    """Fifty different pictures sent at the same moment with ten credits left: exactly ten are accepted and charged."""
    sources = [(Order(Mode.IMAGE_TO_IMAGE, data), files.keep(data, "sources", "jpg")) for data in many_photos(50)]
    # From the transaction on, because decoding fifty photographs at once is refused before anything is charged.
    results = at_once(app, *(partial(tasks._enter, wish, member(user_id), file, None) for wish, file in sources))
    accepted = [result for result in results if isinstance(result, Submission)]
    assert len(accepted) == 10
    assert {type(result) for result in results} == {Submission, NoCredits}
    assert balance(user_id) == 0
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(ImageTask)) == 10
        charges = select(func.count()).select_from(CreditEntry).where(CreditEntry.kind == "charge")
        assert session.scalar(charges) == 10


def many_photos(count: int) -> list[bytes]:
    """Different photographs."""
    return [photo(64, 64) for _ in range(count)]


def test_the_same_picture_at_once_is_charged_once(app: Flask, user_id: str) -> None:
    """Ten clicks at the same moment are one order and one charge, five times over."""
    for number in range(1, 6):
        data = photo(64, 64)
        wish = Order(Mode.IMAGE_TO_IMAGE, data)
        kept = [files.keep(data, "sources", "jpg") for _ in range(10)]
        results = at_once(app, *(partial(tasks._enter, wish, member(user_id), file, None) for file in kept))
        assert len({result.task.public_id for result in results}) == 1  # type: ignore[attr-defined]
        assert balance(user_id) == 10 - number


def test_a_refund_from_sweep_and_worker_posts_once(app: Flask, user_id: str) -> None:
    """The sweep and the worker fail the same task at the same moment, eight times over: one ending, one refund."""
    for _ in range(8):
        task = order(user_id)
        run = claim(app, task.public_id)
        with reading() as session:
            row = session.get_one(ImageTask, task.id)
        at_once(
            app,
            lambda row=row: tasks.end_from_outside(row, TOO_LATE),
            lambda run=run: tasks.settle(run.task_id, run.attempt, TOO_LATE),
        )
        assert balance(user_id) == 10
        with reading() as session:
            key = credits.refund_key(task.public_id)
            posted = select(func.count()).select_from(CreditEntry).where(CreditEntry.business_key == key)
            assert session.scalar(posted) == 1


def test_a_refund_from_program_and_worker_posts_once(app: Flask, user_id: str) -> None:
    """A program refunds a task while its worker fails it: the credit comes back once."""
    for _ in range(8):
        task = order(user_id)
        run = claim(app, task.public_id)
        at_once(
            app,
            lambda task=task: credits.post(user_id, 1, task.public_id),
            lambda run=run: tasks.settle(run.task_id, run.attempt, Ending(Outcome.FAILED, error_code="internal")),
        )
        assert balance(user_id) == 10


def test_painted_and_failed_at_the_same_moment_end_one_way(app: Flask, user_id: str) -> None:
    """Whoever wins, the task has one ending, and it is refunded exactly when that ending is the failure."""
    for _ in range(8):
        before = balance(user_id)
        run = claim(app, order(user_id).public_id)
        with reading() as session:
            row = session.get_one(ImageTask, run.task_id)
        picture = files.keep(photo(64, 64), "results", "jpg")
        at_once(
            app,
            lambda run=run, picture=picture: tasks.settle(
                run.task_id, run.attempt, Ending(Outcome.PAINTED, picture, engine="gradio")
            ),
            lambda row=row: tasks.end_from_outside(row, TOO_LATE),
        )
        with reading() as session:
            ended = session.get_one(ImageTask, run.task_id)
        is_painted = ended.state is TaskState.COMPLETED
        assert is_painted or ended.state is TaskState.FAILED
        assert (ended.result_key is not None) == is_painted
        assert bool(ended.refunded) != is_painted
        assert balance(user_id) == (before - 1 if is_painted else before)


def test_a_sleeper_that_wakes_after_the_requeue_changes_nothing(app: Flask, user_id: str) -> None:
    """A first attempt that ends after its task went back to the queue neither ends it nor refunds it."""
    task = order(user_id)
    first = claim(app, task.public_id)
    assert runs.hand_back(first)
    second = claim(app, task.public_id)
    assert not tasks.settle(first.task_id, first.attempt, Ending(Outcome.FAILED, error_code="internal"))
    assert balance(user_id) == 9
    assert tasks.settle(second.task_id, second.attempt, Ending(Outcome.FAILED, error_code="internal"))
    assert balance(user_id) == 10


def test_grants_at_once_give_one(app: Flask, user_id: str, clock: FixedClock) -> None:
    """Sixteen looks at a balance on the first of the month give the month's credits once."""
    credits.post(user_id, -7)
    clock.advance(days=30)
    results = at_once(app, *[lambda: credits.balance_of(user_id).credits] * 16)
    assert results == [10] * 16
    assert [entry for entry in entries(user_id) if entry[0] == "month"] == [("month", 7)]
    assert balance(user_id) == 10


def test_the_same_task_booked_for_two_users_at_once_is_one_charge(app: Flask, user_id: str) -> None:
    """Two users cannot lock each other out, so the unique key decides: one is charged, the other meets a conflict."""
    other = confirmed_account("bob@example.org")
    for number in range(5):
        name = f"their-task-{number}"
        results = at_once(
            app,
            lambda name=name: credits.post(user_id, -1, name),
            lambda name=name: credits.post(other, -1, name),
        )
        assert sorted(type(result).__name__ for result in results) == ["Conflict", "int"]
    assert balance(user_id) + balance(other) == 15


def test_a_posting_sent_ten_times_at_once_posts_once(app: Flask, user_id: str) -> None:
    """A program that sends its charge again before the first answer is charged once."""
    assert at_once(app, *[lambda: credits.post(user_id, -2, "their-task")] * 10) == [8] * 10
    assert balance(user_id) == 8


def test_the_reset_always_lies_ahead(clock: FixedClock) -> None:
    """The reset lies in the future, by at most 31 days, at any moment of any month."""
    for day in range(400):
        moment = clock.now() + timedelta(days=day)
        assert timedelta(0) < credits.next_reset(moment) - moment <= timedelta(days=31)
