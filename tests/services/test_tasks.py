"""The life of an order in the services: charging, fencing, ending once. On SQLite and on MariaDB."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import func, select

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import SignInRequired
from ghibli_flask.models import Allowance, DiscardedFile, ImageTask
from ghibli_flask.services import allowances, files, progress, repair, runs, tasks
from ghibli_flask.services.allowances import Guest
from ghibli_flask.services.orders import Order
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import MOVES, Outcome, Stage, TaskState
from tests.support.runs import claim, paint, settle
from tests.support.visitor import photo

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Iterator[Flask]:
    """The application at noon, with its context."""
    app = app_factory(clock=clock)
    with app.app_context():
        yield app


@pytest.fixture
def guest(app: Flask) -> Guest:
    """A browser at an address."""
    return allowances.guest_of("a-browser", "192.0.2.7")


def order(guest: Guest, **fields: object) -> ImageTask:
    """An accepted order."""
    return tasks.submit(Order(Mode.IMAGE_TO_IMAGE, photo(), **fields), guest).task  # type: ignore[arg-type]


def used(guest: Guest) -> tuple[int, int]:
    """What today's counts say: the browser's and the address's."""
    with reading() as session:
        counts = {row.subject: row.used for row in session.scalars(select(Allowance))}
    return counts.get(guest.browser or "", 0), counts[guest.address]


def reread(task: ImageTask) -> ImageTask:
    """The row as it stands now."""
    with reading() as session:
        return session.get_one(ImageTask, task.id)


def test_an_order_takes_one_try_from_both_counts(guest: Guest) -> None:
    """Submitting charges the browser and the address once, in the order's own transaction."""
    task = order(guest)
    assert used(guest) == (1, 1)
    assert (task.status, task.charged, task.refunded) == ("queued", 1, 0)
    assert allowances.tries_of(guest).left == 2


def test_a_used_up_count_refuses_within_the_transaction(app: Flask, guest: Guest) -> None:
    """Where the early look was too early, the transaction itself refuses, and nothing stays behind."""
    for _ in range(3):
        order(guest)
    source = files.keep(photo(), "sources", "jpg")
    with pytest.raises(SignInRequired):
        tasks._enter(Order(Mode.IMAGE_TO_IMAGE, photo()), guest, source, daily_limit=None)
    assert used(guest) == (3, 3)
    assert files.drain() == 1
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(ImageTask)) == 3


def test_tries_renew_at_midnight(guest: Guest, clock: FixedClock) -> None:
    """The counts are those of the UTC day; a refund goes to the day on which the try was taken."""
    task = order(guest)
    clock.advance(hours=11, minutes=50)
    late = order(guest)
    clock.advance(minutes=20)
    assert allowances.tries_of(guest).left == 3
    tasks.end_from_outside(late, Ending(Outcome.FAILED, error_code="too_late"))
    assert allowances.tries_of(guest).left == 3
    assert used_on(guest, task) == 1


def used_on(guest: Guest, task: ImageTask) -> int:
    """What the browser's count says of the day of this task."""
    with reading() as session:
        return session.get_one(Allowance, (guest.browser, task.paid_on)).used


@pytest.mark.parametrize(
    ("outcome", "state", "left"),
    [
        (Outcome.PAINTED, TaskState.COMPLETED, 2),
        (Outcome.ORIGINAL, TaskState.COMPLETED, 3),
        (Outcome.FAILED, TaskState.FAILED, 3),
        (Outcome.CANCELLED, TaskState.CANCELLED, 3),
    ],
)
def test_each_outcome_charges_what_it_should(
    app: Flask, guest: Guest, outcome: Outcome, state: TaskState, left: int
) -> None:
    """Painted keeps the try; original, failed and cancelled give it back, exactly once."""
    task = order(guest)
    run = claim(app, task.public_id)
    assert settle(app, run, outcome)
    assert not settle(app, run, outcome)
    assert reread(task).state is state
    assert allowances.tries_of(guest).left == left
    assert reread(task).refunded == int(left == 3)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_terminal_row_never_moves_again(app: Flask, guest: Guest, outcome: Outcome) -> None:
    """After any ending no other ending, claim or heartbeat changes the row."""
    task = order(guest)
    run = claim(app, task.public_id)
    settle(app, run, outcome)
    before = reread(task)
    for other in Outcome:
        tasks.end_from_outside(before, Ending(other))
        settle(app, run, other)
    assert runs.claim(task.public_id) is None
    assert not runs.beat(run, 50, Stage.PAINTING, "gradio")
    assert not runs.hand_back(run)
    after = reread(task)
    assert (after.status, after.outcome, after.refunded) == (before.status, before.outcome, before.refunded)
    assert MOVES[after.state] == frozenset()


def test_one_claim_wins(guest: Guest) -> None:
    """A second claim of the same task finds nothing."""
    task = order(guest)
    assert runs.claim(task.public_id) is not None
    assert runs.claim(task.public_id) is None


def test_the_first_run_is_fenced_out_by_the_second(app: Flask, guest: Guest, clock: FixedClock) -> None:
    """A run that wakes after its task was given to another can neither beat, hand back nor settle it."""
    task = order(guest)
    first = claim(app, task.public_id)
    repair.sweep()
    clock.advance(seconds=60)
    report = repair.sweep()
    assert report.requeued == 1
    second = claim(app, task.public_id)
    assert second.attempt > first.attempt
    assert not runs.beat(first, 60, Stage.PAINTING, "gradio")
    assert not runs.is_mine(first)
    assert not settle(app, first, Outcome.FAILED)
    assert runs.is_mine(second)
    assert settle(app, second, Outcome.PAINTED)
    assert (reread(task).status, reread(task).refunded) == ("completed", 0)


