"""Pages are light: Lighthouse finds nothing to mend, nothing jumps while a page comes, and no script holds it up.

How quick they are is for `make lighthouse` to measure: on a machine that runs tests beside, speed says nothing.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page

from bench.pages import LEAST, ORDERS, Visit, audit, prepare
from tests.support.site import Site

JUDGED = {name: least for name, least in LEAST.items() if name != "performance"}
MOST_SHIFT = 0.01
SLOWER = 4
"""An old phone beside the machine of the tests."""
MOST_SCRIPT_S = 1.0

OBSERVE = """
window.shifts = [];
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
        const moved = entry.sources.map((one) => one.node?.outerHTML?.slice(0, 90));
        if (!entry.hadRecentInput) window.shifts.push([entry.value, moved]);
    }
}).observe({type: "layout-shift", buffered: true});
"""


@pytest.fixture(scope="module")
def visits(running_site: Site) -> dict[str, Visit]:
    """The pages with something on them: a picture that is painted, shared and hung."""
    running_site.mend()
    return {visit.name: visit for visit in prepare(running_site.url, ORDERS[:1])}


@pytest.mark.parametrize("name", ["home", "share"])
def test_lighthouse_finds_nothing_to_mend(visits: dict[str, Visit], name: str) -> None:
    """Accessibility, best practices and what search engines need have all points."""
    report = audit(visits[name])
    assert {key: report.points[key] for key in JUDGED} == JUDGED, report.faults


def settled(page: Page, address: str) -> Page:
    """Open a page, go down to its end and wait until nothing more comes."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.mouse.wheel(0, 4000)
    page.wait_for_load_state("networkidle")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page


@pytest.mark.parametrize("name", ["home", "gallery", "share", "task", "pictures"])
def test_nothing_jumps(context_factory: Callable[..., BrowserContext], visits: dict[str, Visit], name: str) -> None:
    """On a phone of 360 px nothing moves while a page, its type and its pictures come."""
    context = context_factory(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    context.add_init_script(OBSERVE)
    cookies = (one.split("=", 1) for one in visits["task"].cookie.split("; "))
    site = urlsplit(visits["task"].url)
    home = f"{site.scheme}://{site.netloc}"
    context.add_cookies([{"name": key, "value": value, "url": home} for key, value in cookies])
    page = settled(context.new_page(), visits[name].url if name in visits else f"{home}/{name}")
    shifts = page.evaluate("window.shifts")
    assert sum(value for value, _sources in shifts) < MOST_SHIFT, shifts


def test_an_old_phone_is_not_held_up(context_factory: Callable[..., BrowserContext], visits: dict[str, Visit]) -> None:
    """On a processor four times slower all scripts of the first page together take less than a second of its time."""
    page = context_factory(viewport={"width": 360, "height": 740}).new_page()
    devtools = page.context.new_cdp_session(page)
    # Time of the page's own thread: what other processes take meanwhile does not count.
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    settled(page, visits["home"].url)
    figures = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    assert 0 < figures["ScriptDuration"] < MOST_SCRIPT_S
