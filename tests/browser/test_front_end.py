"""A front end on another origin, in a real browser: the example of docs/front-end.md, and what strangers may not."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect
from sqlalchemy import func, select

from ghibli_flask.database import reading
from ghibli_flask.models import ImageTask, Upload
from scripts.procfile import read_procfile
from tests.browser.conftest import PAINTED_WITHIN_MS
from tests.browser.photos import LANDSCAPE
from tests.support.browser import CHROMIUM_FLAGS, open_page
from tests.support.checkout import ROOT
from tests.support.ports import free_port
from tests.support.server import find_program
from tests.support.site import Site, SiteProcess
from tests.support.standins.server import Heard, Reply, StandIn

SITE_HOST, FRIEND_HOST, SIBLING_HOST, FOREIGN_HOST = (
    "paint.example.test", "www.example.test", "shop.example.test", "foreign.test",
)  # fmt: skip
READABLE = {"etag", "location", "retry-after", "ratelimit", "ratelimit-policy"}
NAMED_IN_DOCS = "https://paint.example.org"

CALL = """async ([address, options]) => {
    try {
        const answer = await fetch(address, {credentials: "include", ...options});
        return {status: answer.status, headers: Object.fromEntries(answer.headers), text: await answer.text()};
    } catch (error) {
        return {error: error.name};
    }
}"""


class FrontEnd(StandIn):
    """A web server that has one page at every address, whatever host it is asked as."""

    page = ""

    def answer(self, heard: Heard) -> Reply:
        return Reply(self.page.encode(), kind="text/html; charset=utf-8")

    def origin(self, host: str) -> str:
        return f"http://{host}:{self.port}"


class Door(SiteProcess):
    """A web process of the running site that knows a front end by name, at a host name of its own."""

    def __init__(self, site: Site, logs: Path, friend: str) -> None:
        port = str(free_port())
        self.origin = f"http://{SITE_HOST}:{port}"
        env = {**site.env, "PORT": port, "APP_URL": self.origin, "CORS_ORIGINS": friend, "ORDERS_PER_MINUTE": "1000"}
        super().__init__("web", read_procfile(site.checkout)["web"], site.checkout, env, logs)


@pytest.fixture(scope="module")
def front_end() -> Iterator[FrontEnd]:
    """The web server of the front end, and of all strangers."""
    with FrontEnd() as server:
        yield server


@pytest.fixture(scope="module")
def door(running_site: Site, front_end: FrontEnd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The site as the front end calls it."""
    running_site.mend()
    door = Door(running_site, tmp_path_factory.mktemp("door"), front_end.origin(FRIEND_HOST))
    example = re.search(r"```html\n(.*?)```", (ROOT / "docs/front-end.md").read_text(), re.DOTALL)
    assert example is not None
    assert NAMED_IN_DOCS in example[1]
    front_end.page = example[1].replace(NAMED_IN_DOCS, door.origin)
    door.start()
    yield door
    door.stop()


@pytest.fixture(scope="module")
def named_browser(browser: Browser) -> Iterator[Browser]:
    """A Chromium that finds the host names of this file on this machine."""
    rules = "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    flags = [flag for flag in CHROMIUM_FLAGS if not flag.startswith("--host-resolver-rules")]
    chromium = find_program("chromium", "chromium-browser", "google-chrome", package="chromium")
    started = browser.browser_type.launch(executable_path=chromium, args=[*flags, rules])
    yield started
    started.close()


@pytest.fixture
def visitor(named_browser: Browser, door: Door, site: Site) -> Iterator[BrowserContext]:
    """A visitor's browser, which has been at the site itself and has its cookie."""
    context = named_browser.new_context()
    page = context.new_page()
    page.goto(f"{door.origin}/")
    page.close()
    yield context
    context.close()


@pytest.fixture
def friend(visitor: BrowserContext, front_end: FrontEnd, page_problems: list[str]) -> Iterator[Page]:
    """The front end that the site knows; script and console errors fail the test."""
    page = open_page(visitor, page_problems)
    page.goto(front_end.origin(FRIEND_HOST))
    yield page
    assert not page_problems, "\n".join(page_problems)


def call(page: Page, address: str, **options: object) -> dict[str, object]:
    """What a script of the page gets from a call with cookies: status, readable fields and text, or an error."""
    return dict(page.evaluate(CALL, [address, options]))


def test_the_example_uploads_polls_and_shares(friend: Page, door: Door, visitor: BrowserContext) -> None:
    """The example of the docs uploads, orders, polls, shows and shares in the name of the site's own visitor."""
    asked: list[Request] = []
    friend.on("request", lambda request: asked.append(request))
    friend.get_by_label("Photo").set_input_files(LANDSCAPE)
    expect(friend.locator("#share")).to_be_enabled(timeout=PAINTED_WITHIN_MS)
    friend.wait_for_function("document.getElementById('picture').naturalWidth > 0")
    friend.get_by_role("button", name="Share it").click()
    expect(friend.get_by_role("status")).to_contain_text(f"{door.origin}/share/")
    share_address = friend.get_by_role("status").inner_text()

    polls = [request for request in asked if "/api/poll-task" in request.url]
    assert polls[-1].all_headers()["cookie"], "The visitor's own cookie goes along."
    task_id = polls[-1].url.partition("=")[2]
    own = visitor.new_page()
    own.goto(f"{door.origin}/pictures")
    expect(own.locator(f'a[href="/tasks/{task_id}"]').first).to_be_visible()
    own.goto(share_address)
    expect(own.locator("img").first).to_be_visible()
    own.close()

    first = call(friend, polls[-1].url)
    fields = {"If-None-Match": first["headers"]["etag"]}  # type: ignore[index]
    assert call(friend, polls[-1].url, headers=fields, cache="no-store")["status"] == 304


