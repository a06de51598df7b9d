"""POST /process and POST /progress: orders and reports of programs that hold the process secret."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from ghibli_flask.database import db, reading
from ghibli_flask.extensions import runtime
from ghibli_flask.models.credit import CreditEntry
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import credits
from ghibli_flask.status import mailbox
from ghibli_flask.styles import STYLES
from ghibli_flask.task_states import Outcome
from tests.faults.conftest import at_once
from tests.images.pictures import opened
from tests.support.member import Member, member
from tests.support.redis_server import RedisServer
from tests.support.runs import claim, paint, settle
from tests.support.visitor import Visitor, photo

SECRET = "the long secret of outside processors"
BEARER = {"Authorization": f"Bearer {SECRET}"}
PROGRESS_PATHS = ("/progress/", "/api/transform-ghibli/progress/")


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """The application with a secret for processors."""
    return app_factory(task_process_secret_key=SECRET, guest_daily_limit=1)


@pytest.fixture
def ada(app: Flask) -> Member:
    """A signed-in user."""
    return member(app)


def b64(data: bytes) -> str:
    """Bytes as they travel in JSON."""
    return base64.b64encode(data).decode()


def process(client: FlaskClient, task_id: str = "their-task_1", **changes: Any) -> TestResponse:
    """Hand an order over; a field that is None is left out."""
    body = {"prompt": "a quiet harbour", "height": 512, "width": 512, "seed": 7, "imageBase64": b64(photo()), **changes}
    return client.post(
        f"/process/{task_id}", json={name: value for name, value in body.items() if value is not None}, headers=BEARER
    )


def handed_over(client: FlaskClient, task_id: str = "their-task_1", **changes: Any) -> str:
    """Hand over an order that is accepted; gives its id."""
    answer = process(client, task_id, **changes)
    assert (answer.status_code, answer.get_json()) == (200, {"received": True}), answer.text
    return task_id


def report(client: FlaskClient, task_id: str, path: str = "/progress/", **body: Any) -> TestResponse:
    """Report on a painting."""
    return client.post(path + task_id, json={"progress": 50, "status": "processing", **body}, headers=BEARER)


def reported(client: FlaskClient, task_id: str, **body: Any) -> None:
    """A report that is taken."""
    answer = report(client, task_id, **body)
    assert (answer.status_code, answer.get_json()) == (200, {"success": True}), answer.text


def poll(client: FlaskClient, task_id: str) -> dict[str, Any]:
    """What the caller is told."""
    answer = client.get(f"/api/poll-task?taskId={task_id}", headers=BEARER)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def row(app: Flask, alias: str) -> ImageTask:
    """The row of a task that came from outside."""
    with app.app_context(), reading() as session:
        return session.scalars(select(ImageTask).where(ImageTask.alias == alias)).one()


def entries(app: Flask, user_id: str) -> list[tuple[str, int]]:
    """A user's postings after the opening one: key and amount."""
    with app.app_context(), reading() as session:
        found = session.scalars(select(CreditEntry).where(CreditEntry.user_id == user_id).order_by(CreditEntry.id))
        return [(entry.business_key, entry.amount) for entry in found if entry.kind != "opening"]


def in_redis(app: Flask, key: str) -> bytes | None:
    """A value as others read it."""
    with app.app_context():
        return runtime().redis.get(key)


def time_to_live(app: Flask, key: str) -> int:
    """Seconds until a key expires."""
    with app.app_context():
        return int(runtime().redis.ttl(key))


# --- Handing over ---


@pytest.mark.usefixtures("each_database")
def test_an_order_is_queued_under_its_callers_id(app: Flask, client: FlaskClient) -> None:
    """It waits like any other order, free and of nobody, with what was asked for, and a job that rings for it."""
    handed_over(client)
    task = row(app, "their-task_1")
    assert (task.status, task.charged, task.owner, task.payer) == ("queued", 0, None, "processor")
    assert (task.prompt, task.style, task.width, task.height, task.seed) == ("a quiet harbour", "ghibli", 512, 512, 7)
    told = poll(client, "their-task_1")
    assert (told["taskId"], told["status"], told["queuePosition"]) == ("their-task_1", "PENDING", 1)


