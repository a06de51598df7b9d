"""Sharing, the gallery and what operators do about it: decided in the database. On SQLite and on MariaDB."""

import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from PIL import Image
from sqlalchemy import event, func, select, update
from sqlalchemy.orm import Session

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import db, reading, transaction
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import (
    AppError,
    Forbidden,
    InvalidFields,
    NotFound,
    NotPainted,
    NotYourPicture,
    TooManyRequests,
    Unavailable,
    WrongState,
)
from ghibli_flask.extensions import runtime
from ghibli_flask.images import DigitalSourceType, mark
from ghibli_flask.models import AuditEntry, DiscardedFile, ImageTask, Share, ShareCount, ShareReport, UserProfile
from ghibli_flask.services import (
    allowances,
    erasure,
    exports,
    files,
    flags,
    gallery,
    moderation,
    pictures,
    progress,
    repair,
    runs,
    share_files,
    sharing,
    tasks,
)
from ghibli_flask.services.gallery import Filters, Wall
from ghibli_flask.services.orders import Order
from ghibli_flask.services.payers import Member, Payer
from ghibli_flask.services.sharing import Wishes
from ghibli_flask.services.tasks import Ending
from ghibli_flask.storage import StoredFile
from ghibli_flask.task_states import Outcome
from tests.support.member import confirmed_account
from tests.support.redis_server import RedisServer
from tests.support.visitor import photo

# What locks, orders or counts runs on both databases; the rest would only say the same twice.
EACH_DATABASE = pytest.mark.usefixtures("each_database")

ADA = "ada"
PUBLIC = Wishes(in_gallery=True)
EVERYTHING = Filters()


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Iterator[Flask]:
    """The application at noon, with its context and plenty of free tries."""
    app = app_factory(clock=clock, guest_daily_limit=1000, guest_daily_limit_per_address=1000, monthly_credits=100)
    with app.app_context():
        yield app


def guest(name: str = ADA) -> Payer:
    """A browser of this name."""
    return allowances.guest_of(name, "192.0.2.7")


def order(payer: Payer, **fields: Any) -> ImageTask:
    """An accepted order."""
    return tasks.submit(Order(Mode.IMAGE_TO_IMAGE, photo(48, 32), **fields), payer).task


def end(task: ImageTask, outcome: Outcome = Outcome.PAINTED) -> ImageTask:
    """End an order as a worker does, with a marked picture."""
    run = runs.claim(task.public_id)
    assert run is not None
    data = mark(photo(48, 32), DigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA)
    assert tasks.settle(run.task_id, run.attempt, Ending(outcome, files.keep(data, "results", "jpg")))
    return progress.look_up(task.public_id)


def painted(payer: Payer | None = None, **fields: Any) -> ImageTask:
    """A painted picture."""
    return end(order(payer or guest(), **fields))


def shared(payer: Payer | None = None, wishes: Wishes = PUBLIC, **fields: Any) -> Share:
    """A picture that hangs in the gallery."""
    payer = payer or guest()
    return sharing.share(painted(payer, **fields).public_id, payer, wishes).share


def on_wall(filters: Filters = EVERYTHING) -> list[str]:
    """The shares of the first page."""
    return [one.share_id for one in gallery.wall(filters).prints]


def assert_gone(share_id: str) -> None:
    """No address of a share leads anywhere."""
    with pytest.raises(NotFound):
        sharing.open_share(share_id)
    for part in ("picture", "thumbnail", "card", "original"):
        with pytest.raises(NotFound):
            sharing.file_of(share_id, part)  # type: ignore[arg-type]


def rows(model: type) -> int:
    """How many rows a table has."""
    with reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def assert_counts_fit() -> None:
    """The kept counts are those that a count of the rows gives."""
    with reading() as session:
        found = {(share.mode, share.style): [0, 0] for share in session.scalars(select(Share))}
        for share in session.scalars(select(Share)):
            found[share.mode, share.style][0] += share.is_open
            found[share.mode, share.style][1] += share.listed_at is not None
        kept = {(row.mode, row.style): [row.live, row.listed] for row in session.scalars(select(ShareCount))}
    assert kept == found


# --- Making, changing, taking back ---


