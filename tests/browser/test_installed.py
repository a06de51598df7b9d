"""The installed site in a real browser: manifest, offline page, what a share sheet hands over, and a new release.

The site runs on a server of this module's own, which a test closes and opens again: that is what no connection is.
"""

import re
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import func, select
from werkzeug.serving import BaseWSGIServer, make_server

from ghibli_flask.database import reading
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.upload import Upload
from scripts.processes import LOOPBACK
from tests.browser.conftest import TASK_ADDRESS
from tests.browser.photos import LANDSCAPE
from tests.support.ports import free_port

READY = "navigator.serviceWorker.ready.then((found) => found.active.state)"
CACHES = "caches.keys()"
UNTIL_RENEWED = """async (before) => {
    for (;;) {
        const now = await caches.keys();
        if (now.length === 1 && now[0] !== before[0]) return;
        await new Promise((later) => setTimeout(later, 20));
    }
}"""
UNTIL_GONE = """async () => {
    while ((await navigator.serviceWorker.getRegistrations()).length || (await caches.keys()).length) {
        await new Promise((later) => setTimeout(later, 20));
    }
}"""
UPDATE = "navigator.serviceWorker.ready.then((found) => found.update()).then(() => true)"
SHARE = """(bytes) => {
    const carrier = new DataTransfer();
    carrier.items.add(new File([new Uint8Array(bytes)], "from a phone, 窗.jpg", {type: "image/jpeg"}));
    const form = document.createElement("form");
    Object.assign(form, {action: "/shared-photo", method: "post", enctype: "multipart/form-data"});
    form.innerHTML = '<input type="file" name="image">';
    form.firstChild.files = carrier.files;
    document.body.append(form);
    form.submit();
}"""


class Line:
    """An address at which the site answers while the line is open, and nobody while it is closed."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.asked: list[str] = []
        self._server: BaseWSGIServer | None = None

    def open(self, app: Flask) -> None:
        """Let this application answer."""

        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            return app(environ, start_response)

        self._server = make_server(LOOPBACK, self.port, answer, threaded=True)
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Let nobody answer."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


WORKER_IN_CHARGE = """() => new Promise((done) => navigator.serviceWorker.controller ? done()
  : navigator.serviceWorker.addEventListener("controllerchange", () => done(), { once: true }))"""
"""Waits for the page's worker; Playwright's own waiting needs `eval`, which the pages forbid."""


@pytest.fixture
def line() -> Iterator[Line]:
    """A line that is closed after the test."""
    line = Line()
    yield line
    line.close()


@pytest.fixture
def phone(browser: Browser, line: Line) -> Iterator[Callable[..., BrowserContext]]:
    """Give a phone of an English or another visitor."""
    opened: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        screen: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "locale": "en-GB"}
        context = browser.new_context(**{"base_url": line.url, **screen, **options})
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()


def installed(page: Page) -> Page:
    """Visit the site and wait until its worker stands."""
    page.goto("/")
    assert page.evaluate(READY) in {"activating", "activated"}
    page.evaluate(WORKER_IN_CHARGE)
    return page


def rows(app: Flask, model: type[Any]) -> int:
    """How many rows there are."""
    with app.app_context(), reading() as session:
        return int(session.scalar(select(func.count()).select_from(model)) or 0)


@pytest.mark.parametrize(("language", "words"), [("en-GB", "Gallery"), ("zh-CN", "画廊")])
def test_it_can_be_installed(
    app_factory: Callable[..., Flask], line: Line, phone: Callable[..., BrowserContext], language: str, words: str
) -> None:
    """Chromium finds nothing that keeps the site from being installed, in the visitor's language."""
    line.open(app_factory(site_name="Lamp & Window"))
    page = installed(phone(locale=language).new_page())
    devtools = page.context.new_cdp_session(page)
    manifest = devtools.send("Page.getAppManifest")
    assert manifest["errors"] == []
    obstacles = [error["errorId"] for error in devtools.send("Page.getInstallabilityErrors")["installabilityErrors"]]
    assert obstacles == ["in-incognito"], "The profile of a test counts as private; nothing else may stand in the way."
    assert '"name": "Lamp & Window"' in manifest["data"]
    assert words in manifest["data"]
    for source, size in re.findall(r'"src": "([^"]+)", "sizes": "(\d+)x', manifest["data"]):
        sides = page.evaluate(
            "(source) => new Promise((done) => { const image = new Image();"
            " image.onload = () => done([image.width, image.height]); image.src = source; })",
            source,
        )
        assert sides == [int(size), int(size)], source


def test_without_a_connection_the_shell_opens(app: Flask, line: Line, phone: Callable[..., BrowserContext]) -> None:
    """Offline every address shows the offline page in the site's look; with the line back, the page comes by itself."""
    line.open(app)
    page = installed(phone().new_page())
    line.close()
    page.goto("/gallery")
    expect(page.get_by_role("heading", name="No connection just now")).to_be_visible()
    assert page.title() == "No connection · Painted Window"
    assert page.evaluate("document.fonts.ready.then(() => document.fonts.check('16px \"Fraunces Soft\"'))")
    expect(page.get_by_role("link", name="Try again")).to_have_css("background-color", "rgb(47, 107, 65)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    line.open(app)
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.get_by_role("heading", name="Gallery")).to_be_visible()
    assert page.url.endswith("/gallery")


