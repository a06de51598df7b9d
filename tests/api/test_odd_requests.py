"""Requests that no page sends: letters that no id has, half a character, bytes that are no text. None is a 500."""

from io import BytesIO

import pytest
from flask import Flask

from tests.support.visitor import Visitor, photo

ODD = "»ñ😀"
PATHS = (
    ("GET", f"/api/poll-task?taskId={ODD}"),
    ("GET", f"/api/image/{ODD}"),
    ("GET", f"/api/image/{ODD}/thumbnail"),
    ("GET", f"/api/upload/{ODD}"),
    ("GET", f"/api/transform-ghibli/check/{ODD}"),
    ("GET", f"/tasks/{ODD}"),
    ("GET", f"/share/{ODD}"),
    ("GET", f"/auth/reset/{ODD}"),
    ("POST", f"/api/tasks/{ODD}/cancel"),
    ("POST", f"/api/tasks/{ODD}/retry"),
    ("POST", f"/progress/{ODD}"),
)
PROGRAM = {"Authorization": "Bearer development-key"}


@pytest.fixture
def client_of_each(each_database: str, app: Flask) -> Visitor:
    """A browser of the site, on each database."""
    return Visitor(app)


def test_ids_with_letters_that_no_id_has(client_of_each: Visitor) -> None:
    """Such an id is unknown, on both databases: MariaDB refuses to compare these letters with an ASCII column."""
    for verb, path in PATHS:
        body = {"progress": 1, "status": "processing"} if path.startswith("/progress") else {}
        options = {"json": body, "headers": PROGRAM} if verb == "POST" else {}
        answer = client_of_each.get(path) if verb == "GET" else client_of_each.post(path, **options)
        assert answer.status_code in {404, 410}, f"{verb} {path}: {answer.status_code}"


def test_names_in_bodies_with_such_letters(client_of_each: Visitor) -> None:
    """The same in a body, and as the name of an upload, a picture's address and a key."""
    assert client_of_each.post("/api/share", json={"taskId": ODD}).status_code == 404
    assert client_of_each.post("/api/generate-image", json={"uploadId": ODD}).status_code == 404
    assert client_of_each.post("/api/generate-image", json={"imageUrl": f"/api/image/{ODD}"}).status_code == 404
    assert client_of_each.order(headers={"Idempotency-Key": "naïve"}).status_code == 202


@pytest.mark.parametrize("text", ["»»»»", "", "data:,", "data:image/png;base64,»", "\ud800\ud800"])
def test_base64_that_is_none(client_of_each: Visitor, text: str) -> None:
    """What does not decode is a field error, or no picture."""
    answer = client_of_each.post("/api/generate-image", json={"imageBase64": text})
    assert answer.status_code in {415, 422}


@pytest.mark.parametrize("words", ["half a pair \ud83d", "a nul \x00 inside", "𝒲𝒾𝓃𝒹 in the 花园"])
def test_words_of_any_kind(client_of_each: Visitor, words: str) -> None:
    """Words that a column cannot hold are refused or mended, and never a mistake of ours."""
    upload = client_of_each.post("/api/upload-image", data={"image": (BytesIO(photo()), "a.jpg")}).get_json()[
        "uploadId"
    ]
    answer = client_of_each.post("/api/generate-image", json={"uploadId": upload, "prompt": words})
    assert answer.status_code in {202, 400, 422}


def test_bodies_that_are_no_text(client_of_each: Visitor) -> None:
    """A body that is no UTF-8, or no JSON, is malformed."""
    for body in (b"\xff\xfe{}", b"{", b"[]", b"null", b'"text"', b"NaN"):
        answer = client_of_each.post("/api/share", data=body, content_type="application/json")
        assert answer.status_code in {400, 422}, body
