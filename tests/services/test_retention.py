"""Nothing is kept longer than promised, and nothing goes earlier. On SQLite and on MariaDB, by a clock that is set."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading, transaction
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import NotFound
from ghibli_flask.models import DiscardedFile, ImageTask, Share, ShareReport, Upload, Wish
from ghibli_flask.services import (
    allowances,
    files,
    moderation,
    previews,
    progress,
    repair,
    retention,
    runs,
    sessions,
    sharing,
    tasks,
    tombstones,
    uploads,
    wishes,
)
from ghibli_flask.services.orders import Order
from ghibli_flask.services.payers import Member, Payer
from ghibli_flask.services.sharing import Wishes
from ghibli_flask.services.tasks import Ending
from ghibli_flask.storage import FileMissing, StoredFile, stores
from ghibli_flask.task_states import Outcome
from tests.support.member import confirmed_account
from tests.support.visitor import photo

pytestmark = pytest.mark.usefixtures("each_database")

PICTURE_DAYS, PHOTO_DAYS, GUEST_DAYS = 30, 5, 7


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Iterator[Flask]:
    """The application at noon; photographs go before pictures."""
    app = app_factory(clock=clock, for_worker=True, source_ttl_days=PHOTO_DAYS, guest_daily_limit=100)
    with app.app_context():
        yield app


@pytest.fixture
def guest(app: Flask) -> Payer:
    """A guest."""
    return allowances.guest_of("a-browser", "192.0.2.7")


@pytest.fixture
def user(app: Flask) -> Payer:
    """A user."""
    return Member(confirmed_account(), allowances.guest_of(None, "192.0.2.7"))


def ended(payer: Payer, outcome: Outcome = Outcome.PAINTED) -> ImageTask:
    """An order that ended; painted, it has picture and thumbnail."""
    task = tasks.submit(Order(Mode.IMAGE_TO_IMAGE, photo(32, 32), prompt="my cat"), payer).task
    run = runs.claim(task.public_id)
    assert run is not None
    result = files.keep(photo(64, 48), "results", "jpg") if outcome is Outcome.PAINTED else None
    preview = previews.keep(photo(64, 48)) if result else None
    assert tasks.settle(run.task_id, run.attempt, Ending(outcome, result, preview=preview))
    return progress.look_up(task.public_id)


def row(task: ImageTask) -> ImageTask | None:
    """The row as it is now, deleted or not."""
    with reading() as session:
        return session.get(ImageTask, task.id)


def lies(file: StoredFile) -> bool:
    """Whether the bytes are still there."""
    try:
        stores().read(file)
    except FileMissing:
        return False
    return True


def rows(model: type) -> int:
    """How many rows a table has."""
    with reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def sweep() -> int:
    """One sweep; how many rows retention met in it."""
    report = repair.sweep()
    assert report.broken == []
    return report.expired


# --- Pictures ---


@pytest.mark.parametrize(("who", "days"), [("user", PICTURE_DAYS), ("guest", GUEST_DAYS)])
def test_a_picture_goes_on_its_day(
    app: Flask, clock: FixedClock, request: pytest.FixtureRequest, who: str, days: int
) -> None:
    """To the last second everything is there; then row, words, picture and thumbnail go in one sweep, for good."""
    task = ended(request.getfixturevalue(who))
    kept = tombstones.files_of(task)
    clock.advance(days=days, seconds=-1)
    sweep()
    assert [lies(file) for file in kept[1:]] == [True, True]
    assert progress.look_up(task.public_id).prompt == "my cat"
    clock.advance(seconds=1)
    assert sweep() == 1
    with pytest.raises(NotFound):
        progress.view(task.public_id)
    tombstone = row(task)
    assert tombstone is not None
    assert (tombstone.prompt, tombstones.files_of(tombstone)) == ("", [])
    assert not any(lies(file) for file in kept)
    assert rows(DiscardedFile) == 0


def test_a_later_setting_breaks_no_promise(app_factory: Callable[..., Flask], app: Flask, guest: Payer) -> None:
    """The day stands on the row: shorter days in the settings touch only what ends after them."""
    task = ended(guest)
    shorter = app_factory(clock=FixedClock(datetime(2026, 7, 4, tzinfo=UTC)), guest_result_ttl_days=1)
    with shorter.app_context():
        assert retention.expire() == 0
    assert row(task) is not None


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED])
def test_what_was_not_painted_goes_too(app: Flask, clock: FixedClock, guest: Payer, outcome: Outcome) -> None:
    """An order that ended without a picture leaves the history after the same time, its wish with it."""
    task = ended(guest, outcome)
    if outcome is Outcome.FAILED:
        wishes.make(task.public_id, guest)
        transaction(lambda session: session.execute(update(Wish).values(not_before=clock.now() + timedelta(days=99))))
    clock.advance(days=GUEST_DAYS)
    assert retention.expire() == 1
    with pytest.raises(NotFound):
        progress.look_up(task.public_id)
    assert rows(Wish) == 0


def test_what_is_not_finished_stays(app: Flask, clock: FixedClock, guest: Payer) -> None:
    """A live order has no day to go and keeps its photograph, however late it is."""
    task = tasks.submit(Order(Mode.IMAGE_TO_IMAGE, photo(32, 32)), guest).task
    assert retention.keeping_of(task) is None
    clock.advance(days=100)
    assert retention.expire() == 0
    kept = row(task)
    assert kept is not None
    assert lies(tombstones.files_of(kept)[0])


# --- Photographs ---


def test_a_photograph_goes_before_its_picture(app: Flask, clock: FixedClock, user: Payer) -> None:
    """On its own day the photograph goes and the picture stays; painting again then says why it cannot."""
    task = ended(user)
    photograph, picture, _thumbnail = tombstones.files_of(task)
    keeping = retention.keeping_of(task)
    assert keeping is not None
    assert (keeping.picture_until, keeping.photo_until) == (
        clock.now() + timedelta(days=PICTURE_DAYS),
        clock.now() + timedelta(days=PHOTO_DAYS),
    )
    clock.advance(days=PHOTO_DAYS)
    assert sweep() == 1
    assert (lies(photograph), lies(picture)) == (False, True)
    left = row(task)
    assert left is not None
    keeping = retention.keeping_of(left)
    assert keeping is not None
    assert not keeping.has_photo
    with pytest.raises(Exception, match="photo of this order is no longer kept"):
        tasks.retry(task.public_id, user)


# --- What is shared ---


def test_what_is_shared_stays_and_begins_anew_when_taken_back(app: Flask, clock: FixedClock, guest: Payer) -> None:
    """A shared picture outlives its time; taken back, it has its whole time again. The photograph goes, not shown."""
    task = ended(guest)
    photograph, picture, _thumbnail = tombstones.files_of(task)
    share = sharing.share(task.public_id, guest, Wishes()).share
    clock.advance(days=100)
    sweep()
    assert (lies(photograph), lies(picture)) == (False, True)
    sharing.revoke(share.public_id, guest)
    clock.advance(days=GUEST_DAYS, seconds=-1)
    assert sweep() == 0
    clock.advance(seconds=1)
    assert sweep() == 1
    assert not lies(picture)


def test_a_shown_photograph_stays_as_long_as_it_is_shown(app: Flask, clock: FixedClock, guest: Payer) -> None:
    """With its photograph on the share both stay; no longer shown, the photograph goes after its days."""
    task = ended(guest)
    photograph = tombstones.files_of(task)[0]
    share = sharing.share(task.public_id, guest, Wishes(show_original=True)).share
    clock.advance(days=100)
    sweep()
    assert lies(photograph)
    sharing.change(share.public_id, guest, Wishes(show_original=False))
    clock.advance(days=PHOTO_DAYS)
    assert sweep() == 1
    assert not lies(photograph)


def test_shared_at_the_last_moment_it_stays(app: Flask, clock: FixedClock, guest: Payer) -> None:
    """A sweep that has read a row as due leaves it alone when it was shared before its transaction."""
    task = ended(guest)
    clock.advance(days=GUEST_DAYS)
    due = [row(task)]
    sharing.share(task.public_id, guest, Wishes(show_original=True))
    retention._bury(due, clock.now())
    retention._let_photos_go(due, clock.now())
    assert progress.view(task.public_id).has_result
    assert all(lies(file) for file in tombstones.files_of(task))
    assert progress.look_up(task.public_id).is_shared == 1


# --- Tombstones ---


def test_a_tombstone_goes_with_everything_that_refers_to_it(app: Flask, clock: FixedClock, guest: Payer) -> None:
    """A week after the deletion the row is dropped, with its revoked share, the reports on it, and a wish's answer."""
    first = ended(guest, Outcome.FAILED)
    wishes.make(first.public_id, guest)
    clock.advance(seconds=wishes.AGAIN_AFTER.total_seconds() + 1)
    assert wishes.keep_due() == 1
    view = wishes.view_of(first)
    assert view is not None
    assert view.task_id is not None
    run = runs.claim(view.task_id)
    assert run is not None
    result = files.keep(photo(64, 48), "results", "jpg")
    assert tasks.settle(run.task_id, run.attempt, Ending(Outcome.PAINTED, result))
    share = sharing.share(view.task_id, guest, Wishes()).share
    moderation.report(share.public_id, "other", allowances.guest_of("b", "192.0.2.8"))
    tasks.remove(view.task_id, guest)
    assert (rows(Share), rows(ShareReport)) == (1, 1)
    clock.advance(seconds=tombstones.KEPT.total_seconds())
    transaction(
        lambda session: session.execute(
            update(ImageTask).where(ImageTask.id == first.id).values(expires_at=None, source_expires_at=None)
        )
    )  # The first order is to stay.
    assert retention.expire() == 1
    assert (rows(ImageTask), rows(Share), rows(ShareReport)) == (1, 0, 0)
    after = wishes.view_of(first)
    assert after is not None
    assert (after.outcome, after.task_id) == (wishes.WishOutcome.KEPT, None)


