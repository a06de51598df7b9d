"""What the service says about itself: health, styles, the document."""

from collections.abc import Callable
from pathlib import Path

from flask import Flask

from tests.support.redis_server import RedisServer
from tests.support.visitor import Visitor


def test_liveness_asks_nobody(app: Flask, redis_server: RedisServer) -> None:
    """/health answers with Redis gone."""
    redis_server.stop()
    assert app.test_client().get("/health").get_json() == {"status": "ok"}


def test_health_tells_strangers_up_or_down_and_the_operator_more(
    app_factory: Callable[..., Flask], redis_server: RedisServer
) -> None:
    """Missing workers degrade, a lost Redis degrades; details need the operator's key."""
    from ghibli_flask.services import repair

    app = app_factory(admin_api_key="operator-key-for-this-test-0123456789")
    with app.app_context():
        repair.sweep()
    client = app.test_client()
    body = client.get("/api/health").get_json()
    assert body["status"] == "degraded"
    assert body["checks"].items() >= {"database": "up", "redis": "up", "workers": "down", "sweep": "up"}.items()
    assert "details" not in body
    key = {"X-API-Key": "operator-key-for-this-test-0123456789"}
    detailed = client.get("/api/health", headers=key).get_json()
    assert detailed["details"]["sweeps"][0]["ok"] is True
    assert "details" not in client.get("/api/health", headers={"X-API-Key": "wrong"}).get_json()
    redis_server.stop()
    away = client.get("/api/health")
    assert away.status_code == 200
    assert away.get_json()["checks"]["redis"] == "down"


def test_health_is_503_when_no_order_can_be_accepted(app_factory: Callable[..., Flask], tmp_path: Path) -> None:
    """With the database away no order can be taken, and /api/health says so."""
    app = app_factory(database_url="mysql+pymysql://nobody@127.0.0.1:1/none")
    answer = app.test_client().get("/api/health")
    assert answer.status_code == 503
    assert answer.get_json()["status"] == "down"


def test_every_style_can_be_ordered(visitor: Visitor) -> None:
    """The styles that are listed have a preview that exists and are accepted."""
    styles = visitor.get("/api/styles").get_json()
    assert [style["key"] for style in styles] == ["ghibli", "golden", "night", "watercolour"]
    for style in styles:
        assert style.keys() == {"key", "name", "description", "previewUrl", "modes"}
        with visitor.get(style["previewUrl"]) as preview:
            assert preview.status_code == 200
    assert visitor.order(style=styles[3]["key"]).status_code == 202


def test_the_document_describes_both_forms_of_an_order(visitor: Visitor) -> None:
    """The OpenAPI document is made from the declarations: multipart and JSON on one address."""
    document = visitor.get("/api/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    content = document["paths"]["/api/generate-image"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    assert document["paths"].keys() >= {"/api/poll-task", "/api/image/{task_id}", "/api/styles", "/api/health"}
