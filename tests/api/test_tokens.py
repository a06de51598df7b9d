"""GET /api/token-status and `flask tokens`: what operators see of the Hub's tokens, and what nobody sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import gpu_tokens
from tests.support.standins.hub import HubStandIn, quota
from tests.support.tokens import ADA, EVENING, TOKENS

SECRET = "an operator's secret that is long enough"


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    """A Hub that knows the first token alone."""
    hub = HubStandIn()
    hub.accounts[ADA] = quota(120, resets_at="2026-11-20T22:00:00Z")
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture
def app(app_factory: Callable[..., Flask], hub: HubStandIn) -> Flask:
    """An application with three tokens at eight in the evening."""
    return app_factory(
        clock=FixedClock(EVENING),
        admin_secret=SECRET,
        hugging_face_tokens=TOKENS,
        hf_endpoint=hub.url,
        gradio_token_hosts=("127.0.0.1",),
    )


def ask(client: FlaskClient, secret: str | None = SECRET) -> TestResponse:
    """Ask with the secret in its header."""
    return client.get("/api/token-status", headers={"X-Admin-Secret": secret} if secret else {})


def test_the_operator_sees_each_token_masked(app: Flask, client: FlaskClient, hub: HubStandIn) -> None:
    """The answer adds up minutes over all tokens and tells of each its state, never more than its last four
    characters; asking never asks the Hub."""
    with app.app_context():
        lease = gpu_tokens.lease()
        assert lease
        gpu_tokens.give_back(lease, 90)
        lease = gpu_tokens.lease()
        assert lease
        gpu_tokens.rest(lease, 600)
    answer = ask(client)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    body = answer.get_json()
    assert body["timestamp"] == "2026-11-20T20:00:00Z"
    assert body["summary"] == {
        "totalTokens": 3,
        "availableTokens": 2,
        "usedTokens": 1,
        "totalUsageMinutes": 1.5,
        "averageUsageMinutes": 0.5,
    }
    assert body["tokens"][0] == {
        "token": "hf_…0001",
        "available": True,
        "state": "available",
        "usageMinutes": 1.5,
        "secondsUsed": 90.0,
        "secondsLeft": 210.0,
        "dailyLimit": 300.0,
        "runs": 1,
        "coolingUntil": None,
        "resetsAt": "2026-11-21T19:58:30Z",
        "calls": 1,
        "failures": 0,
        "checkedAt": None,
        "source": "own count",
    }
    second = body["tokens"][1]
    assert (second["state"], second["available"], second["failures"]) == ("resting", False, 1)
    assert second["coolingUntil"] == "2026-11-20T20:10:00Z"
    assert hub.asked == []
    assert not any(token[3:12] in answer.text for token in TOKENS)


def test_the_secret_may_stand_in_the_address(client: FlaskClient) -> None:
    """Older scripts send `?secret=`; where there is a header too, the header counts."""
    assert client.get("/api/token-status", query_string={"secret": SECRET}).status_code == 200
    both = client.get("/api/token-status", query_string={"secret": SECRET}, headers={"X-Admin-Secret": "wrong"})
    assert both.status_code == 401


@pytest.mark.parametrize("secret", [None, "wrong", SECRET[:-1], "ünlike"])
def test_a_wrong_secret_is_refused(client: FlaskClient, secret: str | None) -> None:
    """Without the whole secret the answer is 401 as problem details and tells of no token."""
    answer = client.get("/api/token-status", query_string={"secret": secret} if secret else {})
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")
    assert "hf_" not in answer.text


def test_guesses_are_limited(client: FlaskClient) -> None:
    """After twenty wrong secrets in a minute an address gets 429, with Retry-After."""
    answers = [ask(client, f"guess {number}") for number in range(21)]
    assert [answer.status_code for answer in answers] == [401] * 20 + [429]
    assert "Retry-After" in answers[-1].headers


def test_without_a_secret_in_the_settings_there_is_no_such_call(app_factory: Callable[..., Flask]) -> None:
    """With ADMIN_SECRET not set the call is 404, whatever is sent."""
    client = app_factory(hugging_face_tokens=TOKENS).test_client()
    assert [ask(client, secret).status_code for secret in (None, "", "None", SECRET)] == [404] * 4


def test_without_tokens_the_answer_is_empty(app_factory: Callable[..., Flask]) -> None:
    """An installation without tokens gets zeros and an empty list."""
    body = ask(app_factory(admin_secret=SECRET).test_client()).get_json()
    assert body["tokens"] == []
    assert set(body["summary"].values()) == {0}


def test_flask_tokens_status_asks_the_hub(app: Flask, hub: HubStandIn) -> None:
    """`flask tokens status` reads the quotas now and shows a line for each token, masked."""
    result = app.test_cli_runner().invoke(args=["tokens", "status"])
    lines = result.output.splitlines()
    assert sorted(hub.asked) == sorted(TOKENS)
    assert lines[0] == "hf_…0001  available  120 of 300 s left (hub)  0 calls, 0 refused  until 22:00 UTC"
    assert lines[1] == "hf_…0002  disabled  300 of 300 s left (own count)  0 calls, 1 refused"
    assert not any(token[3:12] in result.output for token in TOKENS)


def test_flask_tokens_status_says_why_the_hub_is_not_asked(app_factory: Callable[..., Flask]) -> None:
    """With a host that no token may be sent to the command says so and shows our own count."""
    app = app_factory(hugging_face_tokens=(ADA,), hf_endpoint="https://mirror.example")
    result = app.test_cli_runner().invoke(args=["tokens", "status"])
    assert result.output.splitlines()[0].startswith("The Hub is not asked")
    assert "(own count)" in result.output


def test_flask_tokens_enable_brings_a_token_back(app: Flask) -> None:
    """`flask tokens enable` takes the last four characters; it ends with 1 when it has found nothing disabled."""
    with app.app_context():
        gpu_tokens.refresh()
    runner = app.test_cli_runner()
    assert runner.invoke(args=["tokens", "enable", "0002"]).output == "tokens enabled: 1\n"
    assert runner.invoke(args=["tokens", "enable", "0002"]).exit_code == 1
    with app.app_context():
        assert [status.state for status in gpu_tokens.statuses()] == ["available", "available", "disabled"]
