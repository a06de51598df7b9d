"""The whole road of a visitor in a real browser, against the running product."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import PAINTED_WITHIN_MS, order, wait_until_painted
from tests.browser.photos import LANDSCAPE, size_of

OpenBrowser = Callable[..., BrowserContext]


def test_a_photo_becomes_a_picture_that_can_be_kept(page: Page, tmp_path: Path) -> None:
    """Choosing a photo and a light, pressing the button and waiting ends with a picture in the photo's own shape."""
    page.goto("/")
    page.locator("#image").set_input_files(LANDSCAPE)
    expect(page.get_by_alt_text("china.jpg")).to_be_visible()
    page.get_by_label("Golden hour").check()
    page.get_by_role("button", name="Paint my photo").click()

    page.wait_for_url("**/tasks/*")
    wait_until_painted(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your picture is ready")
    expect(page.locator("#task")).to_contain_text("Golden hour")
    assert page.title().startswith("Your picture is ready")
    assert "favicon-done" in (page.locator('link[rel="icon"]').get_attribute("href") or "")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "picture")
    width, height = size_of((tmp_path / "picture").read_bytes())
    photo_width, photo_height = size_of(LANDSCAPE.read_bytes())
    assert height == round(width * photo_height / photo_width)


def test_progress_is_told_and_never_goes_back(page: Page) -> None:
    """While a picture is painted the bar only rises, and the stage is announced without moving the focus."""
    page.add_init_script("""
        window.shown = [];
        window.said = new Set();
        addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
            const bar = document.getElementById("bar");
            if (bar) window.shown.push(bar.value);
            window.said.add(document.getElementById("announcer").textContent);
        }).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true}));
    """)
    order(page, LANDSCAPE)
    wait_until_painted(page)
    shown = page.evaluate("window.shown")
    assert shown, "the bar was never drawn"
    assert shown == sorted(shown)
    assert "Your picture is ready" in page.evaluate("[...window.said]")


def test_the_brush_moves_by_keyboard_mouse_and_touch(page: Page, context_factory: OpenBrowser) -> None:
    """One comparison, three ways to pull it: arrow keys, a mouse drag and a tap of the thumb."""
    order(page, LANDSCAPE)
    wait_until_painted(page)
    slider = page.get_by_role("slider")
    expect(slider).to_have_value("50")

    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("51")
    expect(slider).to_have_attribute("aria-valuetext", "51% photograph, 49% painting")

    frame = page.locator(".compare__half--after").bounding_box()
    assert frame is not None
    middle = frame["y"] + frame["height"] / 2
    page.mouse.move(frame["x"] + frame["width"] * 0.5, middle)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] * 0.2, middle, steps=4)
    page.mouse.up()
    expect(slider).to_have_value("20")

    phone = context_factory(
        viewport={"width": 360, "height": 740}, has_touch=True, storage_state=page.context.storage_state()
    ).new_page()
    phone.goto(page.url)
    expect(phone.locator(".compare.is-live")).to_be_visible()
    frame = phone.locator(".compare__half--after").bounding_box()
    assert frame is not None
    phone.touchscreen.tap(frame["x"] + frame["width"] * 0.8, frame["y"] + frame["height"] * 0.3)
    expect(phone.get_by_role("slider")).to_have_value("80")


def test_a_reload_keeps_the_picture_and_a_stranger_gets_it_without_the_photo(
    page: Page, context_factory: OpenBrowser
) -> None:
    """The address shows the same state again; in another browser it shows the painting, with nothing to order."""
    task_id = order(page, LANDSCAPE)
    wait_until_painted(page)
    page.reload()
    wait_until_painted(page)
    expect(page.get_by_role("slider")).to_be_visible()

    stranger = context_factory().new_page()
    stranger.goto(f"/tasks/{task_id}")
    expect(stranger.get_by_role("img", name="The painted picture")).to_be_visible()
    expect(stranger.get_by_role("slider")).to_have_count(0)
    expect(stranger.locator("#task form")).to_have_count(0)
    assert stranger.request.get(f"/api/image/{task_id}/original").status in (403, 404)


@pytest.mark.parametrize(("locale", "width"), [("en-GB", 1280), ("zh-CN", 360)])
def test_the_road_needs_no_script(context_factory: OpenBrowser, screenshot_dir: Path, locale: str, width: int) -> None:
    """Without JavaScript the form is sent, the waiting page renews itself, and both pictures stand side by side."""
    viewport = {"width": width, "height": 800}
    page = context_factory(java_script_enabled=False, locale=locale, viewport=viewport).new_page()
    page.goto("/")
    expect(page.locator("#image")).to_be_visible()
    page.screenshot(path=screenshot_dir / f"home-without-script-{locale}.png", full_page=True)
    page.locator("#image").set_input_files(LANDSCAPE)
    page.locator("[name=style][value=watercolour]").check()
    page.locator("#paint-button").click()
    page.wait_for_url("**/tasks/*")
    expect(page.locator("#task.task--success")).to_be_visible(timeout=PAINTED_WITHIN_MS)
    for picture in page.locator(".compare__half img").all():
        expect(picture).to_be_visible()
    page.screenshot(path=screenshot_dir / f"result-without-script-{locale}.png", full_page=True)


def test_the_form_without_script_says_what_was_wrong(context_factory: OpenBrowser, tmp_path: Path) -> None:
    """Without JavaScript a file that is no picture brings the form back with the sentence and the chosen style."""
    text = tmp_path / "notes.jpg"
    text.write_text("This is a shopping list.")
    page = context_factory(java_script_enabled=False).new_page()
    page.goto("/")
    page.locator("#image").set_input_files(text)
    page.get_by_label("Summer night").check()
    page.locator("#paint-button").click()
    expect(page.get_by_role("alert")).to_contain_text("picture")
    expect(page.get_by_label("Summer night")).to_be_checked()


def test_another_look_is_a_new_picture_of_the_same_photo(page: Page) -> None:
    """Choosing another look on a finished picture's page orders it anew and leaves the first as it is."""
    first = order(page, LANDSCAPE)
    wait_until_painted(page)
    page.get_by_label("Summer night").check()
    page.get_by_role("button", name="Paint it in this look").click()
    page.wait_for_url(lambda address: "/tasks/" in address and first not in address)
    wait_until_painted(page)
    expect(page.locator("#task")).to_contain_text("Summer night")
    assert page.request.get(f"/api/image/{first}").ok


def test_a_deleted_picture_is_gone(page: Page, page_problems: list[str]) -> None:
    """Deleting takes two presses, leads home, and leaves a plain page at the old address."""
    task_id = order(page, LANDSCAPE)
    wait_until_painted(page)
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url(lambda address: "/tasks/" not in address)
    assert page.goto(f"/tasks/{task_id}").status == 404
    expect(page.get_by_role("link", name="Back to the easel")).to_be_visible()
    page_problems[:] = [problem for problem in page_problems if "404" not in problem]
