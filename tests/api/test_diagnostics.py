"""What helps to find out what is wrong: which settings are there, and errors that pages report."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from ghibli_flask.setting_sources import variables_of
from ghibli_flask.settings import Settings
from tests.support.visitor import Visitor

KEY = "operator-key-for-this-test-0123456789"
PRODUCTION = {
    "app_env": "production",
    "app_url": "https://paint.example.net",
    "secret_key": ("a secret of production, 0123456789",),
    "admin_api_key": KEY,
}


def test_settings_are_told_as_present_or_not(app_factory: Callable[..., Flask]) -> None:
    """Every setting has its documented name and true or false; no value of any is in the answer."""
    app = app_factory(admin_api_key=KEY, site_name="A name of its own", kie_ai_api_key="kie-key-of-this-test")
    answer = app.test_client().get("/api/test-env")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.get_json()
    assert body["environment"] == "development"
    assert list(body["settings"]) == sorted(variables_of(*item)[0] for item in Settings.model_fields.items())
    present = {name for name, is_set in body["settings"].items() if is_set is True}
    assert present >= {"ADMIN_API_KEY", "SITE_NAME", "KIE_AI_API_KEY", "DATABASE_URL", "REDIS_URL"}
    assert not {"OPENAI_API_KEY", "ENGINES", "APP_URL"} & present
    assert not {KEY, "A name of its own", "kie-key"} & set(answer.text.split('"'))


def test_production_tells_its_operator_alone(app_factory: Callable[..., Flask]) -> None:
    """In production the address does not exist without the operator's key, nor with a wrong one."""
    client = app_factory(**PRODUCTION).test_client()
    assert client.get("/api/test-env").status_code == 404
    assert client.get("/api/test-env", headers={"X-API-Key": "wrong"}).status_code == 404
    assert client.get("/api/test-env", headers={"X-API-Key": KEY}).get_json()["settings"]["APP_URL"] is True


def test_an_error_of_a_page_is_one_masked_line(app_factory: Callable[..., Flask], tmp_path: Path) -> None:
    """What a page reports is in task-monitor.log: one bounded line without secrets, addresses and queries."""
    app = app_factory(admin_api_key=KEY, log_dir=tmp_path / "logs")
    error = (
        f"TypeError: x is undefined\n2026-11-22T00:00:00 [forged] all well {KEY} ada@example.org "
        f"https://paint.example.net/gallery?secret=blue {'y' * 3000}"
    )
    report = {"error": error, "taskId": "abc-123", "timestamp": "2026-11-22T08:00:00.5Z"}
    answer = app.test_client().post("/api/monitor/error", json=report)
    assert (answer.status_code, answer.get_json()) == (202, {"received": True})
    (line,) = (tmp_path / "logs/task-monitor.log").read_text().splitlines()
    assert "page error (task abc-123) at 2026-11-22T08:00:00+00:00: TypeError: x is undefined 2026" in line
    assert len(line) < 1200
    assert not any(word in line for word in (KEY, "ada@", "blue"))
    assert not (tmp_path / "logs/errors.log").exists(), "Strangers could alert the operator."


def test_reports_are_bounded(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """A long body, an empty one, another kind and the twenty-first within a minute are refused and not logged."""
    with caplog.at_level(logging.INFO, "ghibli_flask.services.page_errors"):
        visitor = Visitor(app)
        assert visitor.post("/api/monitor/error", json={"error": "x" * 20_000}).status_code == 413
        assert visitor.post("/api/monitor/error", json={"error": ""}).status_code == 422
        assert visitor.post("/api/monitor/error", json={"error": "x", "taskId": "../etc"}).status_code == 422
        assert visitor.post("/api/monitor/error", data="error=x").status_code in {400, 422}
        assert not caplog.records
        # Two windows of a minute take forty at most, wherever the clock stands.
        answers = [visitor.post("/api/monitor/error", json={"error": "x"}) for _ in range(41)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].headers["RateLimit-Policy"] == '"page-errors";q=20;w=60'
    assert len(caplog.records) == len(answers) - len(refused)
