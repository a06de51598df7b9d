"""Photographs that are sent ahead of their order: what is answered, who may open and order them, and how many."""

from collections.abc import Callable
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import select
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from ghibli_flask.database import reading
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.models import DiscardedFile, Upload
from ghibli_flask.services import files, flags, progress, uploads
from ghibli_flask.storage import StoredFile
from tests.support.member import member
from tests.support.visitor import Visitor, photo

NOBODY = {"REMOTE_ADDR": "192.0.2.9"}


def sent(sender: Visitor, data: bytes | None = None) -> TestResponse:
    """Send a photograph ahead."""
    form = {"image": FileStorage(BytesIO(photo() if data is None else data), "photo.jpg")}
    # Encoded here, because the test client leaves its temporary file of a large form open.
    boundary, body = encode_multipart(form)
    return sender.post("/api/upload-image", data=body, content_type=f'multipart/form-data; boundary="{boundary}"')


def sent_by_nobody(client: FlaskClient) -> dict:
    """Send one without any cookie."""
    image = FileStorage(BytesIO(photo()), "photo.jpg")
    answer = client.post("/api/upload-image", data={"image": image}, environ_base=NOBODY)
    assert answer.status_code == 201, answer.text
    return dict(answer.get_json())


def test_an_upload_is_kept_upright_and_answered_with_its_address(visitor: Visitor) -> None:
    """201 names id, our own address, sides and size as kept, and the store; the address gives exactly these bytes."""
    turned = Image.new("RGB", (60, 40), "red")
    out = BytesIO()
    exif = turned.getexif()
    exif[0x0112] = 6  # A camera held upright.
    turned.save(out, "JPEG", exif=exif)
    answer = sent(visitor, out.getvalue())
    assert answer.status_code == 201
    told = answer.get_json()
    assert told.keys() == {"uploadId", "url", "width", "height", "bytes", "storage"}
    assert (told["width"], told["height"], told["storage"]) == (40, 60, "local")
    assert told["url"] == answer.headers["Location"] == f"/api/upload/{told['uploadId']}"
    picture = visitor.get(told["url"])
    assert (picture.status_code, picture.mimetype, len(picture.data)) == (200, "image/jpeg", told["bytes"])
    assert Image.open(BytesIO(picture.data)).size == (40, 60)
    again = visitor.get(told["url"], headers={"If-None-Match": picture.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("field", ["uploadId", "imageUrl"])
def test_an_upload_can_be_ordered_again_and_again(app: Flask, visitor: Visitor, field: str) -> None:
    """Its id or its address makes an order, twice in two looks; each has a copy of its own and the upload stays."""
    told = sent(visitor).get_json()
    value = told["uploadId"] if field == "uploadId" else told["url"]
    keys = set()
    for style in ("ghibli", "night"):
        answer = visitor.post("/api/generate-image", json={field: value, "style": style})
        assert answer.status_code == 202, answer.text
        with app.app_context():
            keys.add(progress.look_up(answer.get_json()["taskId"]).source_key)
    with app.app_context(), reading() as session:
        upload = session.scalars(select(Upload)).one()
        assert len(keys | {upload.key}) == 3
        assert session.scalars(select(DiscardedFile)).all() == []


def test_an_upload_belongs_to_who_sent_it(app: Flask, visitor: Visitor, client: FlaskClient) -> None:
    """Another browser, a user and a program without cookies get 404 for its address and for an order of it."""
    told = sent(visitor).get_json()
    for other in (Visitor(app, "192.0.2.2"), member(app)):
        assert other.get(told["url"]).status_code == 404
        for body in ({"uploadId": told["uploadId"]}, {"imageUrl": told["url"]}):
            assert other.post("/api/generate-image", json=body).status_code == 404
    assert client.get(told["url"]).status_code == 404
    assert client.post("/api/generate-image", json={"uploadId": told["uploadId"]}).status_code == 404
    assert visitor.post("/api/generate-image", json={"uploadId": "0" * 32}).status_code == 404


def test_without_a_cookie_the_id_opens_it(client: FlaskClient) -> None:
    """A program without any cookie uploads, looks at it and orders it by its id alone."""
    told = sent_by_nobody(client)
    assert client.get(told["url"]).status_code == 200
    assert client.post("/api/generate-image", json={"uploadId": told["uploadId"]}).status_code == 202


def test_signing_in_takes_uploads_along(app: Flask, visitor: Visitor) -> None:
    """What a guest sent ahead is the user's after the sign-in."""
    told = sent(visitor).get_json()
    user = member(app)
    visitor.post("/auth/signin", data={"email": user.email, "password": user.password})
    assert visitor.get(told["url"]).status_code == 200
    user.sign_in()
    assert user.get(told["url"]).status_code == 200


def test_nothing_is_charged(visitor: Visitor, client: FlaskClient) -> None:
    """An upload takes none of the day's free tries."""
    before = visitor.order().get_json()["credits"]
    sent(visitor)
    assert visitor.order().get_json()["credits"] == before - 1


def test_what_is_no_photograph_is_refused(app: Flask, visitor: Visitor) -> None:
    """No file, no picture, too many bytes, and a side under 16 pixels are refused as in an order; nothing is kept."""
    with app.app_context():
        too_many = b"\xff" * (runtime().settings.max_upload_bytes + 1)
    assert visitor.post("/api/upload-image", data={}).status_code == 422
    for data, status in ((b"no picture at all", 415), (too_many, 413), (photo(8, 300), 422)):
        answer = sent(visitor, data)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    with app.app_context(), reading() as session:
        assert session.scalars(select(Upload)).all() == []


def test_fifty_uploads_are_enough(app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than may lie here is 429 with the time until there is room; another payer still has room."""
    monkeypatch.setattr(uploads, "MOST_KEPT", 2)
    assert [sent(visitor).status_code for _number in range(3)] == [201, 201, 429]
    refused = sent(visitor)
    assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400
    assert refused.get_json()["code"] == "too_many_requests"
    assert sent(Visitor(app, "192.0.2.2")).status_code == 201


def test_uploads_count_as_orders_a_minute(app_factory: Callable[..., Flask]) -> None:
    """The limit of orders a minute holds for uploads too, with its fields."""
    visitor = Visitor(app_factory(orders_per_minute=1))
    assert sent(visitor).status_code == 201
    refused = sent(visitor)
    assert (refused.status_code, refused.headers["RateLimit-Policy"]) == (429, '"orders";q=1;w=60')


def test_a_closed_site_takes_no_uploads(app: Flask, visitor: Visitor) -> None:
    """While the site is closed for maintenance an upload is refused with the operator's words."""
    with app.app_context():
        flags.switch(flags.MAINTENANCE, "Back at noon.", by="test")
    answer = sent(visitor)
    assert (answer.status_code, answer.get_json()["detail"]) == (503, "Back at noon.")


def test_a_lost_transaction_leaves_nothing(app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the row cannot be written the file is let go, and the next cleanup deletes it."""

    def away(*_args: object) -> None:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(uploads.payers, "lock", away)
        assert sent(visitor).status_code == 503
    with app.app_context():
        with reading() as session:
            (entry,) = session.scalars(select(DiscardedFile)).all()
            assert session.scalars(select(Upload)).all() == []
        assert files.read(StoredFile(entry.store, entry.key))
        assert files.drain() == 1
