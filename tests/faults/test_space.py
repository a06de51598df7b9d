"""The Space on its bad day: each fault ends in a clear answer, with the try given back and nothing left behind."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading
from ghibli_flask.errors import TASK_FAILURES
from ghibli_flask.models import Allowance
from tests.engines.conftest import RunningSpace, start_space
from tests.faults.conftest import (
    MOODS,
    TOKEN_LIKE,
    Visitor,
    assert_nothing_left,
    calls,
    meanwhile,
    paint_waiting,
    photo,
    running_rings,
    seconds_of,
    stored_files,
    tries_used,
    wait_for_call,
)

Painter = Callable[..., Flask]
QUOTA_NOTE = "Using original image due to GPU quota exceeded"


def assert_failed(visitor: Visitor, web: Flask, task_id: str, code: str) -> None:
    """The page is told that it failed, why, and that the try is back, and so it is."""
    told = visitor.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", code, True)
    assert told["error"] == f"{TASK_FAILURES[code]} Your try has come back."
    assert told["urls"] == []
    assert told["nextPollMs"] is None
    assert visitor.get(f"/api/image/{task_id}").status_code == 404
    assert tries_used(web) == [0, 0]
    assert running_rings(web) == []


def assert_silent(caplog: pytest.LogCaptureFixture) -> None:
    """No log line holds what looks like a token."""
    assert caplog.records
    assert not any(token in caplog.text for token in TOKEN_LIKE)


def test_away(
    web: Flask, visitor: Visitor, painter: Painter, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A Space that refuses connections fails the order at once and gives the try back."""
    task_id = visitor.order()
    seconds, _ = seconds_of(lambda: paint_waiting(painter()))
    assert seconds < 10
    assert_failed(visitor, web, task_id, "engine_unavailable")
    assert_silent(caplog)
    assert_nothing_left(web, clock)


@pytest.mark.parametrize(
    ("api_name", "code"),
    [
        ("/html", "engine_unavailable"),
        ("/huge", "engine_unavailable"),
        ("/elsewhere", "engine_unavailable"),
        ("/nothing", "engine_unavailable"),
        ("/hidden", "engine_busy"),
        ("/not_there", "engine_unavailable"),
    ],
)
def test_answers_that_are_no_picture(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    gallery: RunningSpace,
    clock: FixedClock,
    caplog: pytest.LogCaptureFixture,
    api_name: str,
    code: str,
) -> None:
    """HTML, 40 MB, a redirect to another host, nothing, a hidden error, a missing endpoint: failed and refunded."""
    task_id = visitor.order()
    paint_waiting(painter(gallery, api_name))
    assert_failed(visitor, web, task_id, code)
    assert_silent(caplog)
    assert_nothing_left(web, clock)


@pytest.mark.parametrize(("api_name", "code"), [("/refusal", "engine_rejected"), ("/blank", "result_unreadable")])
def test_refusals_and_fakes(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    moods: RunningSpace,
    clock: FixedClock,
    caplog: pytest.LogCaptureFixture,
    api_name: str,
    code: str,
) -> None:
    """A gr.Error about the order, and a .png that holds a web page: failed with their own sentences and refunded."""
    task_id = visitor.order()
    paint_waiting(painter(moods, api_name))
    assert_failed(visitor, web, task_id, code)
    assert_silent(caplog)
    assert_nothing_left(web, clock)


def test_slow(web: Flask, visitor: Visitor, painter: Painter, moods: RunningSpace, clock: FixedClock) -> None:
    """A Space that takes longer than TASK_TIMEOUT_S is stopped, in our books and in the Space itself."""
    task_id = visitor.order(prompt="too slow", seed=300)
    seconds, _ = seconds_of(lambda: paint_waiting(painter(moods, "/patient", task_timeout_s=5)))
    assert 5 <= seconds < 12
    assert_failed(visitor, web, task_id, "engine_timeout")
    wait_for_call(moods, "too slow", "stopped")
    assert_nothing_left(web, clock)


