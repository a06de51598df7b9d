"""Sharing in a real browser: the panel, what others see, the gallery, and how the pages look."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import order, wait_until_painted
from tests.browser.photos import LANDSCAPE
from tests.support.browser import open_page

SCREENS = [(360, 740), (768, 1024), (1280, 800)]


def share(page: Page, *boxes: str) -> str:
    """Make a link on the page of a finished picture with these boxes ticked; gives its address."""
    for name in boxes:
        page.locator(f"#share [name={name}]").check()
    page.get_by_role("button", name="Make a link").click()
    expect(page.locator("#share-link")).to_be_focused()
    return page.locator("#share-link").input_value()


def test_a_picture_is_shared_seen_and_taken_back(page: Page, context_factory: Callable[..., BrowserContext]) -> None:
    """The link opens elsewhere with photograph and painting, hangs in the gallery, and ends when its owner says so."""
    order(page, LANDSCAPE)
    wait_until_painted(page)
    address = share(page, "show_original", "in_gallery")
    other = open_page(context_factory(), [])
    other.goto(address)
    expect(other.locator(".compare.is-live")).to_be_visible()
    expect(other.get_by_text("Made by AI")).to_be_visible()
    expect(other.locator("#share")).to_have_count(0)
    other.get_by_role("link", name="More in the gallery").click()
    item = other.locator(f".wall__item a[href='/share/{address.rsplit('/', 1)[-1]}']")
    expect(item).to_be_visible()

    page.locator("#share [name=show_original]").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#share-link")).to_be_focused()  # The panel that came back.
    expect(page.locator("#announcer")).to_have_text("The link is up to date.")
    item.click()
    expect(other.locator("h1")).to_be_visible()
    expect(other.locator(".compare")).to_have_count(0)

    page.get_by_role("button", name="Take the link back").click()
    expect(page.get_by_role("button", name="Make a link")).to_be_visible()
    answer = other.reload()
    assert answer is not None
    assert answer.status == 404


def test_sharing_works_without_scripts(context_factory: Callable[..., BrowserContext]) -> None:
    """Forms alone make a link, change it, and report it from another browser."""
    page = context_factory(java_script_enabled=False).new_page()
    page.goto("/")
    page.locator("#image").set_input_files(LANDSCAPE)
    page.locator("#paint-button").click()
    expect(page.locator("#task.task--success")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Make a link").click()
    address = page.locator("#share-link").input_value()
    page.locator("#share [name=in_gallery]").check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#share [name=in_gallery]")).to_be_checked()
    other = context_factory(java_script_enabled=False).new_page()
    other.goto(address)
    other.get_by_text("Report this picture").click()
    other.get_by_label("Something else").check()
    other.get_by_role("button", name="Report it").click()
    expect(other.get_by_text("A person will look at it.").first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shared_pages_fit_their_screens(
    context_factory: Callable[..., BrowserContext], screenshot_dir: Path, theme: str
) -> None:
    """Panel, page and gallery scroll sideways on no screen, shift nothing, report nothing; each is kept."""
    problems: list[str] = []
    page = open_page(context_factory(color_scheme=theme), problems)
    order(page, LANDSCAPE)
    wait_until_painted(page)
    panel, address = page.url, share(page, "show_original", "in_gallery")
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        for name, place in (("share-panel", f"{panel}#share"), ("share", address), ("gallery", "/gallery")):
            page.goto(place)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
            page.screenshot(path=screenshot_dir / f"{name}-{width}-{theme}.png")
        assert page.evaluate(SHIFTS) < 0.01
    assert not problems, "\n".join(problems)


SHIFTS = """() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; })
    .observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => setTimeout(() => resolve(sum), 50));
})"""
