"""How a kept picture reaches the browser: by a signed address, by nginx, or through us."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from werkzeug.test import TestResponse

from ghibli_flask.images import DigitalSourceType
from ghibli_flask.images.ai_mark import mark, read_mark
from ghibli_flask.services import files, runs, tasks
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import Outcome
from tests.storage.conftest import AppWith
from tests.support.standins.imgbb import ImgBBStandIn
from tests.support.standins.r2 import R2StandIn
from tests.support.visitor import Visitor, photo

MARK = DigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA
ACCEL = "/kept-pictures"


def painted(app: Flask, visitor: Visitor) -> tuple[str, bytes]:
    """An order of this visitor that has its picture, with the mark of AI; its id and the picture."""
    task_id, data = visitor.ordered(), mark(photo(), MARK)
    with app.app_context():
        run = runs.claim(task_id)
        assert run is not None
        result = files.keep(data, "results", "jpg", expires_in=run.kept_for)
        assert tasks.settle(run.task_id, run.attempt, Ending(Outcome.PAINTED, result))
    return task_id, data


def head(visitor: Visitor, path: str) -> TestResponse:
    """HEAD as this visitor."""
    return visitor.client.head(path, environ_base={"REMOTE_ADDR": visitor.address})


def test_r2_gives_the_picture_itself(app_with: AppWith, r2: R2StandIn) -> None:
    """Result and photograph answer with an address that R2 signed for ten minutes; no cache keeps the redirect."""
    app = app_with(r2)
    visitor = Visitor(app)
    task_id, data = painted(app, visitor)
    for path in (f"/api/image/{task_id}", f"/api/image/{task_id}/original"):
        answer = visitor.get(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (302, "no-store")
        assert parse_qs(urlsplit(answer.location).query)["X-Amz-Expires"] == ["600"]
        given = requests.get(answer.location, timeout=5)
        assert (given.status_code, given.headers["Content-Type"]) == (200, "image/jpeg")
        assert (given.content == data) is (not path.endswith("original"))
    assert requests.get(answer.location.partition("?")[0], timeout=5).status_code == 400


def test_r2_answers_head_and_ranges(app_with: AppWith, r2: R2StandIn) -> None:
    """A HEAD is led to an address signed for HEAD, and a part of the picture to R2's own ranges."""
    app = app_with(r2)
    visitor = Visitor(app)
    task_id, data = painted(app, visitor)
    answer = head(visitor, f"/api/image/{task_id}")
    given = requests.head(answer.location, timeout=5)
    assert (answer.status_code, given.status_code) == (302, 200)
    assert int(given.headers["Content-Length"]) == len(data)
    address = visitor.get(f"/api/image/{task_id}", headers={"Range": "bytes=0-9"}).location
    part = requests.get(address, headers={"Range": "bytes=0-9"}, timeout=5)
    assert (part.status_code, part.content) == (206, data[:10])


def test_downloads_and_thumbnails_come_through_us(app_with: AppWith, r2: R2StandIn) -> None:
    """A signed address could carry neither a file's name nor a thumbnail; the mark of AI is in all of them."""
    app = app_with(r2)
    visitor = Visitor(app)
    task_id, data = painted(app, visitor)
    download = visitor.get(f"/api/image/{task_id}?download=1")
    assert (download.status_code, download.data) == (200, data)
    assert download.headers["Content-Disposition"] == f"attachment; filename=painted-{task_id[:8]}.jpg"
    thumbnail = visitor.get(f"/api/image/{task_id}/thumbnail")
    assert (thumbnail.status_code, thumbnail.content_type) == (200, "image/webp")
    assert read_mark(download.data) == read_mark(thumbnail.data) == MARK


def test_a_picture_that_the_browser_has_asks_no_store(app_with: AppWith, r2: R2StandIn) -> None:
    """The tag is known without the bytes: 304 for picture and thumbnail while R2 is away."""
    app = app_with(r2)
    visitor = Visitor(app)
    task_id, _ = painted(app, visitor)
    paths = (f"/api/image/{task_id}?download=1", f"/api/image/{task_id}/thumbnail")
    tags = [visitor.get(path).headers["ETag"] for path in paths]
    r2.faults = {"GET": "error"}
    for path, tag in zip(paths, tags, strict=True):
        answer = visitor.get(path, headers={"If-None-Match": tag})
        assert (answer.status_code, answer.headers["ETag"], answer.data) == (304, tag, b"")
        assert not tag.startswith("W/")
        assert visitor.get(path).status_code == 503