@pytest.mark.usefixtures("each_database")
def test_a_repeat_does_nothing(app: Flask, client: FlaskClient, ada: Member) -> None:
    """The same id again answers 200, whatever it carries, and is charged once; also after the task was deleted."""
    for seed in (7, 8):
        handed_over(client, seed=seed, userId=ada.user_id)
    assert row(app, "their-task_1").seed == 7
    assert ada.delete(f"/api/tasks/{row(app, 'their-task_1').public_id}").status_code == 204
    handed_over(client, userId="nobody at all")
    assert row(app, "their-task_1").deleted_at is not None
    assert client.get("/api/poll-task?taskId=their-task_1", headers=BEARER).status_code == 404
    assert report(client, "their-task_1").status_code == 404
    assert entries(app, ada.user_id) == [("task-their-task_1-charge", -1), ("task-their-task_1-refund", 1)]


@pytest.mark.usefixtures("each_database")
@pytest.mark.parametrize("pays", [True, False])
def test_repeats_at_once_are_one_order(app: Flask, ada: Member, pays: bool) -> None:
    """Eight callers with the same new id at the same moment: all are answered 200, one order, one charge."""
    body = {"userId": ada.user_id} if pays else {}
    answers = at_once(*(partial(process, app.test_client(), **body) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert row(app, "their-task_1").status == "queued"
    assert len(entries(app, ada.user_id)) == pays


def test_ids_differ_by_case(app: Flask, client: FlaskClient) -> None:
    """`Task` and `task` are two orders."""
    handed_over(client, "Task", seed=1)
    handed_over(client, "task", seed=2)
    assert (row(app, "Task").seed, row(app, "task").seed) == (1, 2)


def test_a_known_user_pays_and_is_refunded_under_the_callers_id(app: Flask, client: FlaskClient, ada: Member) -> None:
    """The charge is posted on accept, the refund when nothing was painted, both under keys with the caller's id."""
    handed_over(client, userId=ada.user_id)
    assert entries(app, ada.user_id) == [("task-their-task_1-charge", -1)]
    paint(app, row(app, "their-task_1").public_id, Outcome.FAILED, "engine_unavailable")
    assert entries(app, ada.user_id)[1:] == [("task-their-task_1-refund", 1)]
    assert row(app, "their-task_1").owner == f"user:{ada.user_id}"


def test_a_charge_that_stands_is_the_charge(app: Flask, client: FlaskClient, ada: Member) -> None:
    """A program that charged its task before is not charged again, also with nothing left, and gets it back whole."""
    with app.app_context():
        credits.post(ada.user_id, -30, "their-task_1")
    handed_over(client, userId=ada.user_id)
    assert entries(app, ada.user_id) == [("task-their-task_1-charge", -30)]
    reported(client, "their-task_1", status="failed")
    assert entries(app, ada.user_id)[1:] == [("task-their-task_1-refund", 30)]


def test_a_charge_of_another_user_is_a_conflict(app: Flask, client: FlaskClient, ada: Member) -> None:
    """A task that was charged to somebody else, or whose charge was given back, is not accepted."""
    bob = member(app, "bob@example.org")
    with app.app_context():
        credits.post(bob.user_id, -1, "their-task_1")
        credits.post(ada.user_id, -1, "their-task_2")
        credits.post(ada.user_id, 1, "their-task_2")
    for task_id in ("their-task_1", "their-task_2"):
        answer = process(client, task_id, userId=ada.user_id)
        assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")


def test_an_empty_purse_is_402(app: Flask, client: FlaskClient, ada: Member) -> None:
    """A user without credits is refused, nothing is stored, and the same id is accepted when there are some."""
    with app.app_context():
        credits.post(ada.user_id, -30)
    answer = process(client, userId=ada.user_id)
    assert (answer.status_code, answer.get_json()["code"]) == (402, "no_credits")
    with app.app_context():
        credits.post(ada.user_id, 1)
    handed_over(client, userId=ada.user_id)


def test_our_own_ids_are_refused(app: Flask, client: FlaskClient) -> None:
    """An id of ours, or the name of an attempt at one, is a conflict: an engine that was led back to ourselves."""
    task_id = Visitor(app).ordered()
    for alias in (task_id, f"{task_id}-1"):
        answer = process(client, alias)
        assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")
    handed_over(client, "0" * 32)


@pytest.mark.parametrize(
    ("status", "field", "changes"),
    [
        (422, "height", {"height": 255}),
        (422, "width", {"width": 1025}),
        (422, "seed", {"seed": -1}),
        (422, "prompt", {"prompt": None}),
        (422, "imageBase64", {"imageBase64": None}),
        (422, "imageBase64", {"imageBase64": "no base64!"}),
        (422, "userId", {"userId": "nobody at all"}),
        (415, None, {"imageBase64": b64(b"not a picture at all")}),
    ],
)
def test_bad_fields(client: FlaskClient, status: int, field: str | None, changes: dict[str, Any]) -> None:
    """What is missing or out of range is named; a picture is proven as everywhere."""
    answer = process(client, **changes)
    assert answer.status_code == status, answer.text
    if field:
        assert [item["field"] for item in answer.get_json()["errors"]] == [field]
    assert client.get("/api/poll-task?taskId=their-task_1", headers=BEARER).status_code == 404


@pytest.mark.parametrize("task_id", ["a b", "a.b", "ä", "x" * 65])
def test_bad_ids(client: FlaskClient, task_id: str) -> None:
    """An id with other characters, or a longer one, is refused by name."""
    answer = process(client, task_id)
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "taskId")


def test_a_body_that_cannot_be_read(client: FlaskClient) -> None:
    """A body that is no JSON object is 400, and none at all lacks its fields."""
    for path in ("/process/their-task_1", "/progress/their-task_1"):
        for body in (b"{broken", b'["a"]'):
            answer = client.post(path, data=body, content_type="application/json", headers=BEARER)
            assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed")
        assert client.post(path, headers=BEARER).status_code == 422


@pytest.mark.parametrize("bearer", [None, "wrong", SECRET[:-1], f"{SECRET}x", "development-key"])
def test_only_the_secret_opens(client: FlaskClient, bearer: str | None) -> None:
    """Without the secret, or with another, all of it is 401 before any field is looked at, and the task is unknown."""
    handed_over(client)
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    for path in ("/process/another", *(prefix + "their-task_1" for prefix in PROGRESS_PATHS)):
        answer = client.post(path, data=b"{broken", content_type="application/json", headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")
    for path in ("/api/poll-task?taskId=their-task_1", "/api/image/their-task_1", "/api/image/their-task_1/thumbnail"):
        assert client.get(path, headers=headers).status_code == 404
    assert client.post("/api/transform-ghibli/check/their-task_1", headers=headers).status_code == 404
    assert client.post("/api/tasks/their-task_1/cancel", headers=headers).status_code == 404


def test_guesses_are_limited(client: FlaskClient) -> None:
    """After twenty wrong secrets in a minute an address gets 429."""
    for _guess in range(20):
        assert client.post("/process/x", headers={"Authorization": "Bearer guess"}).status_code == 401
    assert client.post("/progress/x", headers={"Authorization": "Bearer guess"}).status_code == 429


def test_in_development_there_is_a_key(app_factory: Callable[..., Flask]) -> None:
    """Without any setting, development knows `development-key`."""
    client = app_factory().test_client()
    answer = client.post("/progress/unknown", json={"progress": 1, "status": "failed"}, headers=BEARER)
    assert answer.status_code == 401
    headers = {"Authorization": "Bearer development-key"}
    answer = client.post("/progress/unknown", json={"progress": 1, "status": "failed"}, headers=headers)
    assert answer.status_code == 404


def test_in_production_there_is_none(app_factory: Callable[..., Flask]) -> None:
    """Where no secret is set in production, these addresses answer nobody."""
    app = app_factory(
        app_env="production",
        app_url="https://painted.example",
        secret_key=("a-long-secret-for-signing-0123456789",),
        legal_contact_email="office@painted.example",
    )
    for bearer in ("development-key", "None", ""):
        answer = app.test_client().post("/process/x", headers={"Authorization": f"Bearer {bearer}"})
        assert answer.status_code == 401


def test_a_token_is_neither_kept_nor_logged(app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """`token` is accepted; afterwards it stands in no table, in no key of Redis and in no line of the log."""
    caplog.set_level(logging.DEBUG)
    handed_over(client, token="hf_secretsecretsecret")
    paint(app, row(app, "their-task_1").public_id)
    assert "hf_secret" not in caplog.text
    with app.app_context(), db.engine.connect() as connection:
        for table in db.metadata.sorted_tables:
            assert "hf_secret" not in str(connection.execute(table.select()).all())
        redis = runtime().redis
        values = [redis.get(key) for key in redis.scan_iter() if redis.type(key) == b"string"]
    assert values
    assert not any(b"hf_secret" in value for value in values)


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.key)
def test_a_complete_prompt_keeps_its_style(app: Flask, client: FlaskClient, style: Any) -> None:
    """A prompt that begins with a style's own is painted in that style, and its words are not doubled."""
    handed_over(client, "with", prompt=style.prompt_with("a red boat"))
    handed_over(client, "without", prompt=style.prompt)
    for alias, words in (("with", "a red boat"), ("without", "")):
        task = row(app, alias)
        assert (task.style, task.prompt) == (style.key, words)


# --- Asking, fetching, stopping ---


def test_the_caller_fetches_the_picture(app: Flask, client: FlaskClient) -> None:
    """With the bearer the finished picture is served under the caller's id, whole and small, and lies in Redis."""
    handed_over(client)
    paint(app, row(app, "their-task_1").public_id)
    told = poll(client, "their-task_1")
    assert (told["status"], told["urls"]) == ("SUCCESS", ["/api/image/their-task_1"])
    picture = client.get("/api/image/their-task_1", headers=BEARER)
    assert opened(picture.data).size == (320, 240)
    assert client.get("/api/image/their-task_1/thumbnail", headers=BEARER).mimetype == "image/webp"
    assert client.get("/api/transform-ghibli/check/their-task_1", headers=BEARER).data == picture.data
    assert in_redis(app, "task:their-task_1:image") == base64.b64encode(picture.data)
    assert 3500 < time_to_live(app, "task:their-task_1:image") <= 3600


def test_only_tasks_from_outside_leave_their_picture_in_redis(app: Flask) -> None:
    """A visitor's picture does not lie in Redis."""
    task_id = Visitor(app).ordered()
    paint(app, task_id)
    assert in_redis(app, f"task:{task_id}:image") is None


def test_the_live_status_is_the_callers(app: Flask, client: FlaskClient) -> None:
    """Redis holds it at `task:{their id}:status`, and nothing under our own id."""
    handed_over(client)
    public_id = row(app, "their-task_1").public_id
    for status in ("queued", "processing", "completed"):
        told = json.loads(in_redis(app, "task:their-task_1:status") or b"{}")
        assert told["status"] == status
        assert told.keys() >= {"startTime", "updatedAt", "progress", "stage", "prompt"}
        if status == "queued":
            run = claim(app, public_id)
        elif status == "processing":
            assert settle(app, run, Outcome.PAINTED)
    assert in_redis(app, f"task:{public_id}:status") is None
    assert in_redis(app, f"task:{public_id}:image") is None


def test_an_owner_sees_the_task_under_our_own_id(app: Flask, client: FlaskClient, ada: Member) -> None:
    """The user who paid asks by our own id, and needs no secret."""
    handed_over(client, userId=ada.user_id)
    public_id = row(app, "their-task_1").public_id
    assert ada.poll(public_id)["status"] == "PENDING"
    paint(app, public_id)
    assert ada.poll(public_id)["urls"] == [f"/api/image/{public_id}"]
    assert f'href="/tasks/{public_id}"' in ada.get("/account/credits").text
    assert ada.get("/api/poll-task?taskId=their-task_1").status_code == 404


def test_the_caller_stops_a_task(app: Flask, client: FlaskClient, ada: Member) -> None:
    """With the bearer the caller cancels under its own id, and the credit comes back; afterwards it is too late."""
    handed_over(client, userId=ada.user_id)
    answer = client.post("/api/tasks/their-task_1/cancel", headers=BEARER)
    assert (answer.status_code, answer.get_json()["taskId"]) == (200, "their-task_1")
    assert (answer.get_json()["status"], answer.get_json()["refunded"]) == ("CANCELLED", True)
    handed_over(client, "another")
    paint(app, row(app, "another").public_id)
    assert client.post("/api/tasks/another/cancel", headers=BEARER).status_code == 409


# --- Reports ---


@pytest.mark.usefixtures("each_database")
@pytest.mark.parametrize("path", PROGRESS_PATHS)
def test_whoever_reports_on_a_queued_task_takes_it(app: Flask, client: FlaskClient, path: str) -> None:
    """The first report claims the task; progress and stage stand in the row and are told at once."""
    handed_over(client)
    answer = report(client, "their-task_1", path, progress=40, stage="painting")
    assert (answer.status_code, answer.get_json()) == (200, {"success": True})
    task = row(app, "their-task_1")
    assert (task.status, task.attempt, float(task.progress), task.engine) == ("processing", 1, 40, "processor")
    told = poll(client, "their-task_1")
    assert (told["status"], told["progress"], told["stage"]) == ("PROCESSING", 40, "painting")


def test_progress_never_goes_back(app: Flask, client: FlaskClient) -> None:
    """A lower progress is taken without effect; the same again is a sign of life."""
    handed_over(client)
    reported(client, "their-task_1", progress=40)
    before = row(app, "their-task_1")
    reported(client, "their-task_1", progress=30, stage="saving")
    assert (row(app, "their-task_1").heartbeat_at, row(app, "their-task_1").stage) == (before.heartbeat_at, "painting")
    reported(client, "their-task_1", progress=40, stage="what others say")
    task = row(app, "their-task_1")
    assert (float(task.progress), task.stage) == (40, "painting")
    assert task.heartbeat_at > before.heartbeat_at
    reported(client, "their-task_1", progress=100)
    assert poll(client, "their-task_1")["progress"] == 99


@pytest.mark.usefixtures("each_database")
def test_a_finished_painting_is_kept(app: Flask, client: FlaskClient, ada: Member) -> None:
    """`completed` with a picture ends the task: in the photograph's shape, marked, charged once and not refunded."""
    handed_over(client, userId=ada.user_id)
    reported(client, "their-task_1", status="completed", progress=100, imageBase64=b64(photo(640, 480)))
    told = poll(client, "their-task_1")
    assert (told["status"], told["engine"], told["refunded"]) == ("SUCCESS", "processor", False)
    picture = client.get("/api/image/their-task_1", headers=BEARER).data
    assert opened(picture).size == (512, 384)
    assert b"compositeWithTrainedAlgorithmicMedia" in picture
    assert len(entries(app, ada.user_id)) == 1


def test_the_picture_may_lie_in_redis(app: Flask, client: FlaskClient) -> None:
    """`completed` without a picture takes the one that lies at `task:{id}:image`; with neither it is 422."""
    handed_over(client)
    answer = report(client, "their-task_1", status="completed", progress=100)
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "imageBase64")
    assert poll(client, "their-task_1")["status"] == "PENDING"
    with app.app_context():
        runtime().redis.set("task:their-task_1:image", b64(photo()))
    reported(client, "their-task_1", status="completed", progress=100)
    assert poll(client, "their-task_1")["status"] == "SUCCESS"


def test_what_is_no_picture_changes_nothing(app: Flask, client: FlaskClient) -> None:
    """`completed` with other bytes is 415, and the task can still be painted."""
    handed_over(client)
    answer = report(client, "their-task_1", status="completed", imageBase64=b64(b"not a picture at all"))
    assert answer.status_code == 415
    reported(client, "their-task_1", status="completed", imageBase64=b64(photo()))
    assert poll(client, "their-task_1")["status"] == "SUCCESS"


def test_a_finished_task_is_left_alone(app: Flask, client: FlaskClient, ada: Member) -> None:
    """After the end every report answers 200 and changes nothing: no second picture, no refund."""
    handed_over(client, userId=ada.user_id)
    reported(client, "their-task_1", status="completed", imageBase64=b64(photo()))
    before = row(app, "their-task_1")
    for body in ({"status": "failed"}, {"status": "completed"}, {"progress": 1}):
        reported(client, "their-task_1", **body)
    after = row(app, "their-task_1")
    assert (after.status, after.result_key) == ("completed", before.result_key)
    assert len(entries(app, ada.user_id)) == 1


def test_the_first_picture_wins(app: Flask, client: FlaskClient) -> None:
    """When a report ends a task that our own worker paints, the worker's picture is discarded."""
    handed_over(client)
    run = claim(app, row(app, "their-task_1").public_id)
    reported(client, "their-task_1", status="completed", imageBase64=b64(photo()))
    kept = row(app, "their-task_1").result_key
    assert not settle(app, run, Outcome.PAINTED)
    assert row(app, "their-task_1").result_key == kept


@pytest.mark.parametrize(
    "body",
    [
        {"progress": 101},
        {"progress": -1},
        {"progress": "half"},
        {"progress": None},
        {"status": "done"},
        {"status": None},
        {"stage": "x" * 201},
        {"status": "completed", "imageBase64": "no base64!"},
    ],
)
def test_bad_reports(client: FlaskClient, body: dict[str, Any]) -> None:
    """Fields that are missing or out of range are 422 and move nothing."""
    handed_over(client)
    assert report(client, "their-task_1", **body).status_code == 422
    assert poll(client, "their-task_1")["status"] == "PENDING"


def test_reports_on_what_nobody_outside_paints(app: Flask, client: FlaskClient) -> None:
    """A visitor's order that was not handed out is 409, by its id and by an attempt; an unknown one is 404."""
    task_id = Visitor(app).ordered()
    claim(app, task_id)
    for reference in (task_id, f"{task_id}-1"):
        answer = report(client, reference, status="failed")
        assert (answer.status_code, answer.get_json()["code"]) == (409, "wrong_state")
    for unknown in ("unknown", "0" * 32, f"{'0' * 32}-1", f"{task_id}-2", f"{task_id}-"):
        assert report(client, unknown).status_code == 404


def test_reports_on_a_handed_out_attempt_are_passed_on(app: Flask, client: FlaskClient) -> None:
    """A report reaches the run that waits for it, picture and all; one on an earlier attempt reaches nobody."""
    task_id = Visitor(app).ordered()
    run = claim(app, task_id)
    picture = photo()
    with app.app_context():
        box = mailbox()
        box.open(run.reference)
        reported(client, run.reference, progress=30, stage="painting")
        assert (box.latest(run.reference).status, box.latest(run.reference).progress) == ("processing", 30)
        assert report(client, run.reference, status="completed").status_code == 422
        answer = report(client, run.reference, status="completed", imageBase64=b64(b"not a picture at all"))
        assert answer.status_code == 415
        reported(client, run.reference, status="completed", imageBase64=b64(picture))
        reported(client, run.reference, status="failed")
        assert box.latest(run.reference).picture == picture
        box.open(f"{task_id}-0")
        reported(client, f"{task_id}-0", progress=90)
        assert box.latest(f"{task_id}-0") is None
        box.close(run.reference)
        assert report(client, run.reference).status_code == 409
    assert row_status(app, task_id) == "processing"


def row_status(app: Flask, task_id: str) -> str:
    """The state of a visitor's task."""
    with app.app_context(), reading() as session:
        return session.scalars(select(ImageTask.status).where(ImageTask.public_id == task_id)).one()


# --- What is away or behind ---


def test_without_redis(app: Flask, client: FlaskClient, redis_server: RedisServer) -> None:
    """With Redis away orders are accepted and painted, reports on them are taken; only a report to a run is 503."""
    reference = claim(app, Visitor(app).ordered()).reference
    redis_server.stop()
    handed_over(client)
    reported(client, "their-task_1", progress=20)
    reported(client, "their-task_1", status="completed", imageBase64=b64(photo()))
    assert poll(client, "their-task_1")["status"] == "SUCCESS"
    assert report(client, reference).status_code == 503


@pytest.mark.parametrize("column", ["progress", "stage"])
def test_a_table_without_the_columns(
    app_factory: Callable[..., Flask], tmp_path: Any, client: FlaskClient, column: str
) -> None:
    """On a table that lacks one of the two columns a report is 422 and names the command that adds them."""
    app = app_factory(task_process_secret_key=SECRET, database_url=f"sqlite:///{tmp_path / 'behind.sqlite3'}")
    with app.app_context():
        db.metadata.create_all(db.engine)
        others = ", ".join(item.name for item in ImageTask.__table__.columns if item.name != column)
        with db.engine.begin() as connection:
            connection.execute(text(f"CREATE TABLE behind AS SELECT {others} FROM image_tasks"))
            connection.execute(text("DROP TABLE image_tasks"))
            connection.execute(text("ALTER TABLE behind RENAME TO image_tasks"))
    answer = report(app.test_client(), "their-task_1")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "schema_outdated")
    assert "python scripts/add_progress_columns.py" in answer.get_json()["detail"]


def test_pictures_are_proven_whole(client: FlaskClient) -> None:
    """A picture that breaks off is refused, whether it is handed over or reported."""
    broken = b64(photo(640, 480)[:900])
    assert process(client, imageBase64=broken).status_code == 415
    handed_over(client)
    assert report(client, "their-task_1", status="completed", imageBase64=broken).status_code == 415
    assert poll(client, "their-task_1")["status"] == "PENDING"
