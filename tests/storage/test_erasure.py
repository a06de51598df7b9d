"""A deleted account leaves no byte in the folder and in R2, and at ImgBB only what expires."""

import zipfile
from datetime import timedelta
from pathlib import Path

from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import erasure, exports, files, repair, runs, tasks
from ghibli_flask.services.allowances import guest_of
from ghibli_flask.services.payers import Member
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import Outcome
from jobs import export
from tests.storage.conftest import AppWith, entries
from tests.support.member import PASSWORD, member
from tests.support.member import Member as Browser
from tests.support.standins.imgbb import ImgBBStandIn
from tests.support.standins.r2 import R2StandIn
from tests.support.visitor import photo


def painted(app: Flask, browser: Browser) -> str:
    """An order of this member that has its picture; its id."""
    task_id = browser.ordered()
    with app.app_context():
        run = runs.claim(task_id)
        assert run is not None
        result = files.keep(photo(), "results", "jpg", expires_in=run.kept_for)
        assert tasks.settle(run.task_id, run.attempt, Ending(Outcome.PAINTED, result))
    return task_id


def owner_of(app: Flask, browser: Browser) -> Member:
    """This member as the services know it."""
    with app.app_context():
        return Member(browser.user_id, guest_of(None, browser.address))


def test_nothing_stays_in_r2(app_with: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn, clock: FixedClock) -> None:
    """Photographs and pictures in R2 and in the folder are gone after the next sweep; ImgBB's one has its end."""
    before = app_with()
    browser = member(before)
    painted(before, browser)
    app = app_with(r2, imgbb)
    browser = member(app)
    painted(app, browser)
    r2.faults = {"PUT": "error"}
    run_order = app_with(r2, imgbb, store_order=("r2", "imgbb", "local"))
    painted(run_order, member(run_order))
    r2.faults = {}
    assert (len(r2.s3.keys()), len(imgbb.uploads)) == (2, 1)
    with app.app_context():
        leftovers = erasure.erase(owner_of(app, browser))
        repair.sweep()
        assert r2.s3.keys() == []
        assert [path for path in (Path(app.instance_path) / "files").rglob("*") if path.is_file()] == []
        (leftover,) = leftovers
        clock.advance(minutes=5)  # What a failed write may have left is looked for once more.
        repair.sweep()
        assert [(entry.store, entry.not_before) for entry in entries()] == [("imgbb", leftover.expires_at)]
        assert abs(leftover.expires_at - clock.now() - timedelta(days=30)) < timedelta(minutes=6)
        assert imgbb.expirations == [30 * 86400]
        clock.advance(days=30)
        repair.sweep()
        assert entries() == []


def test_the_page_tells_what_stays(app_with: AppWith, imgbb: ImgBBStandIn, clock: FixedClock) -> None:
    """Whoever deletes the account reads how many pictures ImgBB still keeps, and until which day."""
    app = app_with(imgbb, store_order=("imgbb", "local"))
    end = clock.now() + timedelta(days=30)
    last_day = f"{end.day} {end:%B %Y}"
    for has_pictures in (True, False):
        browser = member(app)
        if has_pictures:
            page = browser.get(f"/tasks/{painted(app, browser)}").get_data(as_text=True)
            assert f"There it goes by itself on {last_day}." in page
        answer = browser.post("/account/delete", data={"password": PASSWORD})
        assert answer.status_code == 303
        page = browser.get(answer.location).get_data(as_text=True)
        assert "Your account and everything in it is deleted." in page
        assert ("One of your pictures lies with ImgBB" in page) is has_pictures
        assert (last_day in page) is has_pictures


def test_an_export_reads_every_store(app_with: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn) -> None:
    """The download of everything holds the pictures of all three stores."""
    for app in (app_with(), app_with(r2), app_with(imgbb, store_order=("imgbb", "local"))):
        painted(app, member(app))
    app = app_with(r2, imgbb)
    browser = member(app)
    with app.app_context():
        exports.start(browser.user_id)
        row = exports._row(browser.user_id)
        assert row is not None
        export.pack(row.public_id, 0)
        with zipfile.ZipFile(exports.ready(browser.user_id).path) as archive:
            assert sum(name.endswith(".jpg") for name in archive.namelist()) == 6
