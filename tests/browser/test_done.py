"""The moment at which a picture is done, for who does not look: tab, notification, tray; and what runs on after."""

from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import hand_in, order
from tests.browser.photos import ANIMAL, LANDSCAPE
from tests.support import runs
from tests.support.browser import open_page

OpenBrowser = Callable[..., BrowserContext]

# Headless pages are never hidden by themselves; `hide(true)` is what a browser does when the tab is left.
HIDING = """
let hidden = false;
Object.defineProperty(document, "visibilityState", { get: () => (hidden ? "hidden" : "visible") });
window.hide = (value) => { hidden = value; document.dispatchEvent(new Event("visibilitychange")); };
"""

# A line that is back lets a page ask at once, hidden or not.
ASK_NOW = "dispatchEvent(new Event('online'))"

# Every notification that the page itself shows, and a press on it.
OWN_NOTIFICATIONS = """
window.shown = [];
window.Notification = class extends Notification {
  constructor(title, options) {
    super(title, options);
    shown.push([title, options.body, options.tag]);
    window.last = this;
  }
};
"""

# What is shown, waited for: the tab's title changes a moment earlier.
SHOWN = """(async () => {
  for (;;) {
    const shown = %s;
    if (shown.length) return shown;
    await new Promise((goOn) => setTimeout(goOn, 50));
  }
})()"""
SHOWN_BY_WORKER = SHOWN % (
    "(await (await navigator.serviceWorker.ready).getNotifications()).map((one) => [one.title, one.body, one.data.url])"
)
SHOWN_BY_PAGE = SHOWN % "window.shown"

TIMERS = """
window.running = new Set();
for (const [start, stop, repeats] of [["setTimeout", "clearTimeout", false], ["setInterval", "clearInterval", true]]) {
  const [starts, stops] = [window[start].bind(window), window[stop].bind(window)];
  window[start] = (work, pause, ...rest) => {
    const id = starts((...given) => { if (!repeats) running.delete(id); work(...given); }, pause, ...rest);
    running.add(id);
    return id;
  };
  window[stop] = (id) => { running.delete(id); stops(id); };
}
"""


@pytest.fixture(autouse=True)
def _nobody_paints(held_painter: Callable[[], None]) -> None:
    """The worker is held: what happens to a task here is done by the test."""


