"""Which store takes a file, what happens when one does not, and what the operator is told about it."""

from datetime import timedelta
from pathlib import Path

import pytest

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import transaction
from ghibli_flask.errors import NotFound, Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.services import files
from ghibli_flask.storage import StoredFile, stores
from tests.storage.conftest import AppWith, entries
from tests.support.redis_server import RedisServer
from tests.support.standins.imgbb import RATE_LIMIT, UPLOAD, ImgBBStandIn
from tests.support.standins.r2 import R2StandIn
from tests.support.standins.server import Heard, Reply
from tests.support.visitor import Visitor, photo

WEEK = timedelta(days=7)
KEY = "k" * 40


def keep_result() -> StoredFile:
    """A painted picture that is kept for a week."""
    return files.keep(photo(), "results", "jpg", expires_in=WEEK)


def test_each_kind_goes_to_its_store(inside: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn) -> None:
    """With R2 everything goes there; what lies in the local folder from before is still read."""
    inside()
    before = files.keep(photo(), "sources", "jpg")
    assert before.store == "local"
    inside(r2, imgbb)
    assert stores().order == ("r2", "imgbb")
    assert {files.keep(photo(), kind, "jpg", expires_in=WEEK).store for kind in ("sources", "results", "cards")} == {
        "r2"
    }
    assert imgbb.uploads == {}
    assert files.read(before)


def test_without_r2_the_folder_is_first(inside: AppWith, imgbb: ImgBBStandIn) -> None:
    """Unless STORES says otherwise."""
    inside(imgbb)
    assert keep_result().store == "local"
    inside(imgbb, store_order=("imgbb", "local"))
    assert keep_result().store == "imgbb"
    assert files.keep(photo(), "sources", "jpg", expires_in=WEEK).store == "local"


def test_a_result_falls_back_and_a_photo_does_not(inside: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn) -> None:
    """With R2 away a result goes to ImgBB and is counted; a photograph is refused and never goes there."""
    inside(r2, imgbb)
    r2.faults = {"PUT": "error"}
    kept = keep_result()
    assert kept.store == "imgbb"
    assert files.read(kept)
    with pytest.raises(Unavailable):
        files.keep(photo(), "sources", "jpg", expires_in=WEEK)
    with pytest.raises(Unavailable):
        files.keep(photo(), "results", "jpg")  # Nobody has said for how long.
    assert len(imgbb.uploads) == 1
    assert files.fallbacks() == stores().fallbacks == {"r2>imgbb": 1}


def test_with_the_folder_configured_a_photo_falls_back_to_it(inside: AppWith, r2: R2StandIn) -> None:
    """STORES=r2,local takes photographs on this machine while R2 is away."""
    inside(r2, store_order=("r2", "local"))
    r2.faults = {"PUT": "before"}
    assert files.keep(photo(), "sources", "jpg").store == "local"


def test_when_no_store_works_the_error_is_clear(inside: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn) -> None:
    """Every store was tried, and the caller is told that nothing can be kept."""
    inside(r2, imgbb)
    r2.faults = {"PUT": "error"}
    imgbb.next(UPLOAD, RATE_LIMIT)
    with pytest.raises(Unavailable):
        keep_result()
    assert set(stores().resting) == {"r2", "imgbb"}


def test_a_store_that_failed_rests_and_is_probed(
    inside: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn, clock: FixedClock
) -> None:
    """It is left alone for 5 s, then for 10, and takes files again as soon as a probe succeeds."""
    inside(r2, imgbb)
    r2.faults = {"PUT": "error"}
    keep_result()
    asked = len(r2.heard)
    assert keep_result().store == "imgbb"
    assert len(r2.heard) == asked
    clock.advance(seconds=5)
    assert keep_result().store == "imgbb"
    assert len(r2.heard) > asked
    assert stores().resting["r2"] == clock.now() + timedelta(seconds=10)
    r2.faults = {}
    clock.advance(seconds=9)
    assert keep_result().store == "imgbb"
    clock.advance(seconds=1)
    assert keep_result().store == "r2"
    assert stores().resting == {}


def test_a_worker_does_not_give_up_for_a_rest(inside: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn) -> None:
    """A painted picture is offered to a resting store too before it is lost; the web side refuses at once."""
    inside(r2, imgbb, for_worker=True)
    imgbb.next(UPLOAD, RATE_LIMIT, RATE_LIMIT)
    stores()._resting.begin("r2", runtime().clock.now())
    assert keep_result().store == "r2"
    inside(r2)
    stores()._resting.begin("r2", runtime().clock.now())
    asked = len(r2.heard)
    with pytest.raises(Unavailable):
        files.keep(photo(), "sources", "jpg")
    assert len(r2.heard) == asked