def test_a_share_is_unlisted_and_shows_only_the_picture(app: Flask) -> None:
    """Without a wish the link opens the painting, its thumbnail and its card, and nothing hangs in the gallery."""
    task = painted(prompt="my cat Zuzu")
    made = sharing.share(task.public_id, guest(), Wishes())
    share, found = sharing.open_share(made.share.public_id)
    assert (made.created, made.duplicate, found.id) == (True, False, task.id)
    assert (share.in_gallery, share.show_prompt, share.show_original, share.listed_at) == (False, False, False, None)
    assert (share.width, share.height) == (48, 32)
    assert files.read(sharing.file_of(share.public_id, "picture"))
    with pytest.raises(NotFound):
        sharing.file_of(share.public_id, "original")
    assert on_wall() == []
    assert_counts_fit()


def test_the_id_is_random_and_not_the_tasks(app: Flask) -> None:
    """A share's id has 128 random bits and says nothing about its task."""
    task = painted()
    share = sharing.share(task.public_id, guest(), Wishes()).share
    assert len(bytes.fromhex(share.public_id)) == 16
    assert share.public_id != task.public_id


@pytest.mark.parametrize("outcome", [Outcome.ORIGINAL, Outcome.FAILED])
def test_what_was_not_painted_is_never_shared(app: Flask, outcome: Outcome) -> None:
    """A task that is waiting, failed, or gave the photograph back has nothing to share."""
    waiting = order(guest())
    ended = order(guest())
    if outcome is Outcome.ORIGINAL:
        end(ended, outcome)
    else:
        tasks.end_from_outside(ended, Ending(outcome))
    for task in (waiting, ended):
        with pytest.raises(NotPainted):
            sharing.share(task.public_id, guest(), Wishes())
    assert rows(Share) == 0


def test_only_owners_share(app: Flask) -> None:
    """Neither the id nor the address of a stranger's picture is enough; nothing of the kind is told apart."""
    task = painted()
    with pytest.raises(Forbidden):
        sharing.share(task.public_id, guest("bob"), Wishes())
    for address in (
        f"/api/image/{task.public_id}",
        "/api/image/nothing",
        "https://elsewhere.example/a.jpg",
        f"/api/image/{task.public_id}/original",
    ):
        with pytest.raises(NotYourPicture):
            sharing.task_behind(address, guest("bob"))
    assert sharing.task_behind(f"{runtime().settings.public_url}/api/image/{task.public_id}", guest()) == task.public_id
    share = sharing.share(task.public_id, guest(), Wishes()).share
    with pytest.raises(Forbidden):
        sharing.change(share.public_id, guest("bob"), PUBLIC)
    with pytest.raises(Forbidden):
        sharing.revoke(share.public_id, guest("bob"))


def test_a_picture_without_owner_is_shared_by_its_id(app: Flask) -> None:
    """Its share is changed and taken back by whoever holds the task's id, and not by whoever holds the share's."""
    program = allowances.guest_of(None, "192.0.2.7")
    task = painted(program)
    share = sharing.share(task.public_id, program, Wishes()).share
    for proof in (None, share.public_id):
        with pytest.raises(Forbidden):
            sharing.change(share.public_id, program, PUBLIC, proof)
        with pytest.raises(Forbidden):
            sharing.revoke(share.public_id, program, proof)
    assert sharing.change(share.public_id, program, PUBLIC, task.public_id).in_gallery
    sharing.revoke(share.public_id, program, task.public_id)
    assert_gone(share.public_id)


@EACH_DATABASE
@pytest.mark.parametrize("redis_is_there", [True, False])
def test_the_same_again_within_five_seconds_is_one_share(
    app: Flask, clock: FixedClock, redis_server: RedisServer, redis_is_there: bool
) -> None:
    """The repeat is the first share and says so, with Redis or without; later it is the same share and no duplicate."""
    task = painted()
    if not redis_is_there:
        redis_server.stop()
    first = sharing.share(task.public_id, guest(), Wishes())
    clock.advance(seconds=4)
    again = sharing.share(task.public_id, guest(), Wishes())
    clock.advance(seconds=2)
    later = sharing.share(task.public_id, guest(), Wishes())
    assert [one.share.public_id for one in (again, later)] == [first.share.public_id] * 2
    assert [(one.created, one.duplicate) for one in (first, again, later)] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert gallery.cache_counts()["duplicates"] == int(redis_is_there)