def test_it_speaks_the_visitors_language_offline(app: Flask, line: Line, phone: Callable[..., BrowserContext]) -> None:
    """The offline page is kept anew when the visitor chooses another language."""
    line.open(app)
    page = installed(phone().new_page())
    before = page.evaluate(CACHES)
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    page.evaluate(UPDATE)
    page.evaluate(UNTIL_RENEWED, before)
    line.close()
    page.goto("/help")
    expect(page.locator(".page-quiet")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh"


def test_pages_are_never_old(app: Flask, line: Line, phone: Callable[..., BrowserContext]) -> None:
    """Pages and the API are asked of the site every time; only files of the shell come out of the cache."""
    line.open(app)
    page = installed(phone().new_page())
    page.goto("/help")
    line.asked.clear()
    page.goto("/help")
    assert "GET /help" in line.asked
    page.evaluate("fetch('/api/styles')")
    assert "GET /api/styles" in line.asked
    kept = page.evaluate(
        "caches.keys().then((names) => caches.open(names[0])).then((one) => one.keys())"
        ".then((all) => all.map((request) => new URL(request.url).pathname))"
    )
    assert kept.count("/offline") == 1
    assert [path for path in kept if path != "/offline" and not re.match(r"/static/[0-9a-f]{12}/", path)] == []
    line.close()
    assert page.evaluate("fetch('/api/styles').then(() => 'answered', () => 'nobody')") == "nobody"


def test_a_shared_photo_lands_on_the_easel(app: Flask, line: Line, phone: Callable[..., BrowserContext]) -> None:
    """What a share sheet hands over lies on the easel, also when the phone had stopped everything; nothing is sent.

    It stays through a reload, until the visitor sends it; then it is gone from the browser.
    """
    line.open(app)
    page = installed(phone().new_page())
    devtools = page.context.new_cdp_session(page)
    devtools.send("ServiceWorker.enable")
    devtools.send("ServiceWorker.stopAllWorkers")
    page.evaluate(SHARE, list(LANDSCAPE.read_bytes()))
    page.wait_for_url("**/?shared=1")
    expect(page.get_by_alt_text("from a phone, 窗.jpg")).to_be_visible()
    page.reload()
    expect(page.get_by_alt_text("from a phone, 窗.jpg")).to_be_visible()
    assert not [asked for asked in line.asked if asked.startswith("POST")]
    page.locator("#paint-button").click()
    page.wait_for_url(TASK_ADDRESS)
    assert rows(app, ImageTask) == 1
    page.goto("/?shared=1")
    expect(page.locator("#form-alert")).to_contain_text("has not arrived")
    page.goto("/")
    assert "shared" not in page.evaluate(CACHES)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_shared_photo_without_a_worker(
    app: Flask, line: Line, phone: Callable[..., BrowserContext], scripts: bool
) -> None:
    """Where no worker runs, with scripts or without, the site keeps the photo until the visitor orders it."""
    line.open(app)
    page = phone(service_workers="block", java_script_enabled=scripts).new_page()
    page.goto("/")
    photo = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": LANDSCAPE.read_bytes()}
    answer = page.request.post(
        "/shared-photo", multipart={"image": photo}, headers={"Origin": "null", "Sec-Fetch-Site": "none"}
    )
    page.goto(answer.url)
    expect(page.get_by_alt_text("The photo that you shared")).to_be_visible()
    assert (rows(app, Upload), rows(app, ImageTask)) == (1, 0)
    page.locator("#paint-button").click()
    page.wait_for_url(TASK_ADDRESS)
    assert rows(app, ImageTask) == 1


def test_another_photo_takes_its_place(app: Flask, line: Line, phone: Callable[..., BrowserContext]) -> None:
    """A photo that is chosen after one was shared without a worker is the one that is ordered."""
    line.open(app)
    page = phone(service_workers="block").new_page()
    page.goto("/")
    photo = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": LANDSCAPE.read_bytes()}
    page.goto(page.request.post("/shared-photo", multipart={"image": photo}).url)
    page.locator("#image").set_input_files(LANDSCAPE)
    expect(page.get_by_alt_text("china.jpg")).to_be_visible()
    expect(page.get_by_alt_text("The photo that you shared")).to_have_count(0)
    page.locator("#paint-button").click()
    page.wait_for_url(TASK_ADDRESS)
    assert "POST /api/generate-image" in line.asked


def test_a_new_release_takes_over(
    app_factory: Callable[..., Flask], line: Line, phone: Callable[..., BrowserContext]
) -> None:
    """The worker of the next release replaces the one before and its cache; switched off, nothing of it remains."""
    line.open(app_factory(site_name="Before"))
    page = installed(phone().new_page())
    before = page.evaluate(CACHES)
    line.close()
    line.open(app_factory(site_name="Afterwards"))
    page.goto("/")
    page.evaluate(UNTIL_RENEWED, before)
    line.close()
    page.goto("/help")
    expect(page).to_have_title("No connection · Afterwards")
    line.open(app_factory(site_name="Afterwards", service_worker=False))
    page.goto("/")
    page.evaluate(UNTIL_GONE)