def test_only_who_may_see_a_picture_gets_an_address(app_with: AppWith, r2: R2StandIn) -> None:
    """Nothing is signed for a stranger, nor for a picture that was deleted."""
    app = app_with(r2)
    visitor = Visitor(app)
    task_id, _ = painted(app, visitor)
    assert Visitor(app).get(f"/api/image/{task_id}/original").status_code == 403
    assert visitor.delete(f"/api/tasks/{task_id}").status_code == 204
    assert visitor.get(f"/api/image/{task_id}").status_code == 404


def test_pages_may_show_what_the_store_gives(app_with: AppWith, r2: R2StandIn) -> None:
    """The policy of every page allows pictures from R2 and from its public address, and nothing else from there."""
    app = app_with(r2, cloudflare_r2_public_url="https://pictures.example.org/kept")
    policy = app.test_client().get("/").headers["Content-Security-Policy"].split("; ")
    assert f"img-src 'self' blob: data: {r2.url} https://pictures.example.org" in policy
    assert sum(r2.url in rule for rule in policy) == 1
    assert "connect-src 'self'" in policy
    plain = app_with().test_client().get("/").headers["Content-Security-Policy"]
    assert "img-src 'self' blob: data:;" in plain


def test_a_picture_at_imgbb_comes_through_us(app_with: AppWith, imgbb: ImgBBStandIn) -> None:
    """Its lasting public address is told to nobody: the bytes are read and sent, with tag and ranges."""
    app = app_with(imgbb, store_order=("imgbb", "local"))
    visitor = Visitor(app)
    task_id, data = painted(app, visitor)
    assert imgbb.expirations == [7 * 86400]
    answer = visitor.get(f"/api/image/{task_id}", headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.data) == (206, data[:10])
    whole = visitor.get(f"/api/image/{task_id}")
    assert whole.data == data
    assert imgbb.url not in str(whole.headers)
    assert len(imgbb.uploads) == 1, "The photograph never goes there."


def test_nginx_sends_a_local_picture(app_with: AppWith) -> None:
    """With ACCEL_LOCATION the answer is empty and names the file for nginx; type and name are ours."""
    app = app_with(accel_location=ACCEL)
    visitor = Visitor(app)
    task_id, data = painted(app, visitor)
    answer = visitor.get(f"/api/image/{task_id}?download=1")
    inside = answer.headers["X-Accel-Redirect"]
    assert (answer.status_code, answer.data, answer.content_type) == (200, b"", "image/jpeg")
    assert answer.headers["Content-Disposition"] == f"attachment; filename=painted-{task_id[:8]}.jpg"
    assert (Path(app.instance_path) / "files" / inside.removeprefix(f"{ACCEL}/")).read_bytes() == data
    assert visitor.get(f"/api/image/{task_id}/thumbnail").data


def test_nginx_is_not_sent_after_a_missing_file(app_with: AppWith) -> None:
    """A file that is gone is our own 404, with its sentence."""
    app = app_with(accel_location=ACCEL)
    visitor = Visitor(app)
    task_id, _ = painted(app, visitor)
    inside = visitor.get(f"/api/image/{task_id}").headers["X-Accel-Redirect"]
    (Path(app.instance_path) / "files" / inside.removeprefix(f"{ACCEL}/")).unlink()
    answer = visitor.get(f"/api/image/{task_id}")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert "X-Accel-Redirect" not in answer.headers


@pytest.mark.parametrize("stores", ["r2", "local"])
def test_older_front_ends_get_the_bytes(app_with: AppWith, r2: R2StandIn, stores: str) -> None:
    """The older poll answers with the picture itself, wherever it lies."""
    app = app_with(r2) if stores == "r2" else app_with(accel_location=ACCEL)
    visitor = Visitor(app)
    task_id, data = painted(app, visitor)
    answer = visitor.get(f"/api/transform-ghibli/check/{task_id}")
    assert (answer.status_code, answer.data) == (200, data)
