"""A finished picture's page: looked at up close, sent on, rated; by mouse, keyboard, fingers and without scripts."""

from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect

from ghibli_flask.services import files, ratings, tasks
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import Outcome
from tests.browser.conftest import order
from tests.browser.photos import LANDSCAPE
from tests.support import runs
from tests.support.visitor import photo

OpenBrowser = Callable[..., BrowserContext]

SHARE_SHEET = """
navigator.canShare = ({ files }) => %s && files.every((file) => file.type === "image/jpeg");
window.handed = new Promise((hand) => {
  navigator.share = async ({ files, url }) => hand(files ? [files[0].name, files[0].size] : url);
});
"""

SEEN = "window.seen = []; addEventListener('animationstart', (event) => seen.push(event.animationName));"


@pytest.fixture(autouse=True)
def _nobody_paints(held_painter: Callable[[], None]) -> None:
    """The worker is held: the test paints."""


def painted(page: Page, backstage: Flask) -> str:
    """Order a picture and have it painted, 1600 by 1200; the page comes to it by itself, or by reloading."""
    task_id = order(page, LANDSCAPE)
    run = runs.claim(backstage, task_id)
    with backstage.app_context():
        result = files.keep(photo(1600, 1200), "results", "jpg")
        assert tasks.settle(run.task_id, run.attempt, Ending(Outcome.PAINTED, result, engine="gradio"))
    if page.locator("noscript p").count():  # Without scripts it would reload itself in a few seconds.
        page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your picture is ready", timeout=15_000)
    return task_id


def told(backstage: Flask, task_id: str) -> list[tuple[str, str | None]]:
    """What the operator reads of this picture."""
    with backstage.app_context():
        return [(rated.verdict, rated.word) for rated in ratings.recent(20) if rated.task_id == task_id]


