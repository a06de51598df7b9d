"""Who may send what: origins, tokens, headers, and the shapes of refusals."""

import gzip
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
from flask import Flask
from flask.testing import FlaskClient

from ghibli_flask.factory import STATIC, tree_hash
from ghibli_flask.security import orders_limit
from ghibli_flask.static_files import COPIES, compress
from tests.support.redis_server import RedisServer
from tests.support.visitor import Visitor, photo


def _order(visitor: Visitor, headers: dict[str, str]) -> int:
    from io import BytesIO

    data = {"image": (BytesIO(photo()), "a.jpg")}
    return visitor.client.post("/api/generate-image", data=data, headers=headers).status_code


def test_a_cookie_needs_its_token(visitor: Visitor) -> None:
    """A state-changing request with the guest cookie and without the token, or with a wrong one, is 403."""
    assert _order(visitor, {}) == 403
    assert _order(visitor, {"X-CSRFToken": "wrong"}) == 403
    assert _order(visitor, {"X-CSRFToken": visitor.token}) == 202


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost"}, 202),
        ({"Origin": "https://www.friend.example"}, 202),
    ],
)
def test_a_foreign_origin_is_refused_whatever_it_brings(
    app_factory: Callable[..., Flask], headers: dict[str, str], status: int
) -> None:
    """Only our own and the configured origins may change state, token or not."""
    visitor = Visitor(app_factory(cors_origins=("https://www.friend.example",)))
    assert _order(visitor, headers | {"X-CSRFToken": visitor.token}) == status


def test_a_front_end_on_another_origin_is_told_that_it_may(app_factory: Callable[..., Flask]) -> None:
    """A configured origin gets CORS answers with credentials; any other gets none."""
    client = app_factory(cors_origins=("https://www.friend.example",)).test_client()
    ask = {"Access-Control-Request-Method": "POST", "Origin": "https://www.friend.example"}
    friend = client.options("/api/generate-image", headers=ask)
    assert friend.headers["Access-Control-Allow-Origin"] == "https://www.friend.example"
    assert friend.headers["Access-Control-Allow-Credentials"] == "true"
    assert "X-CSRFToken" in friend.headers["Access-Control-Allow-Headers"]
    stranger = client.options("/api/generate-image", headers=ask | {"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


def test_answers_differ_by_origin_for_caches_too(app_factory: Callable[..., Flask], client: FlaskClient) -> None:
    """With a front end configured every answer says that it depends on the origin, whoever asks; else none does."""
    friendly = app_factory(cors_origins=("https://www.friend.example",)).test_client()
    for headers in ({}, {"Origin": "https://www.friend.example"}, {"Origin": "https://evil.example"}):
        assert "Origin" in friendly.get("/api/styles", headers=headers).vary
    assert "Origin" not in client.get("/api/styles", headers={"Origin": "https://evil.example"}).vary


def test_redis_may_go_while_a_request_is_counted(app: Flask, redis_server: RedisServer) -> None:
    """A request that a limit let pass is answered although Redis dies before its answer."""

    @app.post("/api/lingers")
    @orders_limit
    def lingers() -> str:
        redis_server.kill()
        return "done"

    answer = app.test_client().post("/api/lingers")
    assert (answer.status_code, answer.text) == (200, "done")


def test_a_forged_guest_cookie_owns_nothing(app: Flask, visitor: Visitor) -> None:
    """A cookie that was not signed by us counts as no cookie."""
    task_id = visitor.ordered()
    thief = Visitor(app)
    thief.client.set_cookie("guest", "forged.value")
    assert thief.get(f"/api/image/{task_id}/original").status_code == 403


def test_every_answer_carries_the_security_headers(app: Flask, visitor: Visitor) -> None:
    """Pages, API and errors all carry the strict policy; cookies are HttpOnly and Lax."""
    for path in ("/", "/health", "/nowhere", "/api/nowhere"):
        headers = visitor.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    cookies = app.test_client().get("/").headers.getlist("Set-Cookie")
    assert len(cookies) == 2
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in cookies)


def test_errors_are_pages_for_people_and_problems_for_programs(visitor: Visitor) -> None:
    """The same failure is HTML on a page address and problem+json below /api; a wrong method names the right ones."""
    page = visitor.get("/tasks/unknown")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    problem = visitor.get("/api/unknown")
    assert problem.content_type == "application/problem+json"
    assert problem.get_json().keys() >= {"type", "title", "status", "detail", "code", "error"}
    wrong = visitor.get("/api/generate-image")
    assert wrong.status_code == 405
    assert "POST" in wrong.headers["Allow"]


def test_an_unexpected_error_tells_nothing(app: Flask) -> None:
    """A mistake of ours is 500 with one sentence and no trace of what it was."""

    @app.get("/api/breaks")
    def breaks() -> str:
        raise RuntimeError("the secret inside")

    app.testing = False
    answer = app.test_client().get("/api/breaks")
    assert answer.status_code == 500
    assert "secret" not in answer.get_data(as_text=True)
    assert answer.get_json()["code"] == "error"


def test_static_files_are_immutable(app: Flask) -> None:
    """A static file is served under the hash of the tree, compressible and for ever."""
    with app.test_request_context():
        from flask import url_for

        address = url_for("static", filename="css/site.css")
    assert address.startswith("/static/")
    with app.test_client().get(address) as answer:
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]


def test_static_files_are_compressed(app_factory: Callable[..., Flask], tmp_path: Path) -> None:
    """Style sheets and scripts go out in the smallest coding that a browser takes, and come out as they are."""
    compress(STATIC, tmp_path / "instance" / COPIES)
    client = app_factory().test_client()
    for name in ("css/site.css", "js/home.js"):
        plain = (STATIC / name).read_bytes()
        address = f"/static/{tree_hash(STATIC)}/{name}"
        sizes = []
        for accepted, coding, undo in (
            ("gzip, deflate, br, zstd", "br", brotli.decompress),
            ("gzip, deflate", "gzip", gzip.decompress),
            ("identity", None, bytes),
        ):
            with client.get(address, headers={"Accept-Encoding": accepted}) as answer:
                assert answer.headers.get("Content-Encoding") == coding
                assert "immutable" in answer.headers["Cache-Control"]
                assert answer.headers["Vary"] == "Accept-Encoding"
                assert undo(answer.data) == plain
                sizes.append(len(answer.data))
        assert sizes[0] < sizes[1] < sizes[2] / 2
    with client.get(f"/static/{tree_hash(STATIC)}/img/grain.png", headers={"Accept-Encoding": "br"}) as answer:
        assert "Content-Encoding" not in answer.headers
