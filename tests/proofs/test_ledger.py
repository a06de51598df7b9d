"""The books add up, whatever happens in whatever order: a machine that does everything that moves a credit.

Hypothesis draws the orders of events; after each of them every rule of the ledger is looked up in the database.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import db, reading, transaction
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import (
    Conflict,
    Forbidden,
    IdempotencyMismatch,
    InsufficientCredits,
    NoCredits,
    NotFound,
    SignInRequired,
    SourceGone,
    TooManyRequests,
    WrongState,
)
from ghibli_flask.extensions import runtime
from ghibli_flask.models import Allowance, CreditEntry, ImageTask, User, Wish
from ghibli_flask.services import accounts, allowances, credits, files, repair, runs, sessions, tasks, wishes
from ghibli_flask.services.orders import Order, Submission
from ghibli_flask.services.payers import Member, Payer
from ghibli_flask.services.tasks import FREE_LATE_CANCELS, Ending
from ghibli_flask.services.tombstones import KEPT as TOMBSTONE_KEPT
from ghibli_flask.services.wishes import WishOutcome
from ghibli_flask.task_states import Outcome, Stage, TaskState
from tests.support.visitor import photo

pytestmark = pytest.mark.usefixtures("each_database")

MONTHLY, TRIES, TRIES_OF_ADDRESS = 8, 3, 5
PHOTOS = [photo(32, 32, number) for number in range(4)]
RESULT = photo(32, 32, 99)

# A server answers more slowly than a file does, so it gets fewer runs: together they take about forty seconds.
RUNS = {"sqlite": 60, "mariadb": 45}
STEPS = 45

# What the machine must have come across, or it has proved less than it says.
TO_BE_SEEN = {
    "painted, not refunded", "original, refunded", "failed, refunded", "cancelled, refunded",
    "cancelled, not refunded", "late cancel kept", "hand-back", "woke too late", "died", "month",
    "refund asked twice", "nothing left", "wish kept", "wish without a credit",
}  # fmt: skip

GIVES_BACK = {Outcome.FAILED.value, Outcome.ORIGINAL.value, Outcome.CANCELLED.value}

people = st.sampled_from(["anna", "ben", "a browser", "another browser", "no cookie"])
users = st.sampled_from(["anna", "ben"])
browsers = st.sampled_from(["a browser", "another browser"])
outcomes = st.sampled_from(list(Outcome))
# Which of the tasks or runs so far; the machine takes it modulo how many there are. Zero is the newest.
picks = st.integers(0, 11)


class Books(RuleBasedStateMachine):
    """Two users, two browsers and a program without cookie, all at one address, and their orders."""

    seen: Counter[str] = Counter()

    def __init__(self, app: Flask, clock: FixedClock) -> None:
        super().__init__()
        self.app, self.clock = app, clock
        self.context = app.app_context()
        self.context.push()
        self.clock.moment = datetime(2026, 1, 30, 21, 0, tzinfo=UTC)
        self.runs: list[runs.Run] = []
        self.endings: dict[int, tuple[object, ...]] = {}
        self.entries: dict[int, tuple[object, ...]] = {}
        self.given_back: set[str] = set()
        self.numbers = itertools.count()

    def teardown(self) -> None:
        """Empty the database, for the next run."""
        with db.engine.begin() as connection:
            for table in reversed(db.metadata.sorted_tables):
                connection.execute(table.delete())
        runtime().redis.flushdb()
        self.context.pop()

    # --- Who takes part ---

    @initialize()
    def open_the_accounts(self) -> None:
        """Anna and Ben have accounts; everybody sits behind one address."""
        names = {"anna": "anna@example.org", "ben": "ben@example.org"}

        def unit(session: Any) -> dict[str, str]:
            return {
                name: accounts.create(session, email, "credentials", name, "en").id for name, email in names.items()
            }

        self.user_ids = transaction(unit)

    def payer(self, who: str) -> Payer:
        """Who orders, as the front doors would say it."""
        if who in self.user_ids:
            return Member(self.user_ids[who], allowances.guest_of(f"the browser of {who}", "192.0.2.9"))
        return allowances.guest_of(None if who == "no cookie" else who, "192.0.2.9")

    def owner(self, task: ImageTask) -> Payer:
        """Somebody who may act on this task: its owner, or anybody when it has none."""
        for who in ("anna", "ben", "a browser", "another browser"):
            if self.payer(who).owner == task.owner:
                return self.payer(who)
        return self.payer("no cookie")

    def task(self, pick: int, *states: TaskState) -> ImageTask | None:
        """One of the tasks so far, or of those in these states, counted from the newest."""
        with reading() as session:
            rows = session.scalars(select(ImageTask).order_by(ImageTask.id.desc())).all()
        rows = [row for row in rows if not states or row.state in states]
        return rows[pick % len(rows)] if rows else None

    def run(self, pick: int) -> runs.Run | None:
        """By an even number one that still holds its task, by an odd one any of the runs so far."""
        found = self.runs if pick % 2 else [run for run in self.runs if runs.is_mine(run)]
        return found[-1 - pick // 2 % len(found)] if found else None

    # --- What visitors do ---

    @rule(who=people, number=st.integers(0, 3), key=st.sampled_from([None, None, "k1", "k2"]))
    def submit(self, who: str, number: int, key: str | None) -> None:
        """Order a picture; a new task costs exactly one, a repeat and a refusal nothing."""
        order = Order(Mode.IMAGE_TO_IMAGE, PHOTOS[number], seed=1, idempotency_key=key)
        self.order(self.payer(who), lambda: tasks.submit(order, self.payer(who)))

    @rule(who=people, number=st.integers(0, 3), key=st.sampled_from(["k3", "k4"]))
    def submit_twice(self, who: str, number: int, key: str) -> None:
        """The same order under the same key, sent twice, is one task and one charge."""
        order = Order(Mode.IMAGE_TO_IMAGE, PHOTOS[number], seed=1, idempotency_key=key)
        first = self.order(self.payer(who), lambda: tasks.submit(order, self.payer(who)))
        if first:
            again = self.order(self.payer(who), lambda: tasks.submit(order, self.payer(who)))
            assert again is not None
            assert (again.task.id, again.duplicate) == (first.task.id, True)

    @rule(who=users)
    def use_up(self, who: str) -> None:
        """Somebody with nothing left is refused, and keeps nothing less than nothing."""
        self.empty(self.user_ids[who])
        order = Order(Mode.IMAGE_TO_IMAGE, PHOTOS[0], seed=5)
        assert self.order(self.payer(who), lambda: tasks.submit(order, self.payer(who))) is None

    @rule(pick=picks, style=st.sampled_from([None, "night"]))
    def retry(self, pick: int, style: str | None) -> None:
        """Paint one again: a new task with a charge of its own."""
        task = self.task(pick)
        if task:
            payer = self.owner(task)
            self.order(payer, lambda: tasks.retry(task.public_id, payer, style))

    def empty(self, user_id: str) -> None:
        """Take all that a user has left."""
        left, key = credits.balance_of(user_id).credits, f"used-{next(self.numbers)}"
        if left:
            transaction(lambda session: credits.adjust(session, user_id, -left, key, "because"))

    def order(self, payer: Payer, send: Callable[[], Submission]) -> Submission | None:
        """Send an order and look at what it cost; gives None when it was refused."""
        before = self.left(payer)
        refusals = (NoCredits, SignInRequired, IdempotencyMismatch, TooManyRequests, SourceGone, NotFound, Forbidden)
        submission = None
        try:
            submission = send()
        except (NoCredits, SignInRequired):
            assert before == 0
            self.seen["nothing left"] += 1
        except refusals:
            pass
        paid = bool(submission and not submission.duplicate)
        assert self.left(payer) == before - paid
        return submission

    def left(self, payer: Payer) -> int:
        """How many pictures a payer has left, the month's credits included."""
        if isinstance(payer, Member):
            return credits.balance_of(payer.user_id).credits
        return allowances.tries_of(payer).left

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        """Stop one, twice over."""
        task = self.task(pick)
        for _ in range(2):
            if task:
                with allowed(WrongState, NotFound):
                    tasks.cancel(task.public_id, self.owner(task))

    @rule(who=people, times=st.integers(2, 4))
    def stop_half_way(self, who: str, times: int) -> None:
        """Order, and cancel after the painting has begun: free five times a day."""
        for number in range(times):
            order = Order(Mode.IMAGE_TO_IMAGE, PHOTOS[number], seed=3)
            submission = self.order(self.payer(who), lambda order=order: tasks.submit(order, self.payer(who)))
            run = runs.claim(submission.task.public_id) if submission else None
            if submission and run:
                self.runs.append(run)
                tasks.cancel(submission.task.public_id, self.payer(who))

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        """Delete one, in whatever state it is."""
        task = self.task(pick)
        if task:
            with allowed(NotFound):
                tasks.remove(task.public_id, self.owner(task))

    @rule(who=users, browser=browsers)
    def sign_in(self, who: str, browser: str) -> None:
        """Sign in where a guest was: the pictures come along, what they cost stays where it was."""
        sessions.begin(self.user_ids[who], "a browser", allowances.guest_of(browser, "192.0.2.9"))

    @rule(pick=picks)
    def wish(self, pick: int) -> None:
        """Wish that one is painted when an engine is back: that costs nothing."""
        task = self.task(pick)
        if task:
            payer = self.owner(task)
            before = self.left(payer)
            with allowed(WrongState, Forbidden, SourceGone, NotFound):
                wishes.make(task.public_id, payer)
            assert self.left(payer) == before

    @rule(who=people, number=st.integers(0, 3), spends=st.booleans())
    def wish_for_an_original(self, who: str, number: int, spends: bool) -> None:
        """Order, get the original back, wish twice over, and have the wish kept or not: at most one new task."""
        order = Order(Mode.IMAGE_TO_IMAGE, PHOTOS[number], seed=7)
        payer = self.payer(who)
        submission = self.order(payer, lambda: tasks.submit(order, payer))
        run = runs.claim(submission.task.public_id) if submission else None
        if submission is None or run is None or submission.task.owner is None:
            return
        self.runs.append(run)
        assert self.end(run, Outcome.ORIGINAL)
        for _ in range(2):
            wishes.make(submission.task.public_id, payer)
        if spends and isinstance(payer, Member):
            self.empty(payer.user_id)
        self.keep_wishes()

    @rule()
    def keep_wishes(self) -> None:
        """The sweep keeps the wishes whose time has come, and tells those who have nothing left."""
        self.clock.advance(minutes=31)
        for _ in range(2):
            wishes.keep_due()

    # --- What workers do ---

    @rule(pick=picks)
    def claim(self, pick: int) -> None:
        """Take a task that waits, if it still has time."""
        task = self.task(pick, TaskState.QUEUED)
        run = runs.claim(task.public_id) if task else None
        if run:
            self.runs.append(run)

    @rule(pick=picks, outcome=outcomes, times=st.integers(1, 2))
    def settle(self, pick: int, outcome: Outcome, times: int) -> None:
        """End a run, and tell it once more; also a run that is no longer the task's."""
        run = self.run(pick)
        for _ in range(times):
            if run:
                was_mine = self.end(run, outcome)
                assert not (was_mine and self.is_overtaken(run)), "a run that was overtaken ended the task"

    def is_overtaken(self, run: runs.Run) -> bool:
        """Whether the task of this run was claimed once more after it."""
        later = self.runs[self.runs.index(run) + 1 :]
        return any(other.task_id == run.task_id for other in later)

    def end(self, run: runs.Run, outcome: Outcome) -> bool:
        """Settle a run as `jobs.paint` does."""
        has_picture = outcome in {Outcome.PAINTED, Outcome.ORIGINAL}
        result = files.keep(RESULT, "results", "jpg") if has_picture else None
        return tasks.settle(run.task_id, run.attempt, Ending(outcome, result, None if has_picture else "internal"))

    @rule(who=people, number=st.integers(0, 3), outcome=outcomes)
    def paint(self, who: str, number: int, outcome: Outcome) -> None:
        """The usual way in one step, so that the machine gets deep: order, claim, end."""
        order = Order(Mode.IMAGE_TO_IMAGE, PHOTOS[number], seed=2)
        submission = self.order(self.payer(who), lambda: tasks.submit(order, self.payer(who)))
        run = runs.claim(submission.task.public_id) if submission else None
        if run:
            self.runs.append(run)
            assert self.end(run, outcome)

    @rule(who=people, number=st.integers(0, 3))
    def begin(self, who: str, number: int) -> None:
        """Order and claim, and leave it there: work for the rules that end it, stop it or forget it."""
        order = Order(Mode.IMAGE_TO_IMAGE, PHOTOS[number], seed=4)
        submission = self.order(self.payer(who), lambda: tasks.submit(order, self.payer(who)))
        run = runs.claim(submission.task.public_id) if submission else None
        if run:
            self.runs.append(run)

    @rule(pick=picks)
    def hand_back(self, pick: int) -> None:
        """A worker that stops returns its task; the fourth time it fails."""
        run = self.run(pick)
        if run and runs.hand_back(run):
            self.seen["hand-back"] += 1

    @rule(who=people, number=st.integers(0, 3), dies=st.booleans(), outcome=outcomes)
    def wake_too_late(self, who: str, number: int, dies: bool, outcome: Outcome) -> None:
        """A run loses its task, by its worker's stop or death, another one claims it, and then the first wakes up."""
        order = Order(Mode.IMAGE_TO_IMAGE, PHOTOS[number], seed=6)
        submission = self.order(self.payer(who), lambda: tasks.submit(order, self.payer(who)))
        first = runs.claim(submission.task.public_id) if submission else None
        if first is None:
            return
        if dies:
            repair.sweep()
            self.clock.advance(seconds=50)
            repair.sweep()
        else:
            assert runs.hand_back(first)
        second = runs.claim(first.public_id)
        assert second is not None
        self.runs += [first, second]
        assert not self.end(first, outcome)
        assert runs.is_mine(second)
        self.seen["died" if dies else "woke too late"] += 1

    @rule(pick=picks)
    def beat(self, pick: int) -> None:
        """A sign of life, of a live run or of one that lost its task."""
        run = self.run(pick)
        if run:
            runs.beat(run, 50, Stage.PAINTING, "gradio")

    # --- What time does ---

    @rule(seconds=st.sampled_from([6, 31, 60]))
    def sweep(self, seconds: int) -> None:
        """Sweep, wait and sweep again: a silent run is dead by the second one."""
        repair.sweep()
        self.clock.advance(seconds=seconds)
        repair.sweep()

    @rule()
    def pass_the_deadline(self) -> None:
        """Nobody works for twenty minutes; the sweep ends everything that is late."""
        self.clock.advance(seconds=runtime().settings.stuck_after_s + 31)
        repair.sweep()

    @rule(hours=st.sampled_from([3, 24]))
    def wait(self, hours: int) -> None:
        """Hours pass; a day's tries and late cancels begin anew."""
        self.clock.advance(hours=hours)

    @rule(who=users, months=st.integers(1, 3))
    def pass_the_end_of_the_month(self, who: str, months: int) -> None:
        """The month's credits lift a low balance, never lower a high one, and come once however many were missed."""
        before = credits.balance_of(self.user_ids[who]).credits
        for _ in range(months):
            self.clock.moment = credits.next_reset(self.clock.moment)
        self.seen["month"] += before < MONTHLY
        for _ in range(2):
            after = credits.balance_of(self.user_ids[who])
            assert after.credits == max(before, MONTHLY)
            assert after.resets_at == credits.next_reset(self.clock.moment)

    # --- What operators do, and what is told twice ---

    @rule(who=users, amount=st.sampled_from([-9, -2, 2, 20]), number=st.integers(0, 5))
    def adjust(self, who: str, amount: int, number: int) -> None:
        """Change a balance with a reason; the same posting a second time changes nothing, below zero neither."""
        user_id = self.user_ids[who]
        key = f"test-{user_id}-{number}"
        with allowed(InsufficientCredits, IntegrityError):
            transaction(lambda session: credits.adjust(session, user_id, amount, key, "because"))

    @rule(who=users, amount=st.sampled_from([-2, -1, 1, 2]), number=st.integers(0, 3), times=st.integers(1, 2))
    def a_program_posts(self, who: str, amount: int, number: int, times: int) -> None:
        """A program books or gives back for tasks of its own, once each however often it says so; or it is refused."""
        for _ in range(times):
            with allowed(InsufficientCredits, Conflict):
                credits.post(self.user_ids[who], amount, f"of-a-program-{number}")

    @rule(who=users, pick=picks, amount=st.sampled_from([-1, 1]), times=st.integers(1, 2))
    def a_program_posts_for_our_task(self, who: str, pick: int, amount: int, times: int) -> None:
        """A program books one of our tasks again, which is nothing new, or gives it back before we do."""
        task = self.task(pick)
        for _ in range(times):
            if task and task.payer == f"user:{self.user_ids[who]}":
                before = credits.balance_of(self.user_ids[who]).credits
                after = credits.post(self.user_ids[who], amount, task.public_id)
                is_new = amount > 0 and not task.refunded and task.public_id not in self.given_back
                assert after == before + is_new
                if amount > 0:
                    self.given_back.add(task.public_id)

    @rule(pick=picks)
    def refund_twice(self, pick: int) -> None:
        """A refund that was given is not given again, whoever asks for it."""
        task = self.task(pick)
        if task and task.refunded and task.payer.startswith("user:"):
            user_id = task.payer.removeprefix("user:")
            assert not transaction(lambda session: credits.refund(session, user_id, task.public_id))
            self.seen["refund asked twice"] += 1

    @rule(pick=picks, outcome=outcomes)
    def end_from_outside(self, pick: int, outcome: Outcome) -> None:
        """An operator or a second sweep ends a task that it read earlier."""
        task = self.task(pick)
        if task and outcome not in {Outcome.PAINTED, Outcome.ORIGINAL}:
            tasks.end_from_outside(task, Ending(outcome, error_code="internal"))

    # --- What is always true ---

    @invariant()
    def balances_are_the_sums_of_their_entries(self) -> None:
        """Of every user, and never below zero."""
        with reading() as session:
            balances = {user.id: user.monthly_credits for user in session.scalars(select(User))}
            sums: Counter[str] = Counter()
            for entry in session.scalars(select(CreditEntry)):
                sums[entry.user_id] += entry.amount
        assert balances == {user_id: sums[user_id] for user_id in balances}
        assert all(balance >= 0 for balance in balances.values())
        assert credits.differences() == []

    @invariant()
    def each_task_is_charged_once_and_refunded_at_most_once(self) -> None:
        """A user's task has one charge, and one refund of the same amount when its row or a program said so."""
        with reading() as session:
            postings = defaultdict(list)
            for entry in session.scalars(select(CreditEntry).where(CreditEntry.task_id.is_not(None))):
                postings[entry.task_id].append((entry.user_id, entry.kind, entry.amount))
            rows = session.scalars(select(ImageTask)).all()
        for task in rows:
            user_id = task.payer.removeprefix("user:")
            charge, refund = (user_id, "charge", -1), (user_id, "refund", 1)
            expected = [charge, refund] if task.refunded or task.public_id in self.given_back else [charge]
            found = postings.pop(task.public_id, [])
            assert found == (expected if task.payer.startswith("user:") else [])
        for found in postings.values():  # What is left are the tasks of a program.
            (user_id, kind, amount), *rest = found
            assert kind == "charge"
            assert rest in ([], [(user_id, "refund", -amount)])

    @invariant()
    def refunds_follow_the_outcome(self) -> None:
        """Failed and original give back, painted does not, a cancel does but for late ones beyond the day's five."""
        with reading() as session:
            rows = session.scalars(select(ImageTask)).all()
        late = defaultdict(list)
        for task in rows:
            assert task.charged == 1
            assert not task.refunded or task.outcome in GIVES_BACK
            if task.outcome in {Outcome.FAILED.value, Outcome.ORIGINAL.value}:
                assert task.refunded
            if task.outcome == Outcome.CANCELLED.value:
                assert task.finished_at is not None
                if task.started_at:
                    late[task.payer, task.finished_at.date()].append(task.refunded)
                else:
                    assert task.refunded
        for given in late.values():
            assert sum(given) == min(len(given), FREE_LATE_CANCELS)
            self.seen["late cancel kept"] += len(given) > FREE_LATE_CANCELS

    @invariant()
    def the_counts_of_guests_are_what_the_rows_say(self) -> None:
        """Each browser's and address's count of a day is the number of its tasks of that day that were not refunded."""
        expected: Counter[tuple[object, object]] = Counter()
        with reading() as session:
            for task in session.scalars(select(ImageTask)):
                subjects = allowances.subjects_of(task.payer, task.address_subject)
                expected.update((subject, task.paid_on) for subject in subjects if not task.refunded)
            counts = {(row.subject, row.day): row.used for row in session.scalars(select(Allowance))}
        # The rows of older days may have gone by now.
        recent = self.clock.now().date() - TOMBSTONE_KEPT
        counted = {key: used for key, used in counts.items() if used and key[1] > recent}
        assert counted == {key: used for key, used in expected.items() if key[1] > recent}
        assert all(used <= TRIES_OF_ADDRESS for used in counts.values())

    @invariant()
    def each_wish_is_kept_at_most_once(self) -> None:
        """No two wishes share a task, and no task that a wish became is missing."""
        with reading() as session:
            ended = session.scalars(select(Wish).where(Wish.done_at.is_not(None))).all()
            copies = session.scalars(select(ImageTask.retry_of).where(ImageTask.idempotency_key.is_not(None))).all()
        kept = [wish.kept_as for wish in ended if wish.outcome == WishOutcome.KEPT]
        assert len(set(kept)) == len(kept)
        assert None not in kept
        assert max(Counter(copy for copy in copies if copy).values(), default=0) <= 1
        self.seen["wish kept"] += len(kept)
        self.seen["wish without a credit"] += sum(wish.outcome == WishOutcome.NO_CREDIT for wish in ended)

    @invariant()
    def what_has_ended_stays_as_it_is(self) -> None:
        """No terminal row moves before its time to go has come, and no entry of the ledger changes or goes away."""
        with reading() as session:
            ended = {
                task.id: (task.status, task.outcome, task.attempt, task.refunded, task.payer, task.finished_at)
                for task in session.scalars(select(ImageTask))
                if TaskState(task.status).is_terminal
            }
            entries = {
                entry.id: (entry.user_id, entry.amount, entry.business_key, entry.created_at)
                for entry in session.scalars(select(CreditEntry))
            }
        self.seen.update(f"{task[1]}, {'' if task[3] else 'not '}refunded" for task in ended.values())
        for task_id in self.endings.keys() - ended.keys():
            finished_at = self.endings.pop(task_id)[-1]
            assert isinstance(finished_at, datetime)
            assert self.clock.now() - finished_at >= TOMBSTONE_KEPT
        assert_kept(self.endings, ended)
        assert_kept(self.entries, entries)
        self.endings, self.entries = ended, entries


