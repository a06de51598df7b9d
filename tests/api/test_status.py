"""Asking after an order: the poll, the older address, and the picture itself."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import runs
from ghibli_flask.task_states import Outcome, Stage
from tests.images.pictures import opened
from tests.support.redis_server import RedisServer
from tests.support.runs import claim, paint, settle
from tests.support.visitor import Visitor, photo

FIELDS = {
    "taskId", "status", "progress", "stage", "queuePosition", "engineRank", "etaSeconds", "etaRangeSeconds",
    "refundAt", "refunded", "urls", "thumbnailUrl", "note", "error", "code", "attempt", "nextPollMs", "elapsedMs",
    "engine",
}  # fmt: skip


def test_every_state_has_the_same_fields(app: Flask, visitor: Visitor) -> None:
    """The poll tells every promised field in every state, and the address of the picture when it is done."""
    task_id = visitor.ordered()
    assert visitor.poll(task_id).items() >= {"status": "PENDING", "stage": "queued", "queuePosition": 1}.items()
    run = claim(app, task_id)
    working = visitor.poll(task_id)
    assert working.items() >= {"status": "PROCESSING", "stage": "connecting", "urls": []}.items()
    settle(app, run, Outcome.PAINTED)
    done = visitor.poll(task_id)
    assert done["status"] == "SUCCESS"
    assert done["progress"] == 100
    assert done["urls"] == [f"/api/image/{task_id}"]
    assert done["nextPollMs"] is None
    assert done["refundAt"] is None
    assert set(working) == set(done) == FIELDS


def test_a_failure_is_told_in_a_sentence(app: Flask, visitor: Visitor) -> None:
    """FAILED has a code for programs, a sentence for people, and the try back."""
    task_id = visitor.ordered()
    paint(app, task_id, Outcome.FAILED, "engine_timeout")
    answer = visitor.poll(task_id)
    assert answer["status"] == "FAILED"
    assert answer["code"] == "engine_timeout"
    assert answer["error"] == "The painting took too long and was stopped. Your try has come back."
    assert answer["refunded"] is True
    assert visitor.order().get_json()["credits"] == 2


def test_a_returned_original_is_labelled_free_and_private(app: Flask, visitor: Visitor) -> None:
    """Without quota the original comes back as SUCCESS with a note, free, and only its owner sees it."""
    task_id = visitor.ordered()
    paint(app, task_id, Outcome.ORIGINAL, "quota")
    answer = visitor.poll(task_id)
    assert answer["status"] == "SUCCESS"
    assert answer["note"] == "Using original image due to GPU quota exceeded"
    assert answer["refunded"] is True
    assert visitor.get(f"/api/image/{task_id}").status_code == 200
    assert Visitor(app).get(f"/api/image/{task_id}").status_code == 403


def test_the_etag_saves_the_answer(app: Flask, visitor: Visitor) -> None:
    """The same state is 304 on its weak ETag however late it is asked; a new state is told."""
    task_id = visitor.ordered()
    run = claim(app, task_id)
    settle(app, run, Outcome.PAINTED)
    first = visitor.get(f"/api/poll-task?taskId={task_id}")
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = visitor.get(f"/api/poll-task?taskId={task_id}", headers={"If-None-Match": tag})
    assert again.status_code == 304
    visitor.delete(f"/api/tasks/{task_id}")
    gone = visitor.get(f"/api/poll-task?taskId={task_id}", headers={"If-None-Match": tag})
    assert gone.status_code == 404


def test_unfinished_answers_are_not_stored(visitor: Visitor) -> None:
    """A poll of unfinished work is no-store and says when to ask again."""
    task_id = visitor.ordered()
    answer = visitor.get(f"/api/poll-task?taskId={task_id}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json()["nextPollMs"] == 2000


@pytest.mark.parametrize("task_id", ["unknown", "0" * 32, "%00", "a'b"])
def test_an_unknown_task_is_not_found(visitor: Visitor, task_id: str) -> None:
    """An unknown id is 404 at once, in the shape that the address's clients expect."""
    assert visitor.get(f"/api/poll-task?taskId={task_id}").get_json()["code"] == "not_found"
    older = visitor.get(f"/api/transform-ghibli/check/{task_id}")
    assert (older.status_code, older.get_json()) == (404, {"status": "not_found"})
    assert visitor.get(f"/api/image/{task_id}").status_code == 404


def test_the_poll_needs_a_task_id(visitor: Visitor) -> None:
    """Without taskId the poll is 422 and names the field."""
    answer = visitor.get("/api/poll-task")
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == "taskId"