@EACH_DATABASE
def test_many_at_once_make_one_share(app: Flask) -> None:
    """Six identical submits at the same moment give one share and no file that nobody owns."""
    task, barrier = painted(), threading.Barrier(6)
    given: list[str] = []
    failures: list[BaseException] = []

    def submit() -> None:
        try:
            with app.app_context():
                barrier.wait()
                given.append(sharing.share(task.public_id, guest(), PUBLIC).share.public_id)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(given) == 6
    assert set(given) == set(on_wall())
    files.drain()
    assert rows(DiscardedFile) == 0
    share, _task = sharing.open_share(given[0])
    assert files.read(share_files.stored(share, "card"))
    assert_counts_fit()


def test_changing_what_is_shown_changes_the_card(app: Flask) -> None:
    """Showing the photograph opens its address and draws a new card; hiding it takes both away again."""
    share = shared(wishes=Wishes())
    alone = sharing.file_of(share.public_id, "card")
    sharing.change(share.public_id, guest(), Wishes(show_original=True))
    both = sharing.file_of(share.public_id, "card")
    assert files.read(sharing.file_of(share.public_id, "original"))
    assert both != alone
    sharing.change(share.public_id, guest(), Wishes(show_original=False))
    with pytest.raises(NotFound):
        sharing.file_of(share.public_id, "original")
    files.drain()
    for gone in (alone, both):
        with pytest.raises(NotFound):
            files.read(gone)
    assert rows(DiscardedFile) == 0


def test_a_change_without_pictures_makes_no_files(app: Flask) -> None:
    """Hanging a picture in the gallery or showing its words keeps its files as they are."""
    share = shared(wishes=Wishes(), prompt="more light")
    card = sharing.file_of(share.public_id, "card")
    changed = sharing.change(share.public_id, guest(), Wishes(in_gallery=True, show_prompt=True))
    assert (changed.in_gallery, changed.show_prompt, changed.show_original) == (True, True, False)
    assert sharing.file_of(share.public_id, "card") == card
    assert [one.prompt for one in gallery.wall(EVERYTHING).prints] == ["more light"]


@EACH_DATABASE
def test_a_revoked_share_is_gone_at_once(app: Flask) -> None:
    """Every address is dead before anything else happens, and the share's files go with the next cleanup."""
    share = shared(wishes=Wishes(in_gallery=True, show_original=True))
    own = [share_files.stored(share, "thumbnail"), share_files.stored(share, "card")]
    assert on_wall() == [share.public_id]
    sharing.revoke(share.public_id, guest())
    assert_gone(share.public_id)
    assert on_wall() == []
    files.drain()
    for file in own:
        with pytest.raises(NotFound):
            files.read(file)
    with pytest.raises(NotFound):
        sharing.revoke(share.public_id, guest())
    assert rows(DiscardedFile) == 0
    assert_counts_fit()


@EACH_DATABASE
def test_a_new_link_leaves_the_old_one_dead(app: Flask) -> None:
    """Shared again after a revocation the picture has another address, and shows nothing that was shown before."""
    task = painted()
    first = sharing.share(task.public_id, guest(), Wishes(True, True, True)).share.public_id
    sharing.revoke(first, guest())
    again = sharing.share(task.public_id, guest(), Wishes())
    assert again.created
    assert again.share.public_id != first
    assert (again.share.in_gallery, again.share.show_prompt, again.share.show_original) == (False, False, False)
    assert_gone(first)
    assert_counts_fit()