def test_busy_for_a_moment(
    web: Flask, visitor: Visitor, painter: Painter, moods: RunningSpace, clock: FixedClock
) -> None:
    """A Space that has no GPU at the first call is asked again, and the order is painted in the same attempt."""
    task_id = visitor.order(prompt="busy once")
    paint_waiting(painter(moods, "/busy_once"))
    told = visitor.poll(task_id)
    assert (told["status"], told["refunded"], told["attempt"]) == ("SUCCESS", False, 1)
    assert calls(moods, "started", "busy once") == 2
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_dying_in_the_middle(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    clock: FixedClock,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A Space that dies while it paints fails the order soon after, and the try is back."""
    space = start_space(tmp_path_factory.mktemp("mortal"), str(MOODS))
    try:
        space.wait_until_ready()
        task_id = visitor.order(prompt="mortal", seed=300)
        app = painter(space, "/patient")
        with meanwhile(lambda: paint_waiting(app)) as painting:
            wait_for_call(space, "mortal")
            space.kill()
            seconds, _ = seconds_of(painting.join)
    finally:
        space.kill()
    assert seconds < 10
    assert_failed(visitor, web, task_id, "engine_unavailable")
    assert_nothing_left(web, clock)


def test_quota(web: Flask, visitor: Visitor, painter: Painter, moods: RunningSpace, clock: FixedClock) -> None:
    """Without GPU quota the photograph comes back, free, with a note, and only to the person who sent it."""
    task_id = visitor.order()
    paint_waiting(painter(moods, "/quota"))
    told = visitor.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("SUCCESS", "quota", True)
    assert told["note"] == QUOTA_NOTE
    assert told["error"] is None
    assert tries_used(web) == [0, 0]

    original = visitor.get(f"/api/image/{task_id}/original")
    assert original.status_code == 200
    assert visitor.get(told["urls"][0]).data == original.data
    assert visitor.get(told["thumbnailUrl"]).status_code == 200
    assert len(stored_files(web)) == 3, "The result is a copy of its own, with a thumbnail."
    for stranger in (Visitor(web).get, web.test_client().get):
        for path in (told["urls"][0], told["thumbnailUrl"], f"/api/image/{task_id}/original"):
            assert stranger(path).status_code == 403
    assert_nothing_left(web, clock)


def test_ordering_again_after_a_failure(
    web: Flask, visitor: Visitor, painter: Painter, gallery: RunningSpace, clock: FixedClock
) -> None:
    """An order that failed may be sent again at once: it is a new task and it is painted."""
    failed = visitor.order(7)
    paint_waiting(painter())
    again = visitor.order(7)
    assert again != failed
    paint_waiting(painter(gallery))
    told = visitor.poll(again)
    assert (told["status"], told["refunded"], told["code"]) == ("SUCCESS", False, None)
    assert visitor.get(told["urls"][0]).data != photo(7)
    assert tries_used(web) == [1, 1]
    assert_nothing_left(web, clock)


def test_given_back_after_midnight(web: Flask, visitor: Visitor, painter: Painter, clock: FixedClock) -> None:
    """A try is given back to the day on which it was taken, not to the day on which the order failed."""
    clock.moment = clock.now().replace(hour=23, minute=59, second=30)
    yesterdays = visitor.order(1)
    clock.advance(minutes=1)
    visitor.order(2)
    assert tries_used(web) == [1, 1, 1, 1]
    paint_waiting(painter(), most=1)
    assert visitor.poll(yesterdays)["refunded"]
    with web.app_context(), reading() as session:
        rows = session.execute(select(Allowance.day, Allowance.used).order_by(Allowance.day)).all()
    assert [row.used for row in rows] == [0, 0, 1, 1]
    assert rows[0].day < rows[-1].day
    assert_nothing_left(web, clock)