def test_a_second_death_fails_and_refunds(app: Flask, guest: Guest, clock: FixedClock) -> None:
    """A task whose worker dies is queued again once; the second time it fails and the try comes back."""
    task = order(guest)
    repair.sweep()
    for _ in range(2):
        claim(app, task.public_id)
        clock.advance(seconds=60)
        repair.sweep()
    ended = reread(task)
    assert (ended.status, ended.error_code, ended.refunded) == ("failed", "interrupted", 1)
    assert allowances.tries_of(guest).left == 3


def test_silence_after_a_gap_in_the_sweeps_is_not_death(app: Flask, guest: Guest, clock: FixedClock) -> None:
    """A sweep whose predecessor is over 90 s old judges deadlines only; the next one counts heartbeats again."""
    task = order(guest)
    repair.sweep()
    claim(app, task.public_id)
    clock.advance(seconds=200)
    assert repair.sweep().requeued == 0
    clock.advance(seconds=60)
    assert repair.sweep().requeued == 1
    assert reread(task).status == "queued"


def test_the_deadline_ends_what_waits_and_what_works(app: Flask, guest: Guest, clock: FixedClock) -> None:
    """Past the deadline both queued and processing orders fail with a refund."""
    waiting, working = order(guest), order(guest)
    claim(app, working.public_id)
    clock.advance(seconds=1200 + 31)
    assert repair.sweep().failed == 2
    for task in (waiting, working):
        assert (reread(task).error_code, reread(task).refunded) == ("too_late", 1)
    assert allowances.tries_of(guest).left == 3


def test_the_sweep_rings_for_what_redis_forgot(app: Flask, guest: Guest, clock: FixedClock) -> None:
    """An order whose ring was lost is rung for again under the next number, and only once it has waited."""
    from ghibli_flask import queueing
    from ghibli_flask.extensions import runtime

    task = order(guest)
    runtime().redis.flushdb()
    assert repair.sweep().rung == 0
    clock.advance(seconds=31)
    assert repair.sweep().rung == 1
    assert queueing.paint_queue().job_ids == [f"{task.public_id}-2"]
    clock.advance(seconds=31)
    assert repair.sweep().rung == 0


def test_a_hand_back_is_no_death(app: Flask, guest: Guest) -> None:
    """A stopping worker hands back three times without a death being counted; the fourth time it fails."""
    task = order(guest)
    for number in range(1, 4):
        assert runs.hand_back(claim(app, task.public_id))
        row = reread(task)
        assert (row.status, row.handbacks, row.deaths) == ("queued", number, 0)
    assert runs.hand_back(claim(app, task.public_id))
    assert (reread(task).status, reread(task).refunded) == ("failed", 1)


def test_a_deleted_live_task_is_cancelled_and_buried(app: Flask, guest: Guest) -> None:
    """Deleting in the middle cancels, refunds, empties the row, and a late result is dropped with its file."""
    task = order(guest, prompt="a red hat")
    run = claim(app, task.public_id)
    tasks.remove(task.public_id, guest)
    row = reread(task)
    assert (row.status, row.prompt, row.source_key, row.refunded) == ("cancelled", "", None, 1)
    assert row.deleted_at is not None
    assert not settle(app, run, Outcome.PAINTED)
    assert reread(task).result_key is None


def test_an_adopted_file_cannot_be_adopted_twice(app: Flask, guest: Guest) -> None:
    """A file belongs to one column of one row: a second adoption, or one after the cleanup, fails."""
    from ghibli_flask.database import transaction

    kept = files.keep(photo(), "results", "jpg")
    transaction(lambda session: files.adopt(session, kept))
    with pytest.raises(files.FileGone):
        transaction(lambda session: files.adopt(session, kept))


def test_an_unadopted_file_is_gone_after_an_hour(app: Flask, clock: FixedClock) -> None:
    """A crash between writing and adopting leaves a file that the cleanup deletes, and no entry."""
    kept = files.keep(photo(), "results", "jpg")
    assert files.drain() == 0
    assert files.read(kept)
    clock.advance(hours=1, seconds=1)
    assert files.drain() == 1
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(DiscardedFile)) == 0


def test_the_live_status_is_not_believed_for_ever(app: Flask, guest: Guest, clock: FixedClock) -> None:
    """An unfinished live value over ten seconds old is not shown without a look at the row."""
    task = order(guest)
    run = claim(app, task.public_id)
    runs.beat(run, 65, Stage.PAINTING, "gradio")
    assert progress.view(task.public_id).progress == 0
    clock.advance(seconds=11)
    assert progress.view(task.public_id).progress == 65


def test_painting_keeps_the_stored_files_of_the_row(app: Flask, guest: Guest) -> None:
    """After a painted order exactly the photograph and the picture are stored, and nothing is left to discard."""
    from ghibli_flask.extensions import runtime

    task = order(guest)
    paint(app, task.public_id)
    folder = runtime().settings.instance_dir / "files"
    stored = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    row = reread(task)
    assert stored == {row.source_key, row.result_key}
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(DiscardedFile)) == 0