def polls_of(page: Page) -> list[str]:
    """A list that grows with every question after a task."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "poll-task" in request.url else None)
    return asked


@pytest.mark.parametrize("workers", ["allow", "block"])
def test_who_asked_for_it_is_told_while_the_page_is_hidden(
    context_factory: OpenBrowser, backstage: Flask, page_problems: list[str], workers: str
) -> None:
    """One press on the quiet button and a hidden page shows one notification, by service worker or by itself."""
    context = context_factory(permissions=["notifications"], service_workers=workers)
    context.add_init_script(HIDING)
    if workers == "block":
        context.add_init_script(OWN_NOTIFICATIONS)
    page = open_page(context, page_problems)
    task_id = order(page, LANDSCAPE)
    button = page.get_by_role("button", name="Tell me when it is painted")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".tell")).to_contain_text("Your browser will tell you.")
    page.reload()
    expect(button).to_have_attribute("aria-pressed", "true")
    if workers == "allow":
        page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    page.evaluate("hide(true)")
    runs.paint(backstage, task_id)
    page.evaluate(ASK_NOW)
    expect(page).to_have_title("Your picture is ready · Painted Window")
    assert "favicon-done" in (page.locator('link[rel="icon"]').get_attribute("href") or "")
    expect(page.locator(".task--success")).to_be_visible()
    shown = page.evaluate(SHOWN_BY_WORKER if workers == "allow" else SHOWN_BY_PAGE)
    if workers == "block":
        page.evaluate("window.focused = 0; window.focus = () => (focused += 1); last.dispatchEvent(new Event('click'))")
        assert page.evaluate("focused") == 1
    assert shown == [["Your picture is ready", "Painted Window", f"/tasks/{task_id}"]]


def test_nobody_is_told_unasked(context_factory: OpenBrowser, backstage: Flask) -> None:
    """Where notifications are refused no button shows; where they are allowed, a page that nobody asked shows none."""
    refusing = context_factory(permissions=["geolocation"]).new_page()  # And so no other.
    order(refusing, ANIMAL)
    assert refusing.evaluate("Notification.permission") == "denied"
    expect(refusing.locator("[data-waiting-message]")).not_to_be_empty()
    expect(refusing.locator("[data-tell-box]")).to_be_hidden()
    context = context_factory(permissions=["notifications"], service_workers="block")
    context.add_init_script(HIDING + OWN_NOTIFICATIONS)
    other = context.new_page()
    task_id = order(other, LANDSCAPE)
    button = other.get_by_role("button", name="Tell me when it is painted")
    button.click()
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    other.evaluate("hide(true)")
    runs.paint(backstage, task_id)
    other.evaluate(ASK_NOW)
    expect(other.locator(".task--success")).to_be_visible()
    assert other.evaluate("shown") == []


def test_a_hidden_page_is_quiet_and_a_finished_one_silent(
    context_factory: OpenBrowser, backstage: Flask, page_problems: list[str]
) -> None:
    """Hidden, it asks at most every 15 s and turns no messages; seen again it asks at once; done, no timer is left."""
    context = context_factory()
    context.add_init_script(HIDING)
    page = open_page(context, page_problems)
    page.clock.install()
    page.add_init_script(TIMERS)  # Counts on top of the clock that the test moves.
    task_id = order(page, LANDSCAPE)
    left = page.locator("[data-promise-left]")
    first = left.inner_text()
    page.clock.run_for(2000)
    expect(left).not_to_have_text(first)
    page.evaluate("hide(true)")
    page.clock.run_for(20_000)  # What was asked for before it was hidden comes still, and one question more.
    asked = polls_of(page)
    note, clock = page.locator("[data-waiting-message]").inner_text(), left.inner_text()
    page.clock.run_for(14_000)
    page.wait_for_timeout(100)
    assert len(asked) <= 1
    assert (page.locator("[data-waiting-message]").inner_text(), left.inner_text()) == (note, clock)

    with page.expect_request("**/api/poll-task*"):
        page.evaluate("hide(false)")
        page.clock.run_for(10)
    runs.paint(backstage, task_id)
    page.clock.run_for(5000)
    expect(page.locator(".task--success")).to_be_visible()
    assert page.evaluate("running.size") == 0
    del asked[:]
    page.evaluate("hide(true)")
    page.evaluate("hide(false)")
    page.clock.run_for(60_000)
    assert asked == []


def test_the_tray_tells_of_all_its_pictures(
    context_factory: OpenBrowser, backstage: Flask, page_problems: list[str]
) -> None:
    """Several at once: the tab counts them, a broken line is said of each, and what is done can be put away."""
    context = context_factory(viewport={"width": 360, "height": 740})
    context.add_init_script(HIDING)
    page = open_page(context, page_problems)
    hand_in(page, LANDSCAPE, ANIMAL)
    entries = page.locator("#tray-list li")
    links = entries.locator("a[href]")
    expect(links).to_have_count(2)
    expect(page).to_have_title("0 of 2 ready · Painted Window · a photograph, painted by hand")
    context.set_offline(True)
    for number in range(2):
        expect(entries.nth(number)).to_contain_text("No connection just now")
    context.set_offline(False)
    for number in range(2):
        expect(entries.nth(number)).not_to_contain_text("No connection")
    page.evaluate("hide(true)")
    for number in range(2):
        runs.paint(backstage, str(links.nth(number).get_attribute("href")).rsplit("/", 1)[-1])
    page.evaluate(ASK_NOW)
    expect(page).to_have_title("2 of 2 ready · Painted Window · a photograph, painted by hand")
    assert "favicon-done" in (page.locator('link[rel="icon"]').get_attribute("href") or "")
    page.evaluate("hide(false)")
    expect(page).to_have_title("Painted Window · a photograph, painted by hand")
    page.get_by_role("button", name=f"Put {LANDSCAPE.name} away").click()
    expect(entries).to_have_count(1)
    expect(entries.locator("a")).to_be_focused()
    page.reload()
    expect(entries).to_have_count(1)
    expect(entries).to_contain_text("Ready to look at")
    page_problems[:] = [problem for problem in page_problems if "ERR_INTERNET_DISCONNECTED" not in problem]
    assert page_problems == []