@contextmanager
def allowed(*refusals: type[Exception]) -> Iterable[None]:  # type: ignore[misc]
    """Take these refusals as an answer; what they leave behind is for the invariants."""
    try:
        yield
    except refusals:
        return


def assert_kept(before: dict[int, tuple[object, ...]], after: dict[int, tuple[object, ...]]) -> None:
    """Everything that was there is there, unchanged."""
    assert before.items() <= after.items()


@pytest.mark.timeout(600)  # Usually twenty seconds; finding the shortest way to a failure takes minutes.
def test_the_books_add_up(app_factory: Callable[..., Flask], each_database: str) -> None:
    """No order of submits, endings, deaths, sweeps, month ends, deletions and repeated messages breaks the ledger."""
    clock = FixedClock(datetime(2026, 1, 30, 21, 0, tzinfo=UTC))
    app = app_factory(
        clock=clock,
        monthly_credits=MONTHLY,
        guest_daily_limit=TRIES,
        guest_daily_limit_per_address=TRIES_OF_ADDRESS,
        stuck_after_s=300,
    )
    profile = settings(
        max_examples=RUNS[each_database],
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    Books.seen.clear()
    run_state_machine_as_test(lambda: Books(app, clock), settings=profile)
    assert {what for what, times in Books.seen.items() if times} == TO_BE_SEEN, "the machine did not get everywhere"