# --- Uploads ---


def test_an_upload_goes_after_a_day(app: Flask, clock: FixedClock, guest: Payer) -> None:
    """To the last second it can be ordered; then row and file go, and what was ordered from it has its own copy."""
    upload = uploads.keep(photo(32, 32), guest)
    file = StoredFile(upload.store, upload.key)
    clock.advance(days=1, seconds=-1)
    sweep()
    order = Order(Mode.IMAGE_TO_IMAGE, uploads.photo_of(upload.public_id, guest))
    task = tasks.submit(order, guest).task
    clock.advance(seconds=1)
    assert sweep() == 1
    assert (rows(Upload), lies(file), lies(tombstones.files_of(task)[0])) == (0, False, True)
    with pytest.raises(NotFound):
        uploads.photo_of(upload.public_id, guest)


# --- Many, and several sweeps at once ---


def test_a_sweep_is_bounded_and_the_next_goes_on(app: Flask, clock: FixedClock, guest: Payer) -> None:
    """At most so many of each kind go in one sweep, the oldest first."""
    made = [ended(guest, Outcome.FAILED) for _number in range(3)]
    clock.advance(days=PHOTO_DAYS)
    assert retention.expire() == 3  # The photographs.
    clock.advance(days=GUEST_DAYS)
    assert [retention.expire(limit=2), retention.expire(limit=2), retention.expire(limit=2)] == [2, 1, 0]
    assert all(found is not None and found.deleted_at for found in map(row, made))


