"""Everything about a user as one zip, made in short jobs; and deleting it all. On SQLite and on MariaDB."""

import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from rq import Queue
from sqlalchemy import func, select, update

from ghibli_flask import queueing, status
from ghibli_flask.clock import FixedClock
from ghibli_flask.database import db, reading, transaction
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import Blocked, NotFound, NotSignedIn, Unavailable
from ghibli_flask.models import (
    CreditEntry,
    Departure,
    DiscardedFile,
    Export,
    ImageTask,
    Rating,
    User,
    UserProfile,
    UserSession,
)
from ghibli_flask.services import (
    accounts,
    administration,
    allowances,
    credits,
    erasure,
    exports,
    files,
    progress,
    ratings,
    repair,
    sessions,
    tasks,
    uploads,
)
from ghibli_flask.services.orders import Order
from ghibli_flask.storage import FileMissing, StoredFile, stores
from ghibli_flask.task_states import Outcome
from jobs import export, sweep
from jobs.worker import ApplicationWorker
from tests.services.conftest import member
from tests.support.member import EMAIL, confirmed_account
from tests.support.redis_server import RedisServer
from tests.support.runs import claim, paint, settle
from tests.support.visitor import photo

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Iterator[Flask]:
    """The application at noon, with its context and plenty of credits."""
    app = app_factory(clock=clock, for_worker=True, monthly_credits=100)
    with app.app_context():
        yield app


def order(user_id: str, **fields: Any) -> ImageTask:
    """An accepted order of this user."""
    return tasks.submit(Order(Mode.IMAGE_TO_IMAGE, photo(32, 32), **fields), member(user_id)).task


def work(app: Flask) -> None:
    """Do what waits on the maintenance queue, as its worker does."""
    ApplicationWorker(app, queueing.maintenance_queue(), "test-maintenance").work(burst=True, logging_level="WARNING")


def waiting(queue: Queue) -> list[str]:
    """The jobs that wait, in their order."""
    return [job.func_name for job in queue.jobs]


