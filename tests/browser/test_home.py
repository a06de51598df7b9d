"""The example on the first page: it shows once by itself that it can be pulled."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

OpenBrowser = Callable[..., BrowserContext]
SPLITS = """() => {
  const frame = document.querySelector("[data-sways] .compare__pictures");
  window.splits = [];
  new MutationObserver(() => window.splits.push(Number(frame.style.getPropertyValue("--split"))))
    .observe(frame, { attributes: true });
}"""

UNTIL_AT_REST = """() => new Promise((done) => {
  const look = () => (window.splits.length > 20 && window.splits.at(-1) === 50 ? done() : requestAnimationFrame(look));
  look();
})"""
UNTIL_IT_SWAYS = """() => new Promise((done) => {
  const look = () => (window.splits.length > 5 ? done() : requestAnimationFrame(look));
  look();
})"""


def watched(context: BrowserContext) -> Page:
    """The first page with its example in view, and every place that the brush takes written down."""
    page = context.new_page()
    page.goto("/")
    example = page.locator("[data-sways].is-live")
    expect(example).to_have_count(1)
    page.evaluate(SPLITS)
    example.scroll_into_view_if_needed()
    return page


@pytest.mark.parametrize("width", [360, 1280])
def test_the_brush_sways_once_and_rests(context_factory: OpenBrowser, width: int) -> None:
    """The brush goes to both sides and back to the middle, where the slider has stood all the time."""
    page = watched(context_factory(viewport={"width": width, "height": 740}))
    page.evaluate(UNTIL_AT_REST)
    assert page.evaluate("Math.min(...window.splits)") < 40
    assert page.evaluate("Math.max(...window.splits)") > 55
    expect(page.get_by_role("slider").first).to_have_value("50")


def test_the_brush_stays_where_somebody_pulls_it(context_factory: OpenBrowser) -> None:
    """Whoever takes hold of the brush while it sways has it from then on."""
    page = watched(context_factory())
    page.evaluate(UNTIL_IT_SWAYS)
    page.get_by_role("slider").first.press("Home")
    count = page.evaluate("window.splits.length")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("window.splits.at(-1)") == 0
    assert page.evaluate("window.splits.length") == count


def test_nothing_sways_for_whom_motion_disturbs(context_factory: OpenBrowser) -> None:
    """With reduced motion the brush stays in the middle."""
    page = watched(context_factory(reduced_motion="reduce"))
    page.evaluate("() => new Promise((done) => setTimeout(done, 300))")
    assert page.evaluate("window.splits") == []
