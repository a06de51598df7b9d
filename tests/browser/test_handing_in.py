"""Every way to hand a photograph to the page, and what happens to it before it travels."""

from base64 import b64decode
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.browser.conftest import TASK_ADDRESS, hand_in, order, wait_until_painted
from tests.browser.photos import ANIMAL, LANDSCAPE, heic, large_rotated, size_of

# Chromium does not show the body of a request that holds a file, so the photo is read as it is handed to the network.
TELL_WHAT_IS_SENT = """
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (form) {
    const reader = new FileReader();
    reader.onload = async () => {
        await window.tellSent(reader.result);
        send.call(this, form);
    };
    reader.readAsDataURL(form.get("image"));
};
"""

HAND_OVER = """([event, bytes]) => {
    const file = new File([new Uint8Array(bytes)], "handed-over.jpg", {type: "image/jpeg"});
    const carrier = new DataTransfer();
    carrier.items.add(file);
    const options = {bubbles: true, cancelable: true};
    if (event === "paste") {
        document.body.dispatchEvent(new ClipboardEvent("paste", {...options, clipboardData: carrier}));
    } else {
        document.body.dispatchEvent(new DragEvent("dragenter", {...options, dataTransfer: carrier}));
        document.body.dispatchEvent(new DragEvent("drop", {...options, dataTransfer: carrier}));
    }
}"""


def is_order(request: Request) -> bool:
    return request.method == "POST" and request.url.endswith("/api/generate-image")


def photo_sent(page: Page, photo: Path) -> bytes:
    """Order a picture and give the bytes that the page really handed to the network."""
    sent: list[str] = []
    page.expose_function("tellSent", lambda address: sent.append(address))
    page.add_init_script(TELL_WHAT_IS_SENT)
    order(page, photo)
    return b64decode(sent[0].split(",", 1)[1])


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_photo_can_be_dropped_and_pasted_anywhere(page: Page, event: str) -> None:
    """A file dropped or pasted on the page lies on the easel as if it had been chosen."""
    page.goto("/")
    page.evaluate(HAND_OVER, [event, list(LANDSCAPE.read_bytes())])
    expect(page.get_by_alt_text("handed-over.jpg")).to_be_visible()
    expect(page.locator("#drop-veil")).to_be_hidden()


def test_the_easel_is_used_by_keyboard(page: Page) -> None:
    """Tab reaches the photo field, the styles and the button; a photo is removed by keyboard and focus is kept."""
    page.goto("/")
    page.locator("#image").focus()
    page.locator("#image").set_input_files(LANDSCAPE)
    page.get_by_role("button", name="Remove china.jpg").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_alt_text("china.jpg")).to_have_count(0)
    expect(page.locator("#image")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("A few words, if you like")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Meadow light")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Golden hour")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.locator("#paint-button")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#more summary")).to_be_focused()


def test_a_large_photo_is_made_small_and_upright_before_it_travels(page: Page, tmp_path: Path) -> None:
    """A 12-megapixel photo lying on its side travels with its longest side at 2,048 pixels and arrives upright."""
    photo = large_rotated(tmp_path)
    sent = photo_sent(page, photo)
    assert size_of(sent) == (1536, 2048)
    assert len(sent) < photo.stat().st_size / 2
    task_id = page.url.rsplit("/", 1)[-1]
    assert size_of(page.request.get(f"/api/image/{task_id}/original").body()) == (1536, 2048)


def test_a_photo_that_the_browser_cannot_read_travels_unchanged(page: Page, tmp_path: Path) -> None:
    """A HEIC photo is shown by its name, sent byte for byte, and painted."""
    photo = heic(tmp_path)
    page.goto("/")
    page.locator("#image").set_input_files(photo)
    expect(page.locator("#prints")).to_contain_text("No preview")
    assert photo_sent(page, photo) == photo.read_bytes()
    wait_until_painted(page)


def test_a_small_photo_travels_unchanged(page: Page) -> None:
    """A photo that is small already is not encoded a second time."""
    assert photo_sent(page, LANDSCAPE) == LANDSCAPE.read_bytes()


def test_a_refused_file_is_told_in_words_and_kept(page: Page, tmp_path: Path, page_problems: list[str]) -> None:
    """A file that only looks like a picture brings the server's sentence, and the easel stays as it was."""
    text = tmp_path / "list.jpg"
    text.write_text("This is a shopping list.")
    hand_in(page, text)
    expect(page.get_by_role("alert")).to_contain_text("picture")
    expect(page.locator(".prints__item")).to_have_count(1)
    expect(page.locator("#paint-button")).to_have_attribute("aria-disabled", "false")
    assert "/tasks/" not in page.url
    page_problems[:] = [problem for problem in page_problems if "415" not in problem]


def test_what_cannot_be_a_picture_is_not_sent(page: Page, tmp_path: Path) -> None:
    """A document, and a file above the limit, are refused by the page itself: nothing travels."""
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request) if is_order(request) else None)
    document = tmp_path / "letter.pdf"
    document.write_bytes(b"%PDF-1.7")
    page.goto("/")
    page.locator("#image").set_input_files(document)
    expect(page.get_by_role("alert")).to_contain_text("letter.pdf")
    expect(page.locator(".prints__item")).to_have_count(0)

    huge = tmp_path / "huge.heic"
    with huge.open("wb") as file:
        file.truncate(60_000_000)
    hand_in(page, huge)
    expect(page.get_by_role("alert")).to_contain_text("60.0 MB")
    assert not requests


def test_a_broken_connection_keeps_the_photo_and_the_order(page: Page, page_problems: list[str]) -> None:
    """When the line breaks, the page says so, and pressing again sends the same order under the same key."""
    keys: list[str | None] = []

    def lose_the_first(route: Route, request: Request) -> None:
        keys.append(request.headers.get("idempotency-key"))
        if len(keys) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/api/generate-image", lose_the_first)
    hand_in(page, LANDSCAPE)
    expect(page.get_by_role("alert")).to_contain_text("connection")
    expect(page.locator(".prints__item")).to_have_count(1)
    page.locator("#paint-button").click()
    page.wait_for_url(TASK_ADDRESS)
    assert keys[0]
    assert keys[0] == keys[1]
    page_problems[:] = [problem for problem in page_problems if "ERR_FAILED" not in problem]


def test_several_photos_become_several_pictures(page: Page) -> None:
    """Two photos at once make two orders in a tray that follows both, also after looking at one of them."""
    hand_in(page, LANDSCAPE, ANIMAL)
    entries = page.locator("#tray-list li")
    expect(entries).to_have_count(2)
    expect(page.locator(".prints__item")).to_have_count(0)
    entries.first.get_by_role("link").click()
    page.wait_for_url(TASK_ADDRESS)
    wait_until_painted(page)
    page.goto("/")
    expect(entries).to_have_count(2)
    for number in range(2):
        expect(entries.nth(number)).to_contain_text("Ready to look at", timeout=60_000)
