"""GET and POST /api/user-credits: what a person sees, and what a program with the token may post."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.member import Member, member
from tests.support.runs import paint
from tests.support.visitor import Visitor

TOKEN = "a token that is long enough for a program"


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """The application with a token for programs."""
    return app_factory(api_token=TOKEN)


@pytest.fixture
def ada(app: Flask) -> Member:
    """A signed-in user."""
    return member(app)


def post(client: FlaskClient, token: str | None = TOKEN, **body: Any) -> TestResponse:
    """A posting as a program sends it: without cookies, with a bearer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return client.post("/api/user-credits", json=body, headers=headers)


def test_a_person_sees_balance_and_history(app: Flask, ada: Member) -> None:
    """The balance, what the month gives, when, and every entry with its task, newest first."""
    task_id = ada.ordered()
    paint(app, task_id)
    answer = ada.get("/api/user-credits")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.get_json()
    assert (body["credits"], body["monthlyCredits"]) == (29, 30)
    assert body["resetAt"].endswith("-01T00:00:00Z")
    assert [(entry["kind"], entry["amount"], entry["taskId"]) for entry in body["history"]] == [
        ("charge", -1, task_id),
        ("opening", 30, None),
    ]
    assert body["history"][0].keys() == {"amount", "kind", "reason", "taskId", "createdAt"}


def test_a_guest_sees_no_balance(app: Flask) -> None:
    """Without a session the answer is 401 as problem details, also for a browser with a guest cookie."""
    answer = Visitor(app).get("/api/user-credits")
    assert (answer.status_code, answer.get_json()["code"]) == (401, "not_signed_in")
    assert answer.mimetype == "application/problem+json"


@pytest.mark.usefixtures("each_database")
def test_a_program_adds_and_subtracts(client: FlaskClient, ada: Member) -> None:
    """The answer is the balance after the posting, and the person sees the same one."""
    assert post(client, userId=ada.user_id, operation="add", amount=5).get_json() == {"credits": 35}
    assert post(client, userId=ada.user_id, operation="subtract", amount=7).get_json() == {"credits": 28}
    assert ada.get("/api/user-credits").get_json()["credits"] == 28


@pytest.mark.usefixtures("each_database")
def test_a_task_is_booked_once_however_often_it_is_sent(client: FlaskClient, ada: Member) -> None:
    """`subtract` with a task is its charge, `add` its refund; repeats answer the balance and post nothing."""
    booking = {"userId": ada.user_id, "amount": 2, "taskId": "their-task_1"}
    for operation, credits in (("subtract", 28), ("subtract", 28), ("add", 30), ("add", 30), ("subtract", 30)):
        answer = post(client, operation=operation, **booking)
        assert (answer.status_code, answer.get_json()) == (200, {"credits": credits})
    assert len(ada.get("/api/user-credits").get_json()["history"]) == 3


@pytest.mark.usefixtures("each_database")
def test_our_own_charge_is_the_tasks_charge(client: FlaskClient, ada: Member) -> None:
    """A program that charges a task which we have charged posts nothing."""
    booking = {"userId": ada.user_id, "operation": "subtract", "amount": 1, "taskId": ada.ordered()}
    assert post(client, **booking).get_json() == {"credits": 29}
    assert len(ada.get("/api/user-credits").get_json()["history"]) == 2


@pytest.mark.usefixtures("each_database")
def test_what_does_not_fit_is_a_conflict(app: Flask, client: FlaskClient, ada: Member) -> None:
    """Another amount or user under the same key, a refund without its charge, and a balance below zero are 409."""
    bob = member(app, "bob@example.org")
    post(client, userId=ada.user_id, operation="subtract", amount=2, taskId="t")
    for user_id, operation, amount, task_id, code in (
        (ada.user_id, "subtract", 3, "t", "conflict"),
        (bob.user_id, "subtract", 2, "t", "conflict"),
        (ada.user_id, "add", 1, "t", "conflict"),
        (bob.user_id, "add", 2, "t", "conflict"),
        (ada.user_id, "add", 2, "another", "conflict"),
        (ada.user_id, "subtract", 29, None, "insufficient_credits"),
        (ada.user_id, "subtract", 29, "another", "insufficient_credits"),
    ):
        answer = post(client, userId=user_id, operation=operation, amount=amount, taskId=task_id)
        assert (answer.status_code, answer.get_json()["code"]) == (409, code), (operation, amount, task_id)
    assert ada.get("/api/user-credits").get_json()["credits"] == 28
    assert bob.get("/api/user-credits").get_json()["credits"] == 30


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], f"{TOKEN}x", "ключ"])
def test_only_the_token_opens_the_books(client: FlaskClient, ada: Member, token: str | None) -> None:
    """Without the token, or with another, the answer is 401 before any field is looked at."""
    answer = client.post(
        "/api/user-credits",
        data=b"{broken",
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}".encode().decode("latin-1")} if token is not None else {},
    )
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")
    assert ada.get("/api/user-credits").get_json()["credits"] == 30


def test_a_session_is_no_token(ada: Member) -> None:
    """A signed-in user cannot post, whatever the form token."""
    body = {"userId": ada.user_id, "operation": "add", "amount": 100}
    assert ada.post("/api/user-credits", json=body).status_code == 401


def test_without_a_token_set_there_is_no_such_call(app_factory: Callable[..., Flask]) -> None:
    """An installation without API_TOKEN answers 404, so that nothing can be guessed."""
    client = app_factory().test_client()
    assert post(client, userId="x", operation="add", amount=1).status_code == 404
    assert post(client, token="", userId="x", operation="add", amount=1).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -5}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": None}, "amount"),
        ({"operation": "set"}, "operation"),
        ({"userId": ""}, "userId"),
        ({"userId": "nobody"}, "userId"),
        ({"taskId": "a b"}, "taskId"),
        ({"taskId": "x" * 65}, "taskId"),
        ({"taskId": ""}, "taskId"),
    ],
)
def test_wrong_fields_are_named(client: FlaskClient, ada: Member, change: dict[str, Any], field: str) -> None:
    """A field out of range is 422 and named; nothing is posted."""
    body = {"userId": ada.user_id, "operation": "add", "amount": 1, **change}
    answer = post(client, **body)
    assert answer.status_code == 422
    assert [item["field"] for item in answer.get_json()["errors"]] == [field]
    assert ada.get("/api/user-credits").get_json()["credits"] == 30


def test_an_unreadable_or_empty_body_is_refused(client: FlaskClient) -> None:
    """What is no JSON object, and a form, is 400; a body without any field is 422."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for data in (b"{broken", b"[1]"):
        answer = client.post("/api/user-credits", data=data, content_type="application/json", headers=headers)
        assert answer.status_code == 400
    assert client.post("/api/user-credits", data={"userId": "x"}, headers=headers).status_code == 400
    assert post(client).status_code == 422
    assert client.post("/api/user-credits", headers=headers).status_code == 422


def test_guessing_is_slowed_down(client: FlaskClient, ada: Member) -> None:
    """After twenty wrong tokens in a minute an address waits; right ones are never counted."""
    for _ in range(25):
        assert post(client, userId=ada.user_id, operation="add", amount=1).status_code == 200
    for _ in range(20):
        assert post(client, token="wrong").status_code == 401
    answer = post(client, token="wrong")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["RateLimit-Policy"] == '"secrets";q=20;w=60'