def test_a_front_end_reads_and_sends_what_it_needs(friend: Page, door: Door, page_problems: list[str]) -> None:
    """Preflights pass for each method and field of ours; ETag, Location, Retry-After and limits can be read."""
    token = re.findall(r'"csrfToken":\s*"([^"]+)"', str(call(friend, f"{door.origin}/api/csrf")["text"]))[0]
    photo = {"method": "POST", "body": "{}", "headers": {"Content-Type": "application/json", "X-CSRFToken": token}}
    refused = call(friend, f"{door.origin}/api/generate-image", **photo)
    assert refused["status"] == 422, "An error can be read as well."
    form = """async ([address, token]) => {
        const pixels = document.createElement("canvas");
        pixels.width = pixels.height = 300;
        pixels.getContext("2d").fillRect(0, 0, 100, 200);
        const form = new FormData();
        form.append("image", await new Promise((done) => pixels.toBlob(done, "image/png")), "a.png");
        const headers = {"X-CSRFToken": token, "Idempotency-Key": "front-end"};
        const answer = await fetch(address, {method: "POST", body: form, headers, credentials: "include"});
        return {status: answer.status, headers: Object.fromEntries(answer.headers), task: (await answer.json()).taskId};
    }"""
    made = friend.evaluate(form, [f"{door.origin}/api/generate-image", token])
    assert made["status"] == 202
    assert READABLE - made["headers"].keys() == {"etag"}
    again = friend.evaluate(form, [f"{door.origin}/api/generate-image", token])
    assert (again["status"], again["task"]) == (200, made["task"])

    gone = call(friend, f"{door.origin}/api/tasks/{made['task']}", method="DELETE", headers={"X-CSRFToken": token})
    assert gone["status"] == 204
    missing = call(friend, f"{door.origin}/api/share/nothing", method="PATCH", body="{}", headers=photo["headers"])
    assert missing["status"] == 404
    assert [re.findall(r"\d{3}", problem) for problem in page_problems] == [["422"], ["404"]]
    page_problems.clear()


@contextmanager
def nothing_comes_of_it(app: Flask) -> Iterator[None]:
    """No order and no upload is made within the block."""

    def rows() -> list[int]:
        with app.app_context(), reading() as session:
            return [session.scalar(select(func.count()).select_from(table)) or 0 for table in (ImageTask, Upload)]

    before = rows()
    yield
    assert rows() == before


@pytest.mark.parametrize("host", [SIBLING_HOST, FOREIGN_HOST])
def test_every_other_origin_is_refused(
    visitor: BrowserContext, front_end: FrontEnd, door: Door, backstage: Flask, host: str
) -> None:
    """A sibling, for which cookies go along, and a foreign origin can read nothing and change nothing."""
    page = visitor.new_page()
    page.goto(front_end.origin(host))
    answers: list[tuple[str, str, int]] = []
    page.on("response", lambda answer: answers.append((answer.request.method, answer.url, answer.status)))
    order = f"{door.origin}/api/generate-image"
    with nothing_comes_of_it(backstage):
        assert call(page, f"{door.origin}/api/csrf") == {"error": "TypeError"}, "It cannot read the token."
        assert call(page, f"{door.origin}/api/tasks") == {"error": "TypeError"}, "It cannot read the pictures."
        for fields in ({"Idempotency-Key": "a"}, {"X-CSRFToken": "a"}, {"Content-Type": "application/json"}):
            sent = call(page, order, method="POST", body="{}", headers=fields)
            assert sent == {"error": "TypeError"}, "The preflight does not let it pass."
        page.set_input_files("#photo", LANDSCAPE)
        expect(page.get_by_role("status")).to_contain_text("Failed to fetch")
        # What needs no preflight arrives, and is refused there.
        simple = """async ([address]) => {
            const body = new FormData();
            await fetch(address, {method: "POST", mode: "no-cors", credentials: "include", body});
        }"""
        page.evaluate(simple, [order])
        page.evaluate(simple, [f"{door.origin}/api/upload-image"])
    arrived = [(url.removeprefix(door.origin), status) for method, url, status in answers if method == "POST"]
    assert arrived == [("/api/generate-image", 403), ("/api/upload-image", 403)]


def test_a_form_of_another_origin_is_refused(
    visitor: BrowserContext, front_end: FrontEnd, door: Door, backstage: Flask
) -> None:
    """A form that another origin has the visitor's browser send is 403, though it arrives as a navigation."""
    page = visitor.new_page()
    page.goto(front_end.origin(SIBLING_HOST))
    with nothing_comes_of_it(backstage), page.expect_navigation() as navigation:
        page.evaluate(
            """([address]) => {
                const form = document.createElement("form");
                Object.assign(form, {method: "post", action: address, enctype: "multipart/form-data"});
                document.body.append(form);
                form.submit();
            }""",
            [f"{door.origin}/paint"],
        )
    assert navigation.value is not None
    assert navigation.value.status == 403
