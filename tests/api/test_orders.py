"""Ordering a picture, as docs/api.md promises it."""

import base64
from collections.abc import Callable
from io import BytesIO

import pytest
from flask import Flask

from tests.support.runs import claim, paint
from tests.support.visitor import Visitor, photo


def test_an_order_is_accepted_with_everything_a_client_needs(visitor: Visitor) -> None:
    """202 names the task, where and when to ask, the promise, and what is left."""
    answer = visitor.order(style="golden")
    body = answer.get_json()
    assert answer.status_code == 202
    assert set(body) == {
        "taskId", "status", "pollUrl", "nextPollMs", "queuePosition", "etaSeconds", "refundAt", "credits",
    }  # fmt: skip
    assert body["status"] == "PENDING"
    assert body["queuePosition"] == 1
    assert body["credits"] == 2
    assert body["refundAt"].endswith("Z")
    assert answer.headers["Location"] == body["pollUrl"] == f"/api/poll-task?taskId={body['taskId']}"
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_json_with_base64_is_the_same_order(visitor: Visitor, prefix: str) -> None:
    """A picture may come as base64 in JSON, bare or as a data address, and counts as the same order."""
    data = photo()
    first = visitor.ordered(data)
    answer = visitor.post(
        "/api/generate-image", json={"imageBase64": prefix + base64.b64encode(data).decode(), "mode": "image-to-image"}
    )
    assert answer.status_code == 200
    assert answer.get_json()["taskId"] == first
    assert answer.get_json()["duplicate"] is True


def test_the_older_address_takes_the_same_form(app: Flask, visitor: Visitor) -> None:
    """POST /api/transform-ghibli orders in the default style, whatever style is sent."""
    answer = visitor.post("/api/transform-ghibli", data={"image": (BytesIO(photo()), "a.jpg"), "style": "night"})
    assert answer.status_code == 202
    assert claim(app, answer.get_json()["taskId"]).style == "ghibli"


def test_a_picture_of_ones_own_can_be_painted_again_by_its_address(app: Flask, visitor: Visitor) -> None:
    """imageUrl resolves to the caller's own result without any fetch; another visitor's is 404."""
    task_id = visitor.ordered()
    paint(app, task_id)
    own = visitor.post("/api/generate-image", json={"imageUrl": f"/api/image/{task_id}"})
    assert own.status_code == 202
    foreign = Visitor(app).post("/api/generate-image", json={"imageUrl": f"/api/image/{task_id}"})
    assert foreign.status_code == 404
    abroad = visitor.post("/api/generate-image", json={"imageUrl": "http://example.org/cat.jpg"})
    assert abroad.status_code == 404


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"style": "oil"}, "style"),
        ({"width": "99"}, "width"),
        ({"height": "tall"}, "height"),
        ({"seed": "-1"}, "seed"),
        ({"mode": "video"}, "mode"),
        ({"prompt": "x" * 1001}, "prompt"),
    ],
)
def test_wrong_fields_are_named(visitor: Visitor, fields: dict[str, str], refused: str) -> None:
    """A refused field is 422 with its name on the wire, and costs nothing."""
    answer = visitor.order(**fields)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert [item["field"] for item in answer.get_json()["errors"]] == [refused]
    assert visitor.order().get_json()["credits"] == 2


def test_blank_and_null_numbers_count_as_left_out(visitor: Visitor) -> None:
    """A form sends an empty text, JSON a null, for a number that was not chosen; both are accepted."""
    assert visitor.order(width="", height="", seed="").status_code == 202
    body = {"imageBase64": base64.b64encode(photo()).decode(), "width": None, "seed": None}
    assert visitor.post("/api/generate-image", json=body).status_code == 202


def test_a_wrong_field_name_is_told_what_is_missing(visitor: Visitor) -> None:
    """A file sent under another name than `image` is answered with the name that is missing."""
    answer = visitor.post("/api/generate-image", data={"photo": (BytesIO(photo()), "a.jpg")})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == "image"