def unzipped(user_id: str) -> tuple[list[str], dict[str, Any]]:
    """The names of the pictures in a user's finished zip, and the facts."""
    with zipfile.ZipFile(exports.ready(user_id).path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        return [name for name in names if name != "account.json"], json.loads(archive.read("account.json"))


def zips(app: Flask) -> list[Path]:
    """The zips that lie on the disk."""
    return sorted((Path(app.instance_path) / "exports").glob("*"))


def rows(model: type) -> int:
    """How many rows a table has."""
    with reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


# --- The zip ---


def test_the_zip_holds_every_picture_and_every_fact(app: Flask, user_id: str) -> None:
    """Photographs and painted pictures byte by byte, and the account, orders, entries and sessions without secrets."""
    sessions.begin(user_id, "Firefox", allowances.guest_of(None, "192.0.2.7"))
    done = order(user_id, prompt="more light", style="golden")
    paint(app, done.public_id)
    ratings.rate(done.public_id, member(user_id), "up", "the light")
    waits = order(user_id)
    exports.start(user_id)
    work(app)
    view = exports.of_user(user_id)
    assert view is not None
    assert (view.status, view.progress, view.size) == ("ready", 100, exports.ready(user_id).path.stat().st_size)
    names, facts = unzipped(user_id)
    stem = f"pictures/2026-07-01-{done.public_id}"
    assert names == [f"{stem}-photo.jpg", f"{stem}-painted.jpg", f"pictures/2026-07-01-{waits.public_id}-photo.jpg"]
    row = progress.look_up(done.public_id)
    with zipfile.ZipFile(exports.ready(user_id).path) as archive:
        assert archive.read(names[0]) == files.read(StoredFile(row.source_store, row.source_key))
        assert archive.read(names[1]) == files.read(StoredFile(row.result_store, row.result_key))
    assert facts["account"]["email"] == EMAIL
    assert facts["account"]["monthly_credits"] == 98
    assert facts["tasks"][0]["prompt"] == "more light"
    assert facts["tasks"][0]["files"] == names[:2]
    assert [(one["task_id"], one["verdict"], one["word"]) for one in facts["ratings"]] == [
        (done.public_id, "up", "the light")
    ]
    assert [(entry["kind"], entry["amount"]) for entry in facts["credit_entries"]] == [
        ("opening", 100),
        ("charge", -1),
        ("charge", -1),
    ]
    assert [kept["user_agent"] for kept in facts["sessions"]] == ["Firefox"]
    with reading() as session:
        secrets = [session.get_one(User, user_id).password_hash, *session.scalars(select(UserSession.token_hash))]
    assert len(secrets) == 2
    assert not [secret for secret in secrets if secret in json.dumps(facts)]


def test_the_zip_holds_photographs_that_wait_for_their_order(app: Flask, user_id: str) -> None:
    """What was sent ahead is in the zip byte by byte, and named among the facts; a guest's is not."""
    mine = uploads.keep(photo(32, 32), member(user_id))
    uploads.keep(photo(32, 32), allowances.guest_of("a-browser", "192.0.2.7"))
    exports.start(user_id)
    work(app)
    names, facts = unzipped(user_id)
    assert names == facts["uploads"] == [f"uploads/2026-07-01-{mine.public_id}.jpg"]
    with zipfile.ZipFile(exports.ready(user_id).path) as archive:
        assert archive.read(names[0]) == files.read(StoredFile(mine.store, mine.key))


def test_only_what_is_the_users_own_is_in_the_zip(app: Flask, user_id: str) -> None:
    """Neither another user's pictures nor deleted ones are packed."""
    other = confirmed_account("bob@example.org")
    order(other)
    gone = order(user_id)
    tasks.remove(gone.public_id, member(user_id))
    exports.start(user_id)
    work(app)
    names, facts = unzipped(user_id)
    assert (names, facts["tasks"]) == ([], [])
    with pytest.raises(NotFound):
        exports.ready(other)


def test_a_large_account_is_packed_in_short_jobs(app: Flask, user_id: str) -> None:
    """45 pictures take three jobs; each waits behind what came meanwhile, so that a sweep runs in between."""
    for _ in range(45):
        order(user_id)
    exports.start(user_id)
    queue = queueing.maintenance_queue()
    seen = []
    for _ in range(3):
        queue.enqueue("jobs.sweep.sweep")
        assert waiting(queue) == ["jobs.export.pack", "jobs.sweep.sweep"]
        job = queue.jobs[0]
        queue.remove(job)
        export.pack(*job.args)
        view = exports.of_user(user_id)
        assert view is not None
        seen.append((view.status, view.progress))
        queue.remove(queue.jobs[0])
        sweep.sweep()
    assert seen == [("running", 44), ("running", 88), ("ready", 100)]
    assert waiting(queue) == []
    assert len(unzipped(user_id)[0]) == 45
    assert rows(Export) == 1


def test_a_second_start_gives_the_running_one(app: Flask, user_id: str) -> None:
    """Two starts at the same moment, and one later, are one export and one job."""
    for _ in range(21):
        order(user_id)
    barrier = threading.Barrier(2)

    def begin() -> None:
        with app.app_context():
            barrier.wait()
            exports.start(user_id)

    threads = [threading.Thread(target=begin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert exports.start(user_id).status == "running"
    assert waiting(queueing.maintenance_queue()) == ["jobs.export.pack"]
    assert rows(Export) == 1


def test_a_finished_export_is_packed_once_a_day(app: Flask, user_id: str, clock: FixedClock) -> None:
    """While the zip is kept a start gives it; a day later it packs anew, and the earlier zip goes with the sweep."""
    exports.start(user_id)
    work(app)
    order(user_id)
    assert exports.start(user_id).status == "ready"
    assert waiting(queueing.maintenance_queue()) == []
    clock.advance(days=1)
    assert exports.start(user_id).status == "running"
    work(app)
    assert len(unzipped(user_id)[0]) == 1
    repair.sweep()
    assert zips(app) == [exports.ready(user_id).path]


def test_the_zip_goes_after_a_day(app: Flask, user_id: str, clock: FixedClock) -> None:
    """A day after it was asked for the zip is neither shown nor sent nor on the disk."""
    exports.start(user_id)
    work(app)
    clock.advance(hours=23, minutes=59)
    repair.sweep()
    assert exports.ready(user_id).path.exists()
    clock.advance(minutes=1)
    assert exports.of_user(user_id) is None
    with pytest.raises(NotFound):
        exports.ready(user_id)
    repair.sweep()
    assert zips(app) == []


def test_a_dead_job_is_noticed_and_can_be_started_again(app: Flask, user_id: str, clock: FixedClock) -> None:
    """A worker that died while packing leaves an export that is failed after five minutes; its half zip goes too."""
    for _ in range(21):
        order(user_id)
    exports.start(user_id)
    queue = queueing.maintenance_queue()
    export.pack(*queue.jobs[0].args)
    queue.empty()
    clock.advance(minutes=5, seconds=1)
    view = exports.of_user(user_id)
    assert view is not None
    assert view.status == "failed"
    exports.start(user_id)
    work(app)
    assert len(unzipped(user_id)[0]) == 21
    repair.sweep()
    assert zips(app) == [exports.ready(user_id).path]


def test_a_crash_before_the_first_byte_leaves_nothing(app: Flask, user_id: str, clock: FixedClock) -> None:
    """An export that was entered and never worked on is gone after a day, with its entry in the file table."""
    exports.start(user_id)
    assert zips(app) == []
    assert rows(DiscardedFile) == 1
    clock.advance(days=1)
    repair.sweep()
    assert rows(DiscardedFile) == 0
    assert exports.of_user(user_id) is None


def test_a_job_that_runs_twice_packs_once(app: Flask, user_id: str) -> None:
    """A job that the queue delivers again finds its part taken, while the export runs and after it is done."""
    for _ in range(21):
        order(user_id)
    exports.start(user_id)
    public_id, part = queueing.maintenance_queue().jobs[0].args
    export.pack(public_id, part)
    export.pack(public_id, part)
    work(app)
    export.pack(public_id, part)
    assert len(unzipped(user_id)[0]) == 21


def test_a_job_of_a_dropped_export_leaves_nothing(app: Flask, user_id: str) -> None:
    """A job whose export is gone before it begins writes nothing."""
    order(user_id)
    exports.start(user_id)
    exports.drop(user_id)
    work(app)
    repair.sweep()
    assert zips(app) == []
    assert (rows(Export), rows(DiscardedFile)) == (0, 0)


def test_a_job_whose_export_is_dropped_meanwhile_leaves_nothing(
    app: Flask, user_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that writes its zip after the account went, and after the sweep, takes it away again."""
    order(user_id)
    exports.start(user_id)
    real = exports._next_tasks

    def meanwhile(row: Export) -> list[ImageTask]:
        batch = real(row)
        exports.drop(user_id)
        repair.sweep()
        return batch

    monkeypatch.setattr(exports, "_next_tasks", meanwhile)
    work(app)
    assert zips(app) == []
    assert (rows(Export), rows(DiscardedFile)) == (0, 0)


def test_a_missing_file_is_left_out(app: Flask, user_id: str) -> None:
    """A photograph that is no longer kept does not keep the others from being packed."""
    lost, kept = order(user_id), order(user_id)
    assert lost.source_store
    assert lost.source_key
    stores().delete(StoredFile(lost.source_store, lost.source_key))
    exports.start(user_id)
    work(app)
    assert unzipped(user_id)[0] == [f"pictures/2026-07-01-{kept.public_id}-photo.jpg"]


def test_a_broken_job_fails_the_export(app: Flask, user_id: str) -> None:
    """A job that cannot write says so at once: the export is failed and can be started again."""
    exports.start(user_id)
    folder = Path(app.instance_path) / "exports"
    folder.write_text("a file where the folder should be")
    with pytest.raises(FileExistsError):
        export.pack(*queueing.maintenance_queue().jobs[0].args)
    folder.unlink()
    view = exports.of_user(user_id)
    assert view is not None
    assert view.status == "failed"
    assert exports.start(user_id).status == "running"


def test_without_redis_an_export_does_not_begin(app: Flask, user_id: str, redis_server: RedisServer) -> None:
    """When nobody can be asked to pack, the answer says so and the export is not left running."""
    redis_server.stop()
    with pytest.raises(Unavailable):
        exports.start(user_id)
    view = exports.of_user(user_id)
    assert view is not None
    assert view.status == "failed"


# --- Deleting an account ---


def everything(of: str) -> list[str]:
    """The tables in which a text stands anywhere, whatever the column."""
    found = []
    with db.engine.connect() as connection:
        for table in db.metadata.sorted_tables:
            if any(of in str(value) for row in connection.execute(table.select()) for value in row):
                found.append(table.name)
    return found


def test_nothing_leads_to_a_deleted_account(app: Flask, user_id: str) -> None:
    """No table holds the id, the address, its hash or a prompt any more, and no store a picture."""
    sessions.begin(user_id, "Firefox", allowances.guest_of(None, "192.0.2.7"))
    done, live = order(user_id, prompt="my cat Zuzu"), order(user_id)
    paint(app, done.public_id)
    ratings.rate(done.public_id, member(user_id), "down", "the ears of Zuzu")
    administration.adjust_balance("an-operator", user_id, 2, "because Ada asked")
    exports.start(user_id)
    work(app)
    pictures = [
        StoredFile(store, key)
        for row in (progress.look_up(done.public_id), progress.look_up(live.public_id))
        for store, key in ((row.source_store, row.source_key), (row.result_store, row.result_key))
        if store and key
    ]
    waiting_photo = uploads.keep(photo(32, 32), member(user_id))
    pictures.append(StoredFile(waiting_photo.store, waiting_photo.key))
    assert len(pictures) == 4
    erasure.erase(member(user_id))
    repair.sweep()
    for text in (user_id, EMAIL, accounts.email_key(EMAIL), "Zuzu", "Firefox", done.fingerprint):
        assert everything(text) == [], text
    for picture in pictures:
        with pytest.raises(FileMissing):
            stores().read(picture)
    assert zips(app) == []
    for table in (DiscardedFile, Export, Rating, UserSession, User, UserProfile):
        assert rows(table) == 0, table
    for task in (done, live):
        with pytest.raises(NotFound):
            progress.look_up(task.public_id)
        published = status.read(task.public_id)
        assert published is None


def test_the_ledger_keeps_anonymous_sums(app: Flask, user_id: str, clock: FixedClock) -> None:
    """Entries stay, amounts and kinds unchanged, under one id that leads nowhere; the books stay right."""
    paint(app, order(user_id).public_id)
    clock.advance(days=40)
    order(user_id)
    other = confirmed_account("bob@example.org")
    erasure.erase(member(user_id))
    with reading() as session:
        kept = session.scalars(select(CreditEntry).where(CreditEntry.user_id != other).order_by(CreditEntry.id)).all()
    assert [(entry.kind, entry.amount) for entry in kept] == [
        ("opening", 100),
        ("charge", -1),
        ("month", 1),
        ("charge", -1),
        ("refund", 1),
    ]
    assert len({entry.user_id for entry in kept}) == 1
    stranger = kept[0].user_id
    assert stranger.startswith("erased-")
    assert {entry.business_key for entry in kept if entry.kind in {"opening", "month"}} == {
        f"opening-{stranger}",
        f"month-{stranger}-2026-08",
    }
    assert credits.differences() == []
    assert credits.balance_of(other).credits == 100


def test_a_short_id_is_taken_out_of_its_keys_alone(app: Flask, user_id: str) -> None:
    """An adopted id such as `1` is replaced where it names the user, and not wherever the character stands."""

    def unit(session: Any) -> None:
        session.execute(update(UserProfile).where(UserProfile.user_id == user_id).values(user_id="1"))
        session.execute(update(User).where(User.id == user_id).values(id="1"))
        opening = update(CreditEntry).where(CreditEntry.user_id == user_id)
        session.execute(opening.values(user_id="1", kind="month", business_key="month-1-2026-11"))

    transaction(unit)
    erasure.erase(member("1"))
    with reading() as session:
        entry = session.scalars(select(CreditEntry)).one()
    assert entry.business_key == f"month-{entry.user_id}-2026-11"


def test_a_late_worker_meets_a_tombstone(app: Flask, user_id: str, clock: FixedClock) -> None:
    """A picture that is finished after its account was deleted is dropped, and its file goes with the cleanup."""
    run = claim(app, order(user_id).public_id)
    erasure.erase(member(user_id))
    assert not settle(app, run, Outcome.PAINTED)
    with reading() as session:
        row = session.get_one(ImageTask, run.task_id)
    assert (row.status, row.result_key, row.prompt) == ("cancelled", None, "")
    clock.advance(hours=2)
    repair.sweep()
    assert rows(DiscardedFile) == 0
    assert list((Path(app.instance_path) / "files").rglob("*.jpg")) == []


def test_a_deleted_account_orders_nothing(user_id: str, clock: FixedClock) -> None:
    """An order that was on its way while the account was deleted is refused and leaves nothing."""
    erasure.erase(member(user_id))
    with pytest.raises(NotSignedIn):
        order(user_id)
    clock.advance(hours=2)
    repair.sweep()
    assert rows(DiscardedFile) == 0
    assert rows(ImageTask) == 0


def test_an_order_that_was_faster_holds_the_deletion_up(user_id: str) -> None:
    """The last transaction drops nothing while an order or an export is there; then the round begins again."""
    task = order(user_id)
    assert not transaction(partial(erasure._drop_account, user_id, "erased-x"))
    tasks.remove(task.public_id, member(user_id))
    exports.start(user_id)
    assert not transaction(partial(erasure._drop_account, user_id, "erased-x"))
    assert rows(User) == rows(UserProfile) == 1
    exports.drop(user_id)
    assert transaction(partial(erasure._drop_account, user_id, "erased-x"))
    assert rows(User) == rows(UserProfile) == 0


def test_orders_at_the_same_moment_as_the_deletion_go_too(app: Flask, user_id: str) -> None:
    """Whatever slips in before the last transaction is removed with the rest; nothing alive is left behind."""
    barrier = threading.Barrier(9)

    def run(deed: Callable[[], object]) -> None:
        with app.app_context():
            barrier.wait()
            deed()

    def try_to_order() -> None:
        try:
            order(user_id)
        except NotSignedIn:
            return

    deeds = [try_to_order] * 8 + [lambda: erasure.erase(member(user_id))]
    threads = [threading.Thread(target=run, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert everything(user_id) == []
    with reading() as session:
        alive = select(func.count()).select_from(ImageTask).where(ImageTask.deleted_at.is_(None))
        assert session.scalar(alive) == 0
        assert session.scalar(select(func.sum(CreditEntry.amount))) == 100


def test_deleting_twice_at_once_is_deleting(app: Flask, user_id: str) -> None:
    """Two clicks at the same moment delete the account once, and the second finds it gone."""
    order(user_id)
    barrier, failures = threading.Barrier(2), []

    def run() -> None:
        with app.app_context():
            barrier.wait()
            try:
                erasure.erase(member(user_id))
            except NotFound as error:
                failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) <= 1
    assert rows(User) == 0
    with reading() as session:
        assert len(set(session.scalars(select(CreditEntry.user_id)))) == 1


def test_a_blocked_account_is_not_deleted_by_its_owner(user_id: str) -> None:
    """Deleting and signing up again is no way around a block."""
    administration.block("an-operator", user_id)
    with pytest.raises(Blocked):
        erasure.erase(member(user_id))
    assert accounts.find(user_id).profile.blocked_at


def test_signing_up_again_gives_what_was_left_of_the_month(app: Flask, user_id: str, clock: FixedClock) -> None:
    """Deleting an account and making a new one gives no new month; the next month is a month like any other."""
    for _ in range(3):
        paint(app, order(user_id).public_id)
    credits.post(user_id, -60)
    erasure.erase(member(user_id))
    again = confirmed_account(f" {EMAIL.upper()}")
    assert again != user_id
    assert credits.balance_of(again).credits == 37
    credits.post(again, -7)
    erasure.erase(member(again))
    third = confirmed_account()
    assert credits.balance_of(third).credits == 30
    assert credits.differences() == []
    clock.moment = datetime(2026, 8, 1, tzinfo=UTC)
    assert credits.balance_of(third).credits == 100
    erasure.erase(member(third))
    clock.moment = datetime(2026, 9, 1, tzinfo=UTC)
    assert credits.balance_of(confirmed_account()).credits == 100
    repair.sweep()
    assert rows(Departure) == 0


def test_a_rich_account_takes_no_more_than_a_month_along(user_id: str) -> None:
    """A balance above the month's credits is not kept for the next account, and other addresses lose nothing."""
    credits.post(user_id, 50)
    erasure.erase(member(user_id))
    assert credits.balance_of(confirmed_account()).credits == 100
    assert credits.balance_of(confirmed_account("bob@example.org")).credits == 100
