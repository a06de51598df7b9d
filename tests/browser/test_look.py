"""How the pages look on a phone, a tablet and a desktop in both themes: kept as screenshots, and measured."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Response, expect

from tests.browser.conftest import order, wait_until_painted
from tests.browser.photos import LANDSCAPE
from tests.support.browser import open_page

SCREENS = [(360, 740), (768, 1024), (1280, 800)]
MOST_BYTES_OF_HOME = 60_000


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_every_page_fits_its_screen(
    context_factory: Callable[..., BrowserContext],
    held_painter: Callable[[], None],
    screenshot_dir: Path,
    width: int,
    height: int,
    theme: str,
) -> None:
    """No page scrolls sideways or reports a problem, on any screen in any theme; each is kept as a screenshot."""
    problems: list[str] = []
    context = context_factory(
        viewport={"width": width, "height": height}, color_scheme=theme, has_touch=width < 700, is_mobile=width < 700
    )
    page = open_page(context, problems)

    def keep(name: str) -> None:
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
        page.screenshot(path=screenshot_dir / f"{name}-{width}-{theme}.png")

    page.goto("/")
    keep("home")
    page.get_by_label("From words").check()
    page.locator("#more summary").click()
    keep("home-words")
    page.goto("/api/docs")
    keep("reference")
    order(page, LANDSCAPE)
    expect(page.locator("[data-waiting-message]")).not_to_be_empty()
    keep("waiting")
    held_painter()
    wait_until_painted(page)
    expect(page.locator(".compare.is-live")).to_be_visible()
    keep("result")
    assert not problems, "\n".join(problems)
    page.goto("/nothing-here")
    keep("error")


def test_a_phone_shows_easel_styles_and_button_without_scrolling(
    context_factory: Callable[..., BrowserContext],
) -> None:
    """At 360 by 740 sheet, style row and button are in view at once: empty, with a photo, and for words."""
    page = context_factory(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True).new_page()

    def assert_in_view(*pieces: str) -> None:
        for piece in pieces:
            box = page.locator(piece).bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= 740, f"{piece} ends at {box['y'] + box['height']}"

    page.goto("/")
    assert_in_view(".ways", "#sheet", "#prompt", ".styles", "#paint-button")
    page.locator("#image").set_input_files(LANDSCAPE)
    expect(page.get_by_alt_text("china.jpg")).to_be_visible()
    assert_in_view(".ways", "#sheet", "#prompt", ".styles", "#paint-button")
    page.get_by_label("From words").check()
    expect(page.locator("#sheet")).to_be_hidden()
    assert_in_view(".ways", "#prompt", ".styles", "#paint-button")


def test_the_first_page_is_light(page: Page) -> None:
    """Markup, styles, scripts and font of the first page stay within 60 kB as they are sent, pictures not counted.

    Static files come compressed from the application, the page is compressed by nginx (gzip level 6).
    """
    weights: dict[str, int] = {}

    def weigh(response: Response) -> None:
        if response.request.resource_type in ("document", "stylesheet", "script", "font"):
            is_page = response.request.resource_type == "document"
            sent = len(gzip.compress(response.body(), 6)) if is_page else int(response.headers["content-length"])
            weights[response.url] = sent

    page.on("response", weigh)
    page.goto("/")
    page.wait_for_load_state("networkidle")
    assert any(address.endswith(".woff2") for address in weights)
    assert sum(weights.values()) < MOST_BYTES_OF_HOME, weights


def test_pages_bring_everything_themselves(page: Page) -> None:
    """Nothing on the first page comes from another host, and nothing needs what the content policy forbids."""
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None)
    answer = page.goto("/")
    page.wait_for_load_state("networkidle")
    assert answer is not None
    assert hosts == {page.url.split("/")[2]}
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy


def test_zoom_and_calm_are_honoured(context_factory: Callable[..., BrowserContext]) -> None:
    """At 200 % of a small desktop nothing is cut off, and reduced motion switches every animation off."""
    page = context_factory(viewport={"width": 640, "height": 400}, reduced_motion="reduce").new_page()
    page.goto("/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    page.locator("#image").set_input_files(LANDSCAPE)
    expect(page.locator(".prints__item")).to_have_css("animation-name", "none")
