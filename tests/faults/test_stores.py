"""A remote store that dies before, during and after every write: nothing is lost, charged or left behind."""

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading
from ghibli_flask.errors import Unavailable
from ghibli_flask.models import DiscardedFile, ImageTask
from ghibli_flask.services import files
from ghibli_flask.storage.s3 import Bounds, S3Store
from ghibli_flask.task_states import Outcome
from jobs import paint
from jobs.chain import Failures
from tests.engines.conftest import RunningSpace
from tests.faults.conftest import Visitor, paint_waiting, photo, row, stored_files, task_count, tries_used
from tests.support.standins.imgbb import RATE_LIMIT, UPLOAD, ImgBBStandIn
from tests.support.standins.r2 import Fault, R2StandIn

Painter = Callable[..., Flask]

pytestmark = pytest.mark.usefixtures("quick_bounds")
EVERY_STEP = pytest.mark.parametrize("step", ["before", "during", "after", "silence", "error"])


@pytest.fixture
def quick_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits and one more try for web and worker, so that every step is quickly through."""
    module = import_module("ghibli_flask.storage.stores")  # The package has a function of this name.
    for name in ("WEB", "WORKER"):
        monkeypatch.setattr(module, name, Bounds(connect_s=1, request_s=1, retries=1, retry_for_s=2))


@pytest.fixture
def web(app_factory: Callable[..., Flask], clock: FixedClock, r2: R2StandIn, imgbb: ImgBBStandIn) -> Flask:
    """The web side of a site whose pictures lie in R2, with ImgBB behind it for results."""
    return app_factory(clock=clock, **r2.settings(), **imgbb.settings())


@pytest.fixture
def worker(painter: Painter, gallery: RunningSpace, r2: R2StandIn, imgbb: ImgBBStandIn) -> Flask:
    """The application of its worker."""
    return painter(gallery, **r2.settings(), **imgbb.settings())


def assert_rows_and_r2_agree(app: Flask, r2: R2StandIn, clock: FixedClock) -> None:
    """After the cleanup: no object without a row, no row without its object, and nothing that waits to be deleted."""
    clock.advance(minutes=61)
    with app.app_context():
        files.drain()
        with reading() as session:
            waiting = [entry.key for entry in session.scalars(select(DiscardedFile)) if entry.store != "imgbb"]
            tasks = session.scalars(select(ImageTask)).all()
    pairs = [(task.source_store, task.source_key) for task in tasks]
    pairs += [(task.result_store, task.result_key) for task in tasks]
    assert waiting == []
    assert sorted(key for store, key in pairs if store == "r2" and key) == r2.s3.keys()
    assert stored_files(app) == set()


@EVERY_STEP
def test_an_upload(
    web: Flask, visitor: Visitor, r2: R2StandIn, imgbb: ImgBBStandIn, clock: FixedClock, step: Fault
) -> None:
    """The order is refused, free of charge; what reached R2 all the same is cleaned up; the next one is taken."""
    r2.faults = {"PUT": step}
    answer = visitor.try_to_order()
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert "Nothing was charged" in answer.json["detail"]
    assert (task_count(web), sum(tries_used(web))) == (0, 0)
    assert len(r2.s3.keys()) == (step == "after")
    r2.faults = {}
    clock.advance(seconds=5)
    assert visitor.order()
    assert_rows_and_r2_agree(web, r2, clock)
    assert imgbb.uploads == {}, "No photograph goes to ImgBB."


@EVERY_STEP
def test_a_result_goes_to_the_next_store(
    web: Flask, visitor: Visitor, worker: Flask, r2: R2StandIn, imgbb: ImgBBStandIn, clock: FixedClock, step: Fault
) -> None:
    """The picture reaches the visitor by ImgBB, for as long as it is kept; nothing of it stays in R2."""
    task_id = visitor.order()
    r2.faults = {"PUT": step}
    paint_waiting(worker)
    r2.faults = {}
    assert visitor.poll(task_id)["status"] == "SUCCESS"
    assert (row(web, task_id).source_store, row(web, task_id).result_store) == ("r2", "imgbb")
    picture = visitor.get(f"/api/image/{task_id}")
    assert (picture.status_code, picture.content_type) == (200, "image/jpeg")
    assert imgbb.expirations == [7 * 86400]
    assert_rows_and_r2_agree(web, r2, clock)
    assert r2.s3.keys() == [row(web, task_id).source_key]


@EVERY_STEP
def test_a_result_that_no_store_takes(
    web: Flask, visitor: Visitor, worker: Flask, r2: R2StandIn, imgbb: ImgBBStandIn, clock: FixedClock, step: Fault
) -> None:
    """The order fails with its own sentence, the try is back, and no store keeps anything but the photograph."""
    task_id = visitor.order()
    r2.faults = {"PUT": step}
    imgbb.next(UPLOAD, RATE_LIMIT)
    paint_waiting(worker)
    r2.faults = {}
    told = visitor.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", "storage", True)
    assert tries_used(web) == [0, 0]
    assert_rows_and_r2_agree(web, r2, clock)
    assert imgbb.uploads == {}


def test_a_photo_that_is_handed_back_never_goes_to_imgbb(worker: Flask, r2: R2StandIn, imgbb: ImgBBStandIn) -> None:
    """The copy of the photograph that an unpainted order gives back follows the rule for photographs."""
    for_want_of_quota = Failures(quota=True)
    r2.faults = {"PUT": "error"}
    with worker.app_context(), pytest.raises(Unavailable):
        paint._without_painting(photo(), for_want_of_quota)
    assert imgbb.heard == []
    r2.faults = {}
    with worker.app_context():
        ending = paint._without_painting(photo(), for_want_of_quota)
    assert ending.outcome is Outcome.ORIGINAL
    assert ending.result is not None
    assert ending.result.store == "r2"


def test_the_server_behind_it_is_killed(
    web: Flask, visitor: Visitor, worker: Flask, r2: R2StandIn, imgbb: ImgBBStandIn, clock: FixedClock
) -> None:
    """Killed between upload and painting the order fails for free; killed before an upload that one is refused."""
    task_id = visitor.order()
    r2.s3.kill()
    paint_waiting(worker)
    told = visitor.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", "storage", True)
    assert visitor.try_to_order(1).status_code == 503
    r2.s3.empty()
    clock.advance(seconds=5)
    assert visitor.order(1)
    assert len(r2.s3.keys()) == 1


def test_a_deletion(web: Flask, visitor: Visitor, r2: R2StandIn, clock: FixedClock) -> None:
    """While R2 is away a deleted picture is 404 for everybody, and its bytes go as soon as R2 is back."""
    task_id = visitor.order()
    r2.faults = {"DELETE": "after"}
    assert visitor.delete(task_id).status_code == 204
    with web.app_context():
        assert files.drain() == 0
    assert visitor.get(f"/api/image/{task_id}/original").status_code == 404
    r2.faults = {}
    assert_rows_and_r2_agree(web, r2, clock)
    assert r2.s3.keys() == []


class ProcessDied(BaseException):
    """What a killed process does not live to see: nothing of ours catches it."""


@pytest.mark.parametrize("is_written", [False, True], ids=["before", "after"])
def test_the_process_dies(
    web: Flask, r2: R2StandIn, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    """A process that dies before or after the write leaves an entry, and the cleanup takes what was written."""
    write = S3Store.write

    def write_and_die(self: S3Store, key: str, data: bytes, expires_at: object = None) -> str:
        if is_written:
            write(self, key, data)
        raise ProcessDied

    monkeypatch.setattr(S3Store, "write", write_and_die)
    with web.app_context(), pytest.raises(ProcessDied):
        files.keep(photo(), "sources", "jpg")
    assert len(r2.s3.keys()) == is_written
    assert_rows_and_r2_agree(web, r2, clock)


def test_the_process_dies_after_an_upload_to_imgbb(
    web: Flask, r2: R2StandIn, imgbb: ImgBBStandIn, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the upload and the entry of its key a crash leaves one picture that expires, and no entry for ever."""
    r2.faults = {"PUT": "error"}

    def die(*_: object) -> None:
        raise ProcessDied

    monkeypatch.setattr(files, "_rename", die)
    with web.app_context(), pytest.raises(ProcessDied):
        files.keep(photo(), "results", "jpg", expires_in=timedelta(days=7))
    assert imgbb.expirations == [7 * 86400]
    r2.faults = {}
    clock.advance(minutes=61)
    with web.app_context(), reading() as session:
        files.drain()
        assert session.scalars(select(DiscardedFile)).all() == []


def test_an_unreadable_folder_beside_it(web: Flask, visitor: Visitor, r2: R2StandIn) -> None:
    """A site whose pictures lie in R2 needs no folder of its own."""
    (Path(web.instance_path) / "files").write_text("in the way")
    task_id = visitor.order()
    assert visitor.get(f"/api/image/{task_id}/original").status_code == 302
    assert len(r2.s3.keys()) == 1