def test_a_picture_is_looked_at_up_close(page: Page, backstage: Flask) -> None:
    """By keyboard: whole, pixel by pixel, larger, moved; Escape closes it and the focus is where it was."""
    painted(page, backstage)
    opener = page.get_by_role("link", name="Look closer")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="The picture up close")
    expect(dialog).to_be_visible()
    view, value, image = (dialog.locator(name) for name in (".zoom__view", ".zoom__value", "img"))
    expect(view).to_be_focused()
    expect(value).to_have_text("62%")  # 740 of 1200 pixels: the window without the bar of buttons.
    expect(dialog.get_by_role("button", name="Smaller")).to_be_disabled()
    page.keyboard.press("1")
    expect(value).to_have_text("100%")
    assert image.evaluate("one => one.getBoundingClientRect().width") == 1600
    middle = view.evaluate("one => [one.scrollLeft, one.scrollTop]")
    page.keyboard.press("ArrowRight")
    assert view.evaluate("one => one.scrollLeft") > middle[0]
    dialog.get_by_role("button", name="Larger").click()
    expect(value).to_have_text("150%")
    before = view.evaluate("one => [one.scrollLeft, one.scrollTop]")
    page.mouse.move(600, 500)
    page.mouse.down()
    page.mouse.move(500, 450)
    page.mouse.up()
    assert view.evaluate("one => [one.scrollLeft, one.scrollTop]") == [before[0] + 100, before[1] + 50]
    dialog.get_by_role("button", name="Whole").click()
    expect(value).to_have_text("62%")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_two_fingers_enlarge_it_on_a_phone(context_factory: OpenBrowser, backstage: Flask) -> None:
    """At 360 px nothing is wider than the screen; a pinch enlarges the picture around the fingers, not the page."""
    context = context_factory(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    painted(page, backstage)
    page.get_by_role("link", name="Look closer").tap()
    value = page.locator(".zoom__value")
    expect(value).to_have_text("23%")
    assert page.locator(".zoom__bar").evaluate("one => one.scrollWidth <= one.clientWidth")
    fingers = context.new_cdp_session(page)
    for kind, spread in (("touchStart", 40), ("touchMove", 60), ("touchMove", 160), ("touchEnd", 0)):
        points = [{"x": 180 - spread, "y": 400, "id": 1}, {"x": 180 + spread, "y": 400, "id": 2}] if spread else []
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(value).to_have_text("90%")
    assert page.evaluate("visualViewport.scale") == 1


@pytest.mark.parametrize(("sends_files", "has_sheet"), [("true", True), ("false", True), ("false", False)])
def test_the_share_sheet_gets_the_picture_or_the_link(
    context_factory: OpenBrowser, backstage: Flask, sends_files: str, has_sheet: bool
) -> None:
    """The sheet gets the picture as a file where it takes files, else the link once there is one; else no button."""
    context = context_factory()
    if has_sheet:
        context.add_init_script(SHARE_SHEET % sends_files)
    page = context.new_page()
    task_id = painted(page, backstage)
    button = page.get_by_role("button", name="Send it on")
    if sends_files == "true":
        button.click()
        name, size = page.evaluate("handed")
        expect(page.locator("#send-words")).to_be_empty()
        assert name == f"painted-{task_id[:8]}.jpg"
        assert size == len(page.request.get(f"/api/image/{task_id}").body())
        return
    expect(button).to_be_hidden()
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("#share-link").input_value()
    page.reload()
    if has_sheet:
        button.click()
        assert page.evaluate("handed") == link
    else:
        expect(button).to_be_hidden()


def test_a_thumb_is_noted_at_once_and_its_word_after(page: Page, backstage: Flask) -> None:
    """The thumb is sent when it is chosen, the word by its button; both stand there again later, and can change."""
    task_id = painted(page, backstage)
    word = page.get_by_label("Why, in a few words?")
    expect(word).to_be_hidden()
    page.get_by_label("I like it").focus()
    page.keyboard.press("Space")
    expect(page.locator("[data-rating-words]")).to_have_text("Thank you. It is noted.")
    assert told(backstage, task_id) == [("up", None)]
    word.fill("The roof, 像真的一样")
    word.press("Enter")
    expect(page.locator("[data-rating-words]")).to_contain_text("with your words")
    assert told(backstage, task_id) == [("up", "The roof, 像真的一样")]
    page.reload()
    expect(page.get_by_label("I like it")).to_be_checked()
    expect(word).to_have_value("The roof, 像真的一样")
    page.get_by_label("Not quite").check()
    expect(page.locator("[data-rating-words]")).to_contain_text("Thank you")
    assert told(backstage, task_id) == [("down", "The roof, 像真的一样")]


def test_thumb_and_closer_look_work_without_script(context_factory: OpenBrowser, backstage: Flask) -> None:
    """The plain form notes thumb and word and says thank you; the link to look closer opens the picture itself."""
    page = context_factory(java_script_enabled=False, viewport={"width": 360, "height": 740}).new_page()
    task_id = painted(page, backstage)
    page.get_by_label("Not quite").check()
    page.get_by_label("Why, in a few words?").fill("too green")
    page.get_by_role("button", name="Send it", exact=True).click()
    expect(page.locator(".flash")).to_have_text("Thank you. It is noted.")
    expect(page.get_by_label("Not quite")).to_be_checked()
    assert told(backstage, task_id) == [("down", "too green")]
    page.get_by_role("link", name="Look closer").click()
    assert page.url.endswith(f"/api/image/{task_id}")


def test_a_picture_that_is_just_done_dries_in(context_factory: OpenBrowser, backstage: Flask) -> None:
    """Who watched sees the painting dry under the photograph; who comes later, or wants no motion, sees it at once."""
    page = context_factory().new_page()
    page.add_init_script(SEEN)
    painted(page, backstage)
    page.wait_for_timeout(700)
    assert {"wet", "unveil"} <= set(page.evaluate("seen"))
    page.reload()
    expect(page.locator(".compare.is-live")).to_be_visible()
    assert page.evaluate("seen") == []
    still = context_factory(reduced_motion="reduce").new_page()
    still.add_init_script(SEEN)
    painted(still, backstage)
    assert still.evaluate("seen") == []
