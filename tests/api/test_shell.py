"""What the installed site asks for without a browser: manifest, worker, offline page, share target, robots, sitemap."""

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from ghibli_flask.database import reading
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.upload import Upload
from tests.support.visitor import photo

LOCATIONS = "{http://www.sitemaps.org/schemas/sitemap/0.9}"


def share(client: FlaskClient, data: bytes | None = None, **headers: str) -> TestResponse:
    """Send a photo as a phone's share sheet does, with these headers."""
    fields = {"image": (BytesIO(photo() if data is None else data), "photo.jpg")}
    told = {name.replace("_", "-"): one for name, one in headers.items()}
    answer = client.post("/shared-photo", data=fields, headers=told)
    answer.request.environ["wsgi.input"].close()  # A file, when the photo is large.
    return answer


def rows(app: Flask, model: type[Any]) -> int:
    """How many rows there are."""
    with app.app_context(), reading() as session:
        return int(session.scalar(select(func.count()).select_from(model)) or 0)


@pytest.mark.parametrize("origin", [{}, {"Origin": "null"}, {"Origin": "http://localhost"}])
def test_a_share_sheet_needs_no_token(app: Flask, client: FlaskClient, origin: dict[str, str]) -> None:
    """A photo from the system itself is taken with the visitor's cookies and no token; it orders nothing."""
    client.get("/")
    answer = share(client, **origin, Sec_Fetch_Site="none")
    assert answer.status_code == 303
    assert re.fullmatch(r"/\?photo=[0-9a-f]{32}", answer.headers["Location"])
    assert (rows(app, Upload), rows(app, ImageTask)) == (1, 0)
    assert "photo-ahead" in client.get(answer.headers["Location"]).text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example"},
        {"Origin": "null"},
        {"Origin": "https://other.example"},
    ],
)
def test_another_site_cannot_lay_a_photo_on_the_easel(app: Flask, client: FlaskClient, headers: dict[str, str]) -> None:
    """What a page of another site sends, openly or from a sandbox, is refused and nothing of it is kept."""
    client.get("/")
    assert share(client, **headers).status_code == 403
    assert rows(app, Upload) == 0


def test_no_other_form_goes_without_a_token(client: FlaskClient) -> None:
    """Only the share target does: an order from the system, without a token, is refused."""
    client.get("/")
    answer = client.post("/paint", data={"image": (BytesIO(photo()), "a.jpg")}, headers={"Sec-Fetch-Site": "none"})
    assert answer.status_code == 403


def test_a_shared_photo_is_bounded_like_any_other(app_factory: Callable[..., Flask]) -> None:
    """What is too large or no picture is refused in words above the easel, and kept by nobody."""
    app = app_factory(max_upload_mb=1)
    client = app.test_client()
    too_large = share(client, bytes(1_100_000), Sec_Fetch_Site="none")
    assert too_large.status_code == 413
    assert "larger than 1 MB" in too_large.text
    assert share(client, b"no picture", Sec_Fetch_Site="none").status_code == 415
    assert client.post("/shared-photo", data={"title": "none"}).headers["Location"] == "/"
    assert rows(app, Upload) == 0


def test_a_shared_photo_is_its_senders(app: Flask, client: FlaskClient) -> None:
    """Nobody else finds the photo on his easel, whatever address he opens."""
    address = share(client, Sec_Fetch_Site="none").headers["Location"]
    assert "photo-ahead" in client.get(address).text
    assert "photo-ahead" not in app.test_client().get(address).text


def test_the_worker_knows_what_it_keeps(client: FlaskClient) -> None:
    """Every file that the worker keeps is there, is a fingerprinted one, and the worker itself is asked for anew."""
    worker = client.get("/service-worker.js")
    assert worker.mimetype == "text/javascript"
    assert worker.headers["Cache-Control"] == "private, no-cache"
    files = re.findall(r'"(/static/[0-9a-f]{12}/[^"]+)"', worker.text)
    assert len(files) == 5
    for path in files:
        with client.get(path) as answer:
            assert answer.status_code == 200


def test_the_offline_page_knows_nobody(client: FlaskClient) -> None:
    """The page that stays in the browser is the same for everybody: no token, no name, no guest's number."""
    client.get("/")
    answer = client.get("/offline")
    assert "csrf" not in answer.text
    assert client.get("/offline").text == client.application.test_client().get("/offline").text
    static = set(re.findall(r'"(/static/[^"]+)"', answer.text))
    kept = client.get("/service-worker.js").text
    assert [path for path in static if path not in kept] == []


def test_the_policy_names_worker_and_manifest(client: FlaskClient) -> None:
    """The content policy lets the site's own worker and manifest in, and no other."""
    policy = dict(part.split(" ", 1) for part in client.get("/").headers["Content-Security-Policy"].split("; "))
    assert (policy["worker-src"], policy["manifest-src"]) == ("'self'", "'self'")


def test_robots_and_sitemap(app: Flask, client: FlaskClient) -> None:
    """Search engines find the public pages, each of which may be read, and are kept out of what is not for them."""
    robots = client.get("/robots.txt").text
    assert "Disallow: /api/\n" in robots
    assert "Disallow: /\n" not in robots
    address = re.search(r"^Sitemap: (\S+)$", robots, re.MULTILINE)[1]
    assert address.endswith("/sitemap.xml")
    found = ElementTree.fromstring(client.get("/sitemap.xml").text)
    paths = [one.text.removeprefix(address.removesuffix("/sitemap.xml")) for one in found.iter(f"{LOCATIONS}loc")]
    assert paths[:2] == ["/", "/gallery"]
    for path in paths:
        page = client.get(path)
        assert page.status_code == 200
        assert "noindex" not in page.text