def test_two_sweeps_at_once_let_each_file_go_once(app: Flask, clock: FixedClock, guest: Payer) -> None:
    """Two sweeps that have read the same rows do the work once: no file is entered twice, nothing fails."""
    task = ended(guest)
    clock.advance(days=GUEST_DAYS)
    due: list[Any] = [row(task)]
    for _sweep in range(2):
        retention._bury(due, clock.now())
        retention._let_photos_go(due, clock.now())
    assert rows(DiscardedFile) == 3
    upload_due = uploads.keep(photo(32, 32), guest)
    for _sweep in range(2):
        transaction(lambda session: retention.drop_uploads(session, Upload.id == upload_due.id))
    assert rows(DiscardedFile) == 4


# --- A guest who becomes a user ---


def test_a_guests_pictures_are_kept_as_a_users_after_the_sign_in(app: Flask, clock: FixedClock, guest: Payer) -> None:
    """From the sign-in on a picture has a user's days, counted from its end; a shared one still has none."""
    mine, shared = ended(guest), ended(guest)
    sharing.share(shared.public_id, guest, Wishes())
    user_id = confirmed_account()
    sessions.begin(user_id, "Firefox", guest)
    after, still_shared = progress.look_up(mine.public_id), progress.look_up(shared.public_id)
    assert after.expires_at == after.finished_at + timedelta(days=PICTURE_DAYS)
    assert still_shared.expires_at is None