def test_words_alone_need_an_engine_for_them(visitor: Visitor) -> None:
    """text-to-image without an engine that can do it is 422 mode_unavailable, asked for in either way."""
    for body in ({"prompt": "a harbour", "mode": "text-to-image"}, {"prompt": "a harbour"}):
        answer = visitor.post("/api/generate-image", json=body)
        assert answer.status_code == 422
        assert answer.get_json()["code"] == "mode_unavailable"


@pytest.mark.parametrize("body", ["{not json", "[1, 2]", '"words"'])
def test_unreadable_json_is_malformed(visitor: Visitor, body: str) -> None:
    """JSON that cannot be read, or is no object, is 400 malformed."""
    answer = visitor.post("/api/generate-image", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "malformed"


def test_bad_base64_is_named(visitor: Visitor) -> None:
    """Base64 that is none is 422 and names its field."""
    answer = visitor.post("/api/generate-image", json={"imageBase64": "*not base64*"})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == "imageBase64"


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<html></html>", photo()[:200]])
def test_what_is_no_picture_is_refused_in_words(visitor: Visitor, data: bytes) -> None:
    """Empty, cut or foreign bytes are 415 with a sentence and stay free."""
    answer = visitor.order(data)
    assert answer.status_code == 415
    assert "Nothing was charged." in answer.get_json()["detail"]
    assert visitor.order().get_json()["credits"] == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_sixty_megabytes_are_too_many(visitor: Visitor, as_json: bool) -> None:
    """A file over MAX_UPLOAD_MB is 413, as a form and as base64."""
    data = b"\xff" * (60 * 1024 * 1024)
    if as_json:
        answer = visitor.post("/api/generate-image", json={"imageBase64": base64.b64encode(data).decode()})
    else:
        answer = visitor.order(data)
    assert answer.status_code == 413
    assert answer.get_json()["code"] == "too_large"


def test_the_free_tries_run_out(visitor: Visitor) -> None:
    """After the day's tries an order is 401 sign_in_required."""
    for left in (2, 1, 0):
        assert visitor.order().get_json()["credits"] == left
    answer = visitor.order()
    assert answer.status_code == 401
    assert answer.get_json()["code"] == "sign_in_required"


def test_new_cookies_gain_no_more_than_the_address_has(app: Flask) -> None:
    """Clearing cookies gains at most the address's limit."""
    accepted = sum(Visitor(app).order().status_code == 202 for _ in range(20))
    assert accepted == 15
    assert Visitor(app, address="192.0.2.99").order().status_code == 202


def test_a_program_without_cookies_is_counted_by_its_address(app: Flask) -> None:
    """Without any cookie no token is needed, the address pays, and nobody owns the task."""
    client = app.test_client()
    data = photo()
    answers = [client.post("/api/generate-image", data={"image": (BytesIO(data), "a.jpg")}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].get_json()["credits"] == 13
    task_id = answers[0].get_json()["taskId"]
    assert client.get(f"/api/image/{task_id}/original").status_code == 403
    assert client.post(f"/api/tasks/{task_id}/cancel").status_code == 200


def test_the_same_order_within_seconds_is_one_task(visitor: Visitor) -> None:
    """The same picture, style and prompt again is 200 with the first task and costs one try."""
    data = photo()
    first = visitor.order(data)
    second = visitor.order(data)
    assert second.status_code == 200
    assert second.get_json()["duplicate"] is True
    assert second.get_json()["taskId"] == first.get_json()["taskId"]
    assert visitor.order(data, style="night").status_code == 202


def test_an_idempotency_key_is_remembered(visitor: Visitor) -> None:
    """The same key gives the same task; with another payload it is 422; a refusal is not remembered."""
    key = {"Idempotency-Key": "k-1"}
    assert visitor.order(b"no picture", headers=key).status_code == 415
    data = photo()
    first = visitor.order(data, headers=key)
    assert first.status_code == 202
    assert visitor.order(data, headers=key).get_json()["taskId"] == first.get_json()["taskId"]
    mismatch = visitor.order(photo(), headers=key)
    assert mismatch.status_code == 422
    assert mismatch.get_json()["code"] == "idempotency_mismatch"
    assert visitor.order(photo(), headers={"Idempotency-Key": "k" * 201}).status_code == 422


def test_cancelling_gives_the_try_back(app: Flask, visitor: Visitor) -> None:
    """A cancelled order is CANCELLED, refunded and stays so; only its owner may cancel it."""
    task_id = visitor.ordered()
    assert Visitor(app).post(f"/api/tasks/{task_id}/cancel").status_code == 403
    answer = visitor.post(f"/api/tasks/{task_id}/cancel")
    assert answer.get_json()["status"] == "CANCELLED"
    assert answer.get_json()["refunded"] is True
    assert visitor.post(f"/api/tasks/{task_id}/cancel").status_code == 200
    assert visitor.order().get_json()["credits"] == 2


def test_a_finished_order_cannot_be_cancelled(app: Flask, visitor: Visitor) -> None:
    """Cancelling what is done is 409 and changes nothing."""
    task_id = visitor.ordered()
    paint(app, task_id)
    assert visitor.post(f"/api/tasks/{task_id}/cancel").status_code == 409
    assert visitor.poll(task_id)["status"] == "SUCCESS"


def test_painting_again_is_a_new_task(app: Flask, visitor: Visitor) -> None:
    """Retry makes a new task of the same photo, in another style if wished, with a charge of its own."""
    task_id = visitor.ordered()
    paint(app, task_id)
    answer = visitor.post(f"/api/tasks/{task_id}/retry", json={"style": "night"})
    assert answer.status_code == 202
    assert answer.get_json()["taskId"] != task_id
    assert answer.get_json()["credits"] == 1
    assert Visitor(app).post(f"/api/tasks/{task_id}/retry", json={}).status_code == 403
    assert visitor.post(f"/api/tasks/{task_id}/retry", json={"style": "oil"}).status_code == 422
    assert visitor.post("/api/tasks/unknown/retry", json={}).status_code == 404


def test_late_cancels_are_free_five_times_a_day(app_factory: Callable[..., Flask]) -> None:
    """The sixth painting stopped half-way keeps its try, and painting again waits for tomorrow."""
    app = app_factory(guest_daily_limit=10)
    visitor = Visitor(app)
    refunds = []
    for _ in range(6):
        task_id = visitor.ordered()
        claim(app, task_id)
        refunds.append(visitor.post(f"/api/tasks/{task_id}/cancel").get_json()["refunded"])
    assert refunds == [True] * 5 + [False]
    assert visitor.post(f"/api/tasks/{task_id}/retry", json={}).status_code == 429


def test_deleting_removes_the_task_and_its_files(app: Flask, visitor: Visitor) -> None:
    """A deleted task is 404 at every address at once, and the cleanup removes its files."""
    from ghibli_flask.extensions import runtime
    from ghibli_flask.services import files

    task_id = visitor.ordered()
    paint(app, task_id)
    assert Visitor(app).delete(f"/api/tasks/{task_id}").status_code == 403
    assert visitor.delete(f"/api/tasks/{task_id}").status_code == 204
    for path in (f"/api/poll-task?taskId={task_id}", f"/api/image/{task_id}", f"/tasks/{task_id}"):
        assert visitor.get(path).status_code == 404
    with app.app_context():
        files.drain()
        folder = runtime().settings.instance_dir / "files"
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_many_orders_a_minute_meet_the_limit(app_factory: Callable[..., Flask]) -> None:
    """Beyond ORDERS_PER_MINUTE an address gets 429 with Retry-After and the RateLimit fields."""
    visitor = Visitor(app_factory(orders_per_minute=2))
    answers = [visitor.order() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"orders";q=2;w=60'
    assert answers[2].headers["RateLimit"].startswith('"orders";r=0;t=')
    assert int(answers[2].headers["Retry-After"]) > 0
    assert answers[2].get_json()["code"] == "too_many_requests"


def test_a_full_queue_refuses_before_anything_is_stored(app: Flask, visitor: Visitor) -> None:
    """An order whose wait would pass its deadline is 503 queue_full and free."""
    from ghibli_flask import queueing

    with app.app_context():
        queueing.tell_load("slow-worker", slots=1, busy=1, durations=[1190.0] * 4)
    answer = visitor.order()
    assert answer.status_code == 503
    assert answer.get_json()["code"] == "queue_full"
    assert int(answer.headers["Retry-After"]) >= 60