def test_a_share_that_is_taken_back_meanwhile_is_not_half_made(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that loses to a revocation says so and leaves nothing open."""
    share = shared()
    before = sharing.of_task

    def read_then_revoke(task: ImageTask) -> Share | None:
        found = before(task)
        monkeypatch.setattr(sharing, "of_task", before)
        sharing.revoke(share.public_id, guest())
        return found

    monkeypatch.setattr(sharing, "of_task", read_then_revoke)
    with pytest.raises(WrongState):
        sharing.change(share.public_id, guest(), Wishes(show_prompt=True))
    assert_gone(share.public_id)


@EACH_DATABASE
def test_deleting_the_picture_revokes_its_share(app: Flask) -> None:
    """With the task its share and all files go."""
    task = painted()
    share = sharing.share(task.public_id, guest(), Wishes(True, True, True)).share
    tasks.remove(task.public_id, guest())
    assert_gone(share.public_id)
    assert on_wall() == []
    files.drain()
    assert rows(DiscardedFile) == 0
    assert_counts_fit()


@EACH_DATABASE
def test_deleting_the_account_revokes_every_share(app: Flask) -> None:
    """No share of a deleted account answers, and no byte of it is left."""
    user_id = confirmed_account()
    member = Member(user_id, allowances.guest_of("a-browser", "192.0.2.7"))
    shares = [shared(member, Wishes(True, True, True), prompt="my cat Zuzu") for _ in range(2)]
    own = [share_files.stored(share, part) for share in shares for part in ("thumbnail", "card")]  # type: ignore[arg-type]
    erasure.erase(member)
    for share in shares:
        assert_gone(share.public_id)
    files.drain()
    for file in own:
        with pytest.raises(NotFound):
            files.read(file)
    assert gallery.counts() == {"live": 0, "listed": 0, "waiting": 0, "hidden": 0}


def test_the_download_of_everything_tells_of_shares(app: Flask) -> None:
    """A user reads which pictures are shared, since when, and what the links show."""
    user_id = confirmed_account()
    member = Member(user_id, allowances.guest_of("a-browser", "192.0.2.7"))
    share = shared(member, Wishes(in_gallery=True, show_prompt=True))
    told = exports._facts(user_id)["shares"]
    assert [(one["public_id"], one["in_gallery"], one["show_prompt"]) for one in told] == [
        (share.public_id, True, True)
    ]


@EACH_DATABASE
def test_what_is_shown_is_kept(app: Flask, clock: FixedClock) -> None:
    """A shared picture has no end, its photograph neither while it is shown; afterwards the usual time begins."""
    task = painted()
    share = sharing.share(task.public_id, guest(), Wishes(show_original=True)).share
    kept = progress.look_up(task.public_id)
    assert (kept.expires_at, kept.source_expires_at) == (None, None)
    sharing.revoke(share.public_id, guest())
    after = progress.look_up(task.public_id)
    settings = runtime().settings
    assert after.expires_at == clock.now() + timedelta(days=settings.guest_result_ttl_days)
    assert after.source_expires_at == clock.now() + timedelta(days=settings.source_ttl_days)


# --- Pictures of others as a beginning ---


def test_a_shared_picture_can_be_painted_again_by_anybody(app: Flask) -> None:
    """The addresses of a live share resolve to its bytes for orders; a hidden original and a dead share do not."""
    share = shared()
    address = f"/share/{share.public_id}"
    assert pictures.photo_behind(f"{address}/picture", guest("bob")) == files.read(
        sharing.file_of(share.public_id, "picture")
    )
    for other in (f"{address}/original", f"{address}/card", address, "/share/nothing/picture"):
        with pytest.raises(NotFound):
            pictures.photo_behind(other, guest("bob"))
    sharing.change(share.public_id, guest(), Wishes(show_original=True))
    assert pictures.photo_behind(f"{address}/original", guest("bob"))
    sharing.revoke(share.public_id, guest())
    with pytest.raises(NotFound):
        pictures.photo_behind(f"{address}/picture", guest("bob"))


# --- Orders that wish to be in the gallery ---


@EACH_DATABASE
def test_a_public_order_hangs_when_it_is_painted(app: Flask) -> None:
    """The wish of the order is granted with its ending, once: what its owner takes down stays down."""
    task = painted(wants_gallery=True)
    share = sharing.of_task(task)
    assert share is not None
    assert on_wall() == [share.public_id]
    sharing.revoke(share.public_id, guest())
    repair.sweep()
    assert on_wall() == []


@EACH_DATABASE
def test_the_sweep_grants_what_the_ending_could_not(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every store for cards away the picture is painted all the same, and hangs after the next sweep."""
    real = files.keep

    def away(data: bytes, kind: str, suffix: str, **options: Any) -> StoredFile:
        if kind == "cards":
            raise Unavailable
        return real(data, kind, suffix, **options)

    monkeypatch.setattr(files, "keep", away)
    task = painted(wants_gallery=True)
    assert task.outcome == Outcome.PAINTED
    assert on_wall() == []
    monkeypatch.setattr(files, "keep", real)
    repair.sweep()
    share = sharing.of_task(task)
    assert share is not None
    assert on_wall() == [share.public_id]
    assert sharing.publish_wished() == 0


def test_a_blocked_users_wish_is_not_granted(app: Flask, clock: FixedClock) -> None:
    """What was ordered before the block and painted after it does not hang."""
    user_id = confirmed_account()
    task = order(Member(user_id, allowances.guest_of("b", "192.0.2.7")), wants_gallery=True)
    blocked = update(UserProfile).where(UserProfile.user_id == user_id).values(blocked_at=clock.now())
    transaction(lambda session: session.execute(blocked))
    end(task)
    repair.sweep()
    assert on_wall() == []


def test_a_returned_original_never_hangs(app: Flask) -> None:
    """A public order that came back as it was is neither shared nor tried again."""
    task = end(order(guest(), wants_gallery=True), Outcome.ORIGINAL)
    assert sharing.of_task(task) is None
    assert sharing.publish_wished() == 0


# --- The gallery ---


def hang(*prints: tuple[str, str, int]) -> list[str]:
    """Hang copies of one painted picture, each of a mode and a style and a number of seconds later than noon."""
    first = painted()
    columns = [name for name in ImageTask.__table__.columns.keys() if name not in {"id", "public_id", "alias"}]  # noqa: SIM118
    noon = runtime().clock.now()

    def unit(session: Session) -> list[str]:
        ids = []
        for mode, style, second in prints:
            task = ImageTask(**{name: getattr(first, name) for name in columns})
            task.public_id, task.mode, task.style = secrets.token_hex(16), mode, style
            session.add(task)
            session.flush()
            share = sharing._new_share(task)
            with gallery.counted(session, share):
                share.public_id, share.created_at, share.in_gallery = secrets.token_hex(16), noon, True
                share.width, share.height, share.colour = 3, 2, "#808080"
                share.approved_at = noon + timedelta(seconds=second)
            ids.append(share.public_id)
        return ids

    return transaction(unit)


@EACH_DATABASE
def test_the_wall_has_filters_and_counts(app: Flask) -> None:
    """Newest first, by mode and by style, with the number of all that fit."""
    photo_, words = Mode.IMAGE_TO_IMAGE.value, Mode.TEXT_TO_IMAGE.value
    made = hang((photo_, "ghibli", 1), (photo_, "night", 2), (photo_, "ghibli", 3), (words, "night", 4))
    assert on_wall() == made[::-1]
    assert on_wall(Filters(mode=photo_)) == [made[2], made[1], made[0]]
    assert on_wall(Filters(mode=words)) == [made[3]]
    assert on_wall(Filters(style="night")) == [made[3], made[1]]
    assert on_wall(Filters(photo_, "night")) == [made[1]]
    assert gallery.wall(Filters(style="ghibli")).total == 2
    assert gallery.wall(EVERYTHING).total == 4
    assert_counts_fit()


@EACH_DATABASE
def test_pages_lead_both_ways(app: Flask) -> None:
    """Older and newer pages meet without a gap or a repeat, also where many hang since the same moment."""
    newest_first = hang(*((Mode.IMAGE_TO_IMAGE.value, "ghibli", second) for second in (0, 1, 1, 1, 1, 2, 3)))[::-1]
    first = gallery.wall(EVERYTHING, None, 3)
    second = gallery.wall(EVERYTHING, first.older, 3)
    third = gallery.wall(EVERYTHING, second.older, 3)
    assert [names(page) for page in (first, second, third)] == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert (first.newer, third.older) == (None, None)
    assert names(gallery.wall(EVERYTHING, third.newer, 3)) == newest_first[3:6]
    back = gallery.wall(EVERYTHING, second.newer, 3)
    assert names(back) == newest_first[:3]
    assert back.newer is None


def names(wall: Wall) -> list[str]:
    """The shares on a page."""
    return [one.share_id for one in wall.prints]


@pytest.mark.parametrize(
    "text", ["x", "o1", "oq.1", "o-1.1", "o1.1.1", "offffffffffffffffffff.1", "o1.ffffffffffffffffffff"]
)
def test_a_made_up_cursor_is_refused(app: Flask, text: str) -> None:
    """A cursor that no page gave is a field error and no failure."""
    with pytest.raises(InvalidFields):
        gallery.wall(EVERYTHING, text)


def test_a_page_is_read_once(app: Flask, clock: FixedClock) -> None:
    """Until something changes the rows are not asked for again, and never for longer than five minutes."""
    share = shared()
    asked = 0

    def count(*_arguments: Any) -> None:
        nonlocal asked
        asked += "FROM shares" in str(_arguments[2])

    event.listen(db.engine, "before_cursor_execute", count)
    try:
        first = gallery.wall(EVERYTHING)
        assert (names(first), asked) == ([share.public_id], 1)
        assert gallery.wall(EVERYTHING) == first
        assert asked == 1
    finally:
        event.remove(db.engine, "before_cursor_execute", count)
    counts = gallery.cache_counts()
    assert (counts["hits"], counts["misses"]) == (1, 1)
    key = f"{runtime().settings.queue_prefix}:gallery"
    assert 0 < runtime().redis.ttl(key) <= 300  # type: ignore[operator]


@EACH_DATABASE
@pytest.mark.parametrize("redis_is_there", [True, False])
def test_a_change_is_seen_at_once(app: Flask, redis_server: RedisServer, redis_is_there: bool) -> None:
    """What was cached before a revocation is not shown after it, even when Redis was away when it happened."""
    first, second = shared(), shared()
    assert on_wall() == [second.public_id, first.public_id]
    if not redis_is_there:
        redis_server.pause()
    sharing.revoke(first.public_id, guest())
    if not redis_is_there:
        assert on_wall() == [second.public_id]
        redis_server.resume()
        vars(runtime().redis).pop("_away_until")  # The client asks Redis again at once.
    assert on_wall() == [second.public_id]
    sharing.change(second.public_id, guest(), Wishes(show_prompt=True))
    third = shared()
    assert on_wall() == [third.public_id, second.public_id]


def test_a_slow_reader_does_not_bring_the_old_page_back(app: Flask) -> None:
    """A page that was read before a change and kept after it is never given to anybody."""
    share = shared()
    with reading() as session:
        old = gallery._wall(session, EVERYTHING, None, gallery.PAGE)
    version = "1"
    assert on_wall() == [share.public_id]
    sharing.revoke(share.public_id, guest())
    assert on_wall() == []
    gallery._keep(version, "[null, null, null, 24]", old)
    assert on_wall() == []


def test_the_cache_is_bounded(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes up cursors fills no more than the agreed number of pages."""
    monkeypatch.setattr(gallery, "MOST_CACHED_PAGES", 5)
    shared()
    for number in range(12):
        gallery.wall(EVERYTHING, f"o{number:x}.1")
    assert runtime().redis.hlen(f"{runtime().settings.queue_prefix}:gallery") <= 6  # type: ignore[operator]


# --- Operators ---


@EACH_DATABASE
def test_with_approval_nothing_hangs_before_an_operator_looked(app: Flask) -> None:
    """The link works, the gallery waits; after the approval it hangs, and showing more asks again."""
    flags.switch(flags.GALLERY_APPROVAL, flags.ON, by="an-operator")
    share = shared(prompt="words")
    assert share.awaits_approval
    assert sharing.open_share(share.public_id)
    assert on_wall() == []
    assert [case.share.public_id for case in moderation.waiting()] == [share.public_id]
    moderation.approve("an-operator", share.public_id)
    assert on_wall() == [share.public_id]
    assert moderation.waiting() == []
    changed = sharing.change(share.public_id, guest(), Wishes(show_prompt=True))
    assert changed.awaits_approval
    assert on_wall() == []
    assert_counts_fit()


@EACH_DATABASE
def test_hidden_is_gone_and_restored_is_back(app: Flask) -> None:
    """A hidden picture answers nobody, can be shared anew by nobody, and comes back where it hung."""
    task = painted()
    share = sharing.share(task.public_id, guest(), PUBLIC).share
    moderation.hide("an-operator", share.public_id)
    assert_gone(share.public_id)
    assert on_wall() == []
    with pytest.raises(Forbidden):
        sharing.share(task.public_id, guest(), PUBLIC)
    assert [case.share.public_id for case in moderation.hidden()] == [share.public_id]
    moderation.restore("an-operator", share.public_id)
    assert on_wall() == [share.public_id]
    with reading() as session:
        log = [(entry.action, entry.subject) for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert log == [("hide-share", share.public_id), ("restore-share", share.public_id)]
    assert_counts_fit()


def test_taking_a_hidden_picture_back_does_not_free_it(app: Flask) -> None:
    """Its owner may take the share back, and still cannot share the same picture again."""
    task = painted()
    share = sharing.share(task.public_id, guest(), PUBLIC).share
    moderation.hide("an-operator", share.public_id)
    sharing.revoke(share.public_id, guest())
    with pytest.raises(Forbidden):
        sharing.share(task.public_id, guest(), Wishes())
    assert moderation.hidden() == []
    assert_counts_fit()


@EACH_DATABASE
def test_reports_reach_the_operator_once_each(app: Flask, clock: FixedClock) -> None:
    """Two browsers are two reports, one browser twice is one; an operator's decision answers them all."""
    share = shared()
    for name in ("bob", "bob", "eve"):
        moderation.report(share.public_id, "rights", allowances.guest_of(name, "192.0.2.9"))
    (case,) = moderation.waiting()
    assert (case.share.public_id, case.reasons) == (share.public_id, {"rights": 2})
    assert gallery.counts()["waiting"] == 1
    moderation.approve("an-operator", share.public_id)
    assert moderation.waiting() == []
    assert on_wall() == [share.public_id]
    moderation.report(share.public_id, "other", allowances.guest_of("ann", "192.0.2.9"))
    assert [case.reasons for case in moderation.waiting()] == [{"rights": 2, "other": 1}]
    sharing.revoke(share.public_id, guest())
    assert moderation.waiting() == []
    with reading() as session:
        assert session.scalars(select(ShareReport).where(ShareReport.handled_at.is_(None))).all() == []


def test_reports_are_limited(app: Flask) -> None:
    """One address can report ten times an hour, and the reporter is kept as a hash alone."""
    shares = [shared(wishes=Wishes()) for _ in range(2)]
    for number in range(10):
        moderation.report(shares[0].public_id, "other", allowances.guest_of(f"b{number}", "192.0.2.9"))
    with pytest.raises(TooManyRequests):
        moderation.report(shares[1].public_id, "other", allowances.guest_of("b11", "192.0.2.9"))
    with reading() as session:
        reporters = list(session.scalars(select(ShareReport.reporter)))
    assert all(len(bytes.fromhex(name)) == 32 for name in reporters)


def test_the_card_shows_both_halves(app: Flask) -> None:
    """1200 by 630, marked, the photograph left and the painting right, and without leave no trace of the photograph."""
    red, blue = (200, 30, 30), (30, 30, 200)
    task = order_of_colour(red)
    run = runs.claim(task.public_id)
    assert run is not None
    result = mark(plain(blue), DigitalSourceType.ALGORITHMICALLY_ENHANCED)
    tasks.settle(run.task_id, run.attempt, Ending(Outcome.PAINTED, files.keep(result, "results", "jpg")))
    share = sharing.share(task.public_id, guest(), Wishes(show_original=True)).share
    with Image.open(BytesIO(files.read(sharing.file_of(share.public_id, "card")))) as card:
        assert card.size == (1200, 630)
        assert near(card.getpixel((300, 300)), red)
        assert near(card.getpixel((900, 300)), blue)
    sharing.change(share.public_id, guest(), Wishes(show_original=False))
    with Image.open(BytesIO(files.read(sharing.file_of(share.public_id, "card")))) as card:
        assert near(card.getpixel((600, 300)), blue)
        colours = card.resize((120, 63)).getcolors(120 * 63) or []
        assert not [colour for _count, colour in colours if near(colour, red)]
    assert near(tuple(bytes.fromhex(share.colour[1:])), blue)


def order_of_colour(colour: tuple[int, int, int]) -> ImageTask:
    """An order of a photograph of one colour."""
    return tasks.submit(Order(Mode.IMAGE_TO_IMAGE, plain(colour)), guest()).task


def plain(colour: tuple[int, int, int]) -> bytes:
    """A JPEG of one colour."""
    out = BytesIO()
    Image.new("RGB", (300, 200), colour).save(out, "JPEG", quality=95)
    return out.getvalue()


def near(found: Any, wanted: tuple[int, int, int]) -> bool:
    """Whether two colours look alike."""
    return all(abs(one - other) < 25 for one, other in zip(found, wanted, strict=True))


def test_a_missing_store_is_no_page(app: Flask) -> None:
    """A share whose files are in a store that is gone fails as unavailable and says nothing of the store."""
    share = shared()
    lost = update(Share).where(Share.id == share.id).values(card_store="elsewhere")
    transaction(lambda session: session.execute(lost))
    with pytest.raises(AppError) as caught:
        files.read(sharing.file_of(share.public_id, "card"))
    assert "elsewhere" not in str(caught.value)
