"""The order form beside its photographs: the way from words, the words for a photo, size, seed and gallery."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, Request, Route, expect

from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import flags, progress
from tests.browser.conftest import TASK_ADDRESS, order_from_words, wait_until_painted
from tests.browser.photos import LANDSCAPE
from tests.browser.test_handing_in import HAND_OVER
from tests.support.standins.openai import GENERATIONS, OpenAIStandIn

OpenBrowser = Callable[..., BrowserContext]
WORDS = "A harbour at dusk, paper lanterns, a boat coming in"


@pytest.fixture
def switch(backstage: Flask) -> Iterator[Callable[[str, str], None]]:
    """Set an operator's flag on the running site; the flags that a test has set are cleared after it."""
    was_set = []

    def set_flag(name: str, value: str) -> None:
        was_set.append(name)
        with backstage.app_context():
            flags.switch(name, value, by="test")

    yield set_flag
    with backstage.app_context():
        for name in was_set:
            flags.switch(name, None, by="test")


def row_of(backstage: Flask, page: Page) -> ImageTask:
    """The row of the task whose page is open."""
    with backstage.app_context():
        return progress.look_up(page.url.rsplit("/", 1)[-1])


@pytest.mark.parametrize(("width", "script"), [(360, True), (1280, True), (360, False), (1280, False)])
def test_words_become_a_picture(
    context_factory: OpenBrowser, words_painter: OpenAIStandIn, backstage: Flask, width: int, script: bool
) -> None:
    """From the easel to the finished picture with and without scripts, on a phone and on a desktop, and once more."""
    page = context_factory(viewport={"width": width, "height": 740}, java_script_enabled=script).new_page()
    page.goto("/")
    page.get_by_label("From words").check()
    expect(page.locator("#image")).to_be_hidden()
    words = f"{WORDS} {width} {script}"
    page.get_by_label("Say what to paint").fill(words)
    page.get_by_label("Golden hour").check()
    page.locator("#more summary").click()
    page.get_by_label("Shape").select_option("Portrait")
    page.get_by_label("Seed").fill("77")
    page.get_by_role("button", name="Paint it").click()
    page.wait_for_url(TASK_ADDRESS)
    first = page.url
    wait_until_painted(page)
    expect(page.locator(".own-words")).to_have_text(words)
    expect(page.get_by_role("img", name=words)).to_be_visible()
    expect(page.locator(".compare")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    row = row_of(backstage, page)
    assert (row.mode, row.prompt, row.style) == ("text-to-image", words, "golden")
    assert (row.width, row.height, row.seed, row.wants_gallery) == (768, 1024, 77, 0)
    asked = [heard.json()["prompt"] for heard in words_painter.asked(GENERATIONS)]
    assert any(words in prompt for prompt in asked)

    page.get_by_role("button", name="Paint it again").click()
    page.wait_for_url(lambda address: "/tasks/" in address and address != first)
    expect(page.locator(".own-words")).to_have_text(words)


def test_a_waiting_picture_from_words_shows_a_drawing(page: Page, held_painter: Callable[[], None]) -> None:
    """While words are waited for, the sheet holds a drawing in place of a photograph, and the words are quoted."""
    order_from_words(page, WORDS)
    expect(page.locator("#wash .landscape").first).to_be_visible()
    expect(page.locator("#wash img")).to_have_count(0)
    expect(page.locator(".own-words")).to_have_text(WORDS)


def test_missing_words_are_asked_for_before_anything_is_sent(page: Page) -> None:
    """Without words the page says what is missing and puts the focus there; nothing travels."""
    orders: list[str] = []
    page.on("request", lambda request: orders.append(request.url) if request.method == "POST" else None)
    page.goto("/?mode=text-to-image")
    page.get_by_role("button", name="Paint it").click()
    expect(page.get_by_role("alert")).to_contain_text("in a few words")
    expect(page.get_by_label("Say what to paint")).to_be_focused()
    assert not orders


def test_the_counter_follows_and_speaks_near_the_end(page: Page) -> None:
    """Every key moves the counter, a long text is cut at the limit, and only what is left at the end is spoken."""
    page.goto("/")
    words = page.get_by_label("A few words, if you like")
    words.press_sequentially("a cat")
    expect(page.locator("#prompt-count")).to_contain_text("5 of 1,000")
    expect(page.locator("#announcer")).to_be_empty()
    words.fill("x" * 990)
    words.press_sequentially("y" * 20)
    expect(page.locator("#prompt-count")).to_contain_text("1,000 of 1,000")
    expect(page.locator("#announcer")).to_have_text("0 characters left")
    assert len(words.input_value()) == 1000


def test_a_refused_field_is_shown_where_it_is(page: Page, page_problems: list[str]) -> None:
    """A size that no painter takes opens what hides it, marks it, keeps everything typed, and can be mended."""
    page.goto("/?mode=text-to-image")
    page.get_by_label("Say what to paint").fill(WORDS)
    page.locator("#more summary").click()
    page.get_by_label("Width").fill("5000")
    page.locator("#more summary").click()
    page.get_by_role("button", name="Paint it").click()
    expect(page.get_by_role("alert")).to_contain_text("from 256 to 1024")
    expect(page.get_by_label("Width")).to_be_focused()
    expect(page.get_by_label("Width")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Say what to paint")).to_have_value(WORDS)
    page.get_by_label("Width").fill("512")
    page.get_by_role("button", name="Paint it").click()
    page.wait_for_url(TASK_ADDRESS)
    page_problems[:] = [problem for problem in page_problems if "422" not in problem]


def test_a_photo_takes_words_size_seed_and_a_wish_for_the_gallery(
    page: Page, backstage: Flask, held_painter: Callable[[], None]
) -> None:
    """All that can be said beside a photo reaches its row."""
    page.goto("/")
    page.locator("#image").set_input_files(LANDSCAPE)
    page.get_by_label("A few words, if you like").fill("more lanterns")
    page.locator("#more summary").click()
    page.get_by_label("Size").select_option(label="Small, up to 512 pixels")
    page.get_by_label("Seed").fill("5")
    page.get_by_label("Show it in the gallery").check()
    page.get_by_role("button", name="Paint my photo").click()
    page.wait_for_url(TASK_ADDRESS)
    row = row_of(backstage, page)
    assert (row.mode, row.prompt, row.width, row.height) == ("image-to-image", "more lanterns", 512, 512)
    assert (row.seed, row.wants_gallery) == (5, 1)


def test_other_words_are_another_order(page: Page, page_problems: list[str]) -> None:
    """Sent again unchanged after a broken connection the key stays; with other words it is another one."""
    keys: list[str | None] = []

    def lose(route: Route, request: Request) -> None:
        keys.append(request.headers.get("idempotency-key"))
        route.abort()

    page.route("**/api/generate-image", lose)
    page.goto("/?mode=text-to-image")
    for words in (WORDS, WORDS, "something else"):
        page.get_by_label("Say what to paint").fill(words)
        with page.expect_request("**/api/generate-image"):
            page.get_by_role("button", name="Paint it").click()
        expect(page.get_by_role("alert")).to_contain_text("connection")
        expect(page.locator("#paint-button")).to_have_attribute("aria-disabled", "false")
    assert keys[0]
    assert keys[0] == keys[1] != keys[2]
    page_problems[:] = [problem for problem in page_problems if "ERR_FAILED" not in problem]


def test_a_photo_that_is_dropped_while_words_are_wanted_takes_the_easel(page: Page) -> None:
    """A photo handed over in the way of words turns the easel to photos, and the words are kept for it."""
    page.goto("/?mode=text-to-image")
    page.get_by_label("Say what to paint").fill(WORDS)
    page.evaluate(HAND_OVER, ["drop", list(LANDSCAPE.read_bytes())])
    expect(page.get_by_alt_text("handed-over.jpg")).to_be_visible()
    expect(page.get_by_label("From a photo")).to_be_checked()
    expect(page.get_by_label("A few words, if you like")).to_have_value(WORDS)


def test_words_alone_are_offered_only_when_somebody_paints_them(page: Page, switch: Callable[[str, str], None]) -> None:
    """With the one engine for words switched off, the easel takes photos only, words for them included."""
    switch("engine-openai", "off")
    page.goto("/?mode=text-to-image")
    expect(page.get_by_label("From words")).to_have_count(0)
    expect(page.locator("#sheet")).to_be_visible()
    expect(page.get_by_label("A few words, if you like")).to_be_visible()


@pytest.mark.parametrize("script", [True, False])
def test_a_closed_desk_says_so_before_anything_is_chosen(
    context_factory: OpenBrowser, switch: Callable[[str, str], None], script: bool
) -> None:
    """While the operator takes no orders the message stands above the easel, and the button tells why it is off."""
    switch("maintenance", "Pictures are taken again from 15:00.")
    page = context_factory(java_script_enabled=script).new_page()
    page.goto("/")
    expect(page.locator("#closed")).to_contain_text("Pictures are taken again from 15:00.")
    button = page.get_by_role("button", name="Paint my photo")
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description("We are tidying up Pictures are taken again from 15:00.")
