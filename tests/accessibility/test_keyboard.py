"""The roads of a visitor who has no mouse: every step by Tab, Enter, Space and arrows, with the focus in sight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ghibli_flask.services import progress
from ghibli_flask.services import runs as running
from ghibli_flask.task_states import Outcome, Stage
from tests.accessibility.conftest import LANGUAGES, Open
from tests.accessibility.keyboard import press_on, stop, tab_to
from tests.accessibility.open_site import OpenSite, photograph
from tests.support import runs

PATIENCE_MS = 10_000

TELL_WHAT_IS_SAID = """
window.said = [];
addEventListener("DOMContentLoaded", () => new MutationObserver((changes) => {
  for (const { target } of changes) {
    const element = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
    const region = element?.closest("[role=status], [role=alert], [aria-live=polite], [aria-live=assertive]");
    if (region && region.textContent.trim()) window.said.push(region.textContent.trim());
  }
}).observe(document.body, { subtree: true, childList: true, characterData: true }));
"""
"""Keeps each change of a live region, which is what a screen reader says of its own accord."""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photograph that nobody has ordered yet."""
    (tmp_path / "lake.jpg").write_bytes(photograph())
    return tmp_path / "lake.jpg"


@pytest.fixture(params=LANGUAGES)
def page(request: pytest.FixtureRequest, browser_of: Open, open_site: OpenSite) -> Iterator[Page]:
    """A new visitor's browser, in each language."""
    context = browser_of(language=request.param)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("filechooser", lambda _chooser: None)  # From now on the browser's own dialog is handed to the test.
    yield page
    context.close()


def choose_photo(page: Page, photo: Path) -> None:
    """Tab to the easel and open the browser's own dialog with Enter."""
    tab_to(page, page.locator("#image"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    expect(page.get_by_alt_text(photo.name)).to_be_visible()


def order(page: Page, photo: Path) -> str:
    """Order a picture by keyboard; gives its id once its page is there."""
    page.goto("/")
    choose_photo(page, photo)
    press_on(page, page.locator("#paint-button"))
    page.wait_for_url("**/tasks/*")
    return page.url.rsplit("/", 1)[-1]


def test_the_main_road_needs_no_mouse(page: Page, open_site: OpenSite, photo: Path) -> None:
    """Photo, look, order, waiting, comparison, close look, link and deletion by keyboard, every stop in sight."""
    page.goto("/")
    page.keyboard.press("Tab")
    assert 'class="skip"' in stop(page)
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    choose_photo(page, photo)
    tab_to(page, page.locator("#style-ghibli"))
    page.keyboard.press("ArrowRight")
    expect(page.locator("[name=style]:checked")).not_to_have_value("ghibli")
    stop(page)
    press_on(page, page.locator("#paint-button"))
    page.wait_for_url("**/tasks/*")
    task_id = page.url.rsplit("/", 1)[-1]

    tab_to(page, page.locator("[data-action=cancel] button"))
    runs.paint(open_site.app, task_id)
    expect(page.locator("#task.task--success")).to_be_visible()
    expect(page.locator("#headline")).to_be_focused()

    slider = page.get_by_role("slider")
    page.locator("#main").focus()
    tab_to(page, slider)
    before = slider.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("51")
    expect(slider).not_to_have_attribute("aria-valuetext", before or "")

    look_closer = page.locator("[data-zoom]")
    press_on(page, look_closer)
    expect(page.locator("#zoom")).to_be_visible()
    page.keyboard.press("+")
    stop(page)
    page.keyboard.press("Escape")
    expect(page.locator("#zoom")).to_be_hidden()
    expect(look_closer).to_be_focused()

    press_on(page, page.locator("#share [name=in_gallery]"), "Space")
    press_on(page, page.locator("#share .share-form button"))
    expect(page.locator("#share-link")).to_be_focused()
    stop(page)
    press_on(page, page.locator("details:has([data-action=delete]) > summary"))
    press_on(page, page.locator("[data-action=delete] button"))
    page.wait_for_url(lambda address: "/tasks/" not in address)
    answer = page.goto(f"/tasks/{task_id}")
    assert answer is not None
    assert answer.status == 404


def test_a_refused_field_gets_the_focus(page: Page) -> None:
    """What the server refuses is said, and the focus goes to the field that is meant, out of its fold."""
    page.goto("/?mode=text-to-image")
    tab_to(page, page.locator("#prompt"))
    page.keyboard.type("a harbour at dusk")
    press_on(page, page.locator("#more summary"))
    tab_to(page, page.locator("#width"))
    page.keyboard.type("5000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("#width")).to_be_focused()
    expect(page.locator("#width")).to_have_attribute("aria-invalid", "true")
    stop(page)


def test_a_form_that_comes_back_begins_with_what_is_wrong(page: Page) -> None:
    """After a sign-in that failed the focus is on the sentence that says why, just before the fields."""
    page.goto("/auth/signin")
    expect(page.locator("#email")).to_be_focused()
    page.keyboard.type("nobody@example.org")
    tab_to(page, page.locator("#password"))
    page.keyboard.type("wrong and long enough")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#email")).to_be_focused()


def test_older_pictures_come_without_taking_the_place(browser_of: Open) -> None:
    """When history grows at its end the focus stays; on the link that goes away it moves to the first that came."""
    page = browser_of("ada", viewport={"width": 1280, "height": 480}).new_page()
    page.goto("/pictures")
    known = page.locator(".own__place").count()
    page.locator("#older a").focus()  # This brings the end into view, where the older page is asked for.
    expect(page.locator("#older")).to_have_count(0)
    expect(page.locator(".own__place").nth(known)).to_be_focused()
    page.keyboard.press("Tab")
    stop(page)


def test_progress_does_not_chatter(page: Page, open_site: OpenSite, photo: Path) -> None:
    """Of a painting in many steps only the stages and the end are said, politely and in one place."""
    page.add_init_script(TELL_WHAT_IS_SAID)
    task_id = order(page, photo)
    run = runs.claim(open_site.app, task_id)
    for percent in range(5, 100, 5):
        stage = Stage.CONNECTING if percent < 10 else Stage.PAINTING if percent < 90 else Stage.SAVING
        with open_site.app.app_context():
            assert running.beat(run, percent, stage, "gradio")
            progress.publish(progress.look_up(task_id))
        expect(page.locator("#bar")).to_have_js_property("value", percent)
    assert runs.settle(open_site.app, run, Outcome.PAINTED)
    expect(page.locator("#task.task--success")).to_be_visible()
    said = page.evaluate("window.said")
    assert page.locator("#headline").inner_text() in said[-1]
    assert len(said) == len(set(said)), "nothing is said twice"
    assert len(said) <= len(Stage), said
    assert page.locator("[aria-live=assertive]").count() == 0


def test_the_notes_on_the_margin_are_not_said(page: Page, open_site: OpenSite) -> None:
    """While a picture waits in the queue the notes on the margin change for the eye alone."""
    page.add_init_script(TELL_WHAT_IS_SAID)
    page.clock.install()
    page.goto(f"/tasks/{open_site.ids['waiting']}")
    note = page.locator("[data-waiting-message]")
    expect(note).not_to_be_empty()
    notes = {note.inner_text()}
    for _turn in range(5):
        before = note.inner_text()
        page.clock.run_for(5000)
        expect(note).not_to_have_text(before)
        notes.add(note.inner_text())
    assert notes.isdisjoint(page.evaluate("window.said"))