def test_older_front_ends_get_progress_then_the_picture(app: Flask, visitor: Visitor) -> None:
    """The older address answers with progress, then with the picture's own bytes; GET and POST alike."""
    task_id = visitor.ordered()
    address = f"/api/transform-ghibli/check/{task_id}"
    before = visitor.get(address)
    assert before.get_json().items() >= {"status": "processing", "progress": 0}.items()
    assert isinstance(before.get_json()["elapsedTime"], int)
    paint(app, task_id)
    for answer in (visitor.get(address), visitor.post(address)):
        assert answer.content_type == "image/jpeg"
        assert answer.headers["Cache-Control"] == "no-store"
        opened(answer.get_data())


def test_older_front_ends_are_told_of_a_failure(app: Flask, visitor: Visitor) -> None:
    """The older address answers 200 with `failed` and the sentence."""
    task_id = visitor.ordered()
    paint(app, task_id, Outcome.FAILED, "engine_unavailable")
    answer = visitor.get(f"/api/transform-ghibli/check/{task_id}")
    assert answer.get_json() == {
        "status": "failed",
        "error": "The painter could not be reached. Your try has come back.",
    }


def test_the_picture_has_a_strong_etag_and_ranges(app: Flask, visitor: Visitor) -> None:
    """The result is sent with a strong ETag, in parts when asked, and as a file to keep when wished."""
    task_id = visitor.ordered()
    assert visitor.get(f"/api/image/{task_id}").status_code == 404
    paint(app, task_id)
    whole = visitor.get(f"/api/image/{task_id}")
    assert whole.headers["ETag"].startswith('"')
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    part = visitor.get(f"/api/image/{task_id}", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.get_data()) == (206, whole.get_data()[:10])
    same = visitor.get(f"/api/image/{task_id}", headers={"If-None-Match": whole.headers["ETag"]})
    assert same.status_code == 304
    kept = visitor.get(f"/api/image/{task_id}?download=1")
    assert kept.headers["Content-Disposition"].startswith("attachment; filename=painted-")
    small = visitor.get(f"/api/image/{task_id}/thumbnail")
    assert small.content_type == "image/webp"
    assert max(opened(small.get_data()).size) <= 480


def test_only_the_owner_sees_the_original(app: Flask, visitor: Visitor) -> None:
    """Holding the id opens the result, never the photograph."""
    task_id = visitor.ordered(photo(640, 200))
    paint(app, task_id)
    assert opened(visitor.get(f"/api/image/{task_id}/original").get_data()).size == (640, 200)
    stranger = Visitor(app)
    assert stranger.get(f"/api/image/{task_id}").status_code == 200
    assert stranger.get(f"/api/image/{task_id}/original").status_code == 403


def test_progress_never_goes_back_within_an_attempt(app: Flask, visitor: Visitor) -> None:
    """A row that lags behind the live status does not pull the shown progress back."""
    from dataclasses import replace

    from ghibli_flask import status
    from ghibli_flask.extensions import runtime

    task_id = visitor.ordered()
    run = claim(app, task_id)
    with app.app_context():
        ahead = replace(run.live, stage="painting", progress=55, updated_at=run.live.updated_at + 1)
        assert status.publish(task_id, ahead)
        assert not status.publish(task_id, replace(ahead, progress=30))
        assert runs.beat(run, 40, Stage.PAINTING, "gradio")
        assert visitor.poll(task_id)["progress"] == 55
        runtime().redis.flushdb()
    assert visitor.poll(task_id)["progress"] == 40


def test_the_poll_works_without_redis(app: Flask, visitor: Visitor, redis_server: RedisServer) -> None:
    """With Redis away the row answers."""
    task_id = visitor.ordered()
    redis_server.stop()
    assert visitor.poll(task_id)["status"] == "PENDING"


def test_the_time_left_comes_from_real_durations(app_factory: Callable[..., Flask]) -> None:
    """Queue place and recent paintings give the time left, and a range of them."""
    from ghibli_flask import queueing

    clock = FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))
    app = app_factory(clock=clock)
    visitor = Visitor(app)
    with app.app_context():
        queueing.tell_load("one", slots=2, busy=0, durations=[10.0, 20.0, 20.0, 40.0])
    visitor.ordered()
    second = visitor.poll(visitor.ordered())
    assert second["queuePosition"] == 2
    assert second["etaSeconds"] == 2 * 20 / 2 + 20
    assert second["etaRangeSeconds"] == [12, 35]
    assert second["refundAt"] == "2026-07-01T12:23:00Z"
    clock.advance(seconds=31)
    assert visitor.poll(second["taskId"])["etaSeconds"] is None
