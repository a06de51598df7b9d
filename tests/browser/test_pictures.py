"""My pictures in a browser: pages that append themselves or are turned, choosing, deleting, and how it looks."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import create_engine, text

from tests.browser.conftest import TASK_ADDRESS, order, wait_until_painted
from tests.browser.photos import LANDSCAPE
from tests.support.browser import open_page
from tests.support.site import Site

PAGE = 24
FAILED = 30
SCREENS = [(360, 740), (768, 1024), (1280, 800)]

# The visitor's own order once more, as one that failed without a file.
COPY = """
INSERT INTO image_tasks (public_id, owner, payer, mode, prompt, style, seed, status, progress, stage, attempt, ring,
  deaths, handbacks, outcome, error_code, charged, refunded, paid_on, fingerprint, created_at, queued_at, deadline_at,
  finished_at, expires_at)
SELECT :public_id, owner, payer, mode, '', 'night', seed, 'failed', 0, 'queued', 1, 1, 0, 0, 'failed', 'internal', 1, 1,
  paid_on, fingerprint, created_at, queued_at, deadline_at, finished_at, expires_at
FROM image_tasks WHERE public_id = :of
"""


def fill(site: Site, task_id: str) -> None:
    """Give the owner of this order thirty more that failed."""
    engine = create_engine(site.env["DATABASE_URL"])
    with engine.begin() as connection:
        for _number in range(FAILED):
            connection.execute(text(COPY), {"public_id": uuid.uuid4().hex, "of": task_id})
    engine.dispose()


def with_pictures(page: Page, site: Site) -> str:
    """Have one picture painted and thirty failed after it; gives the painted one's id."""
    task_id = order(page, LANDSCAPE)
    wait_until_painted(page)
    fill(site, task_id)
    return task_id


def test_pages_append_themselves_and_stay_linkable(page: Page, site: Site) -> None:
    """Scrolling brings the older page, the address follows, and a reload opens where the reader was."""
    with_pictures(page, site)
    page.get_by_role("banner").get_by_role("link", name="My pictures").click()
    prints = page.locator(".own")
    expect(prints).to_have_count(PAGE)
    page.get_by_role("link", name="Older").scroll_into_view_if_needed()
    expect(prints).to_have_count(FAILED + 1)
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    expect(page.locator("#announcer")).to_have_text("7 more pictures")
    prints.last.scroll_into_view_if_needed()
    page.mouse.wheel(0, 5000)
    expect(page).to_have_url(re.compile("cursor=o"))
    page.reload()
    expect(prints).to_have_count(FAILED + 1 - PAGE)
    thumbnail = prints.last.get_by_role("img")
    expect(thumbnail).to_have_js_property("complete", value=True)
    ratio = thumbnail.evaluate("image => image.naturalWidth / image.naturalHeight")
    assert ratio == pytest.approx(1024 / 688, rel=0.02), "the print has the photograph's own shape"
    page.get_by_role("link", name="Newer").click()
    expect(prints).to_have_count(PAGE)


def test_ticked_pictures_are_counted_downloaded_and_deleted(page: Page, site: Site) -> None:
    """The bar shows how many are ticked; two come as a zip or alone; deleting asks first."""
    task_id = with_pictures(page, site)
    page.goto("/pictures")
    bar = page.locator("#chosen")
    expect(bar).to_be_hidden()
    for number in (0, 1):
        page.locator(".own input").nth(number).check()
    expect(bar).to_contain_text("2 chosen")
    bar.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete these 2 pictures?")).to_be_visible()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.locator(".flash")).to_have_text("2 pictures are deleted.")

    page.goto("/pictures?state=painted")
    page.locator(".own input").check()
    with page.expect_download() as download:
        bar.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == f"painted-{task_id[:8]}.jpg"
    bar.get_by_role("button", name="Untick all").click()
    expect(bar).to_be_hidden()


def test_everything_works_without_scripts(context_factory: Callable[..., BrowserContext], site: Site) -> None:
    """Without JavaScript pages are turned by links, ticks go with the form, and all pictures can be deleted."""
    page = context_factory(java_script_enabled=False).new_page()
    page.goto("/pictures")
    expect(page.get_by_role("heading", name="Nothing hangs here yet")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Paint a photo").click()
    page.locator("#image").set_input_files(LANDSCAPE)
    page.locator("#paint-button").click()
    page.wait_for_url(TASK_ADDRESS)
    task_id = page.url.rsplit("/", 1)[-1]
    page.get_by_role("button", name="Stop painting").click()
    fill(site, task_id)
    page.goto("/pictures")
    page.get_by_role("link", name="Older").click()
    expect(page.locator(".own")).to_have_count(FAILED + 1 - PAGE)
    page.get_by_role("link", name="Newer").click()
    page.get_by_role("link", name="Not painted").click()
    page.get_by_label("Summer night").first.check()
    page.locator("#chosen").get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.locator(".flash")).to_have_text("1 picture is deleted.")
    page.get_by_role("link", name="Delete all my pictures").click()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.locator(".flash")).to_have_text("All your pictures are deleted.")


def test_the_page_fits_every_screen(
    context_factory: Callable[..., BrowserContext], screenshot_dir: Path, site: Site
) -> None:
    """On a phone, a tablet and a desktop, in both themes, nothing scrolls sideways; each is kept as a screenshot."""
    problems: list[str] = []
    page = open_page(context_factory(reduced_motion="reduce"), problems)
    with_pictures(page, site)
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            for name, address in (("pictures", "/pictures"), ("pictures-painted", "/pictures?state=painted")):
                page.goto(address)
                page.wait_for_load_state("networkidle")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
                page.screenshot(path=screenshot_dir / f"{name}-{width}-{theme}.png")
    assert not problems, "\n".join(problems)