def test_a_folder_never_rests(inside: AppWith) -> None:
    """As soon as the folder can be written again, it is."""
    app = inside()
    folder = Path(app.instance_path) / "files"
    folder.write_text("in the way")
    with pytest.raises(Unavailable):
        keep_result()
    folder.unlink()
    assert keep_result().store == "local"


def test_the_operator_sees_order_rest_and_fallbacks(
    inside: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn, clock: FixedClock
) -> None:
    """GET /api/health says that no photograph can be taken, and to the operator's key which store rests and why."""
    app = inside(r2, imgbb, admin_api_key=KEY)
    client = app.test_client()
    assert client.get("/api/health").json["checks"]["storage"] == "up"
    r2.faults = {"PUT": "error", "DELETE": "error"}
    keep_result()
    answer = client.get("/api/health", headers={"X-API-Key": KEY})
    assert (answer.status_code, answer.json["checks"]["storage"]) == (503, "down")
    told = answer.json["details"]["storage"]
    assert told["order"] == ["r2", "imgbb"]
    assert list(told["resting"]) == ["r2"]
    assert told["fallbacks"] == {"r2>imgbb": 1}
    assert "details" not in client.get("/api/health").json
    r2.faults = {}
    clock.advance(seconds=5)
    assert client.get("/api/health").json["checks"]["storage"] == "up"


def test_fallbacks_are_counted_without_redis(
    inside: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn, redis_server: RedisServer
) -> None:
    """The count of this process stands in for that of all."""
    inside(r2, imgbb)
    r2.faults = {"PUT": "error"}
    redis_server.stop()
    keep_result()
    assert files.fallbacks() == {"r2>imgbb": 1}


def test_the_stores_tell_what_is_wrong(inside: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn) -> None:
    """The monitor's question to every store: None when it answers, else one line."""
    inside(r2, imgbb)
    assert stores().check() == {"r2": None, "imgbb": None}
    r2.faults = {"DELETE": "error"}
    told = stores().check()
    assert told["imgbb"] is None
    assert "r2: cannot delete health/none" in (told["r2"] or "")


def test_files_of_a_store_without_keys_do_no_harm(inside: AppWith, r2: R2StandIn, clock: FixedClock) -> None:
    """Once R2's keys are taken away its files cannot be read, and their entries wait for the keys to come back."""
    inside(r2)
    kept = files.keep(photo(), "results", "jpg")
    transaction(lambda session: files.adopt(session, kept))
    app = inside()
    with pytest.raises(Unavailable):
        files.read(kept)
    transaction(lambda session: files.discard(session, kept))
    assert files.drain() == 0
    assert [entry.store for entry in entries()] == ["r2"]
    assert Visitor(app).ordered()


# --- ImgBB and the file table ---


def test_a_result_at_imgbb_stands_in_the_table_until_it_expires(
    inside: AppWith, imgbb: ImgBBStandIn, clock: FixedClock
) -> None:
    """Deleting it keeps an entry with the page for deleting it by hand, and the owner can be told when it goes."""
    inside(imgbb, store_order=("imgbb", "local"))
    kept = keep_result()
    (entry,) = entries()
    assert (entry.store, entry.key) == ("imgbb", kept.key)
    transaction(lambda session: files.adopt(session, kept))
    assert entries() == []
    transaction(lambda session: files.discard(session, kept))
    (entry,) = entries()
    assert entry.delete_handle is not None
    assert entry.delete_handle.startswith("https://ibb.co/")
    (leftover,) = files.leftovers_of([kept])
    assert (leftover.store, leftover.delete_page) == ("imgbb", entry.delete_handle)
    assert entry.not_before == leftover.expires_at
    assert abs(leftover.expires_at - clock.now() - WEEK) < timedelta(seconds=1)
    clock.advance(days=6)
    assert files.drain() == 0
    clock.advance(days=1)
    assert files.drain() == 1
    assert files.leftovers_of([kept]) == []
    imgbb.uploads.clear()
    with pytest.raises(NotFound):
        files.read(kept)


def test_the_upload_is_entered_before_and_under_its_own_key_after(
    inside: AppWith, imgbb: ImgBBStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the upload runs an entry stands under our name for it, afterwards one under the key that ImgBB gave."""
    app = inside(imgbb, store_order=("imgbb", "local"))
    answer, during = imgbb.answer, []

    def look_and_answer(heard: Heard) -> Reply:
        with app.app_context():
            during.extend(entry.key for entry in entries())
        return answer(heard)

    monkeypatch.setattr(imgbb, "answer", look_and_answer)
    kept = keep_result()
    assert [key.partition("/")[0] for key in during] == ["results"]
    assert [entry.key for entry in entries()] == [kept.key]
