"""The waiting page while the painter is held: what it says, how it stops and goes on, and its buttons."""

import re
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import order, wait_until_painted
from tests.browser.photos import ANIMAL, LANDSCAPE

LetGo = Callable[[], None]


def test_waiting_tells_place_promise_and_a_changing_note(page: Page, held_painter: LetGo) -> None:
    """The page names the place in the queue, when the try comes back by itself, and a new note every few seconds."""

    def place_of(task_id: str) -> int | None:
        place: int | None = page.request.get(f"/api/poll-task?taskId={task_id}").json()["queuePosition"]
        return place

    first = place_of(order(page, ANIMAL)) or 0  # The held worker may have this one in its hand already.
    second = place_of(order(page, LANDSCAPE))
    assert second == first + 1
    expect(page.locator(".facts")).to_contain_text("You are next" if second == 1 else f"Number {second} in the queue")
    expect(page.locator(".promise time")).to_have_text(re.compile(r"^\d{1,2}:\d\d"))
    assert "UTC" not in page.locator(".promise").inner_text()
    expect(page.locator(".promise")).to_contain_text(re.compile(r"by itself\.\s+\d\d:\d\d left"))
    note = page.locator("[data-waiting-message]")
    first = note.inner_text()
    assert first
    expect(note).not_to_have_text(first, timeout=10_000)
    held_painter()
    wait_until_painted(page)


def test_a_waiting_picture_can_be_stopped_and_tried_again(page: Page, held_painter: LetGo) -> None:
    """Stopping shows that the try came back; trying again is a new order that is painted."""
    first = order(page, LANDSCAPE)
    page.get_by_role("button", name="Stop painting").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You stopped this one")
    expect(page.locator(".returned")).to_contain_text("Your try came back")
    held_painter()
    page.get_by_role("button", name="Try it again").click()
    page.wait_for_url(lambda address: "/tasks/" in address and first not in address)
    wait_until_painted(page)


def test_four_quiet_minutes_end_the_asking_until_told_otherwise(page: Page, held_painter: LetGo) -> None:
    """After four minutes without change the page says so, asks no more, and goes on when its button is pressed."""
    page.clock.install()
    order(page, LANDSCAPE)
    keep_watching = page.get_by_role("button", name="Keep watching")
    for _ in range(6):
        page.clock.fast_forward("04:01")
        page.wait_for_timeout(500)
        if keep_watching.is_visible():
            break
    promised = page.locator(".promise time").inner_text()
    for words in ("Nothing has moved for four minutes", f"not done by {promised}, and it comes back to you by itself"):
        expect(page.locator("[data-notice]")).to_contain_text(words)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "poll-task" in request.url else None)
    page.clock.fast_forward("01:00")
    page.wait_for_timeout(500)
    assert not asked

    held_painter()
    keep_watching.click()
    expect(page.locator("[data-notice]")).to_be_hidden()
    for _ in range(60):
        page.clock.fast_forward("00:05")
        page.wait_for_timeout(500)
        if page.locator(".task--success").is_visible():
            break
    expect(page.locator(".task--success")).to_be_visible()


def test_a_lost_connection_is_told_and_mends_itself(page: Page, held_painter: LetGo, page_problems: list[str]) -> None:
    """Offline the page says so and keeps what it shows; back online it asks at once and finishes."""
    order(page, LANDSCAPE)
    page.context.set_offline(True)
    expect(page.locator("[data-notice]")).to_contain_text("The connection is away", timeout=15_000)
    held_painter()
    page.context.set_offline(False)
    wait_until_painted(page)
    page_problems[:] = [problem for problem in page_problems if "ERR_INTERNET_DISCONNECTED" not in problem]


def test_a_stranger_may_watch_but_not_stop(
    page: Page, held_painter: LetGo, context_factory: Callable[..., BrowserContext]
) -> None:
    """Somebody who holds only the address sees the progress, without the photo and without the button."""
    order(page, LANDSCAPE)
    stranger = context_factory().new_page()
    stranger.goto(page.url)
    expect(stranger.locator("#bar")).to_be_visible()
    expect(stranger.locator("#wash img")).to_have_count(0)
    expect(stranger.locator("main").get_by_role("button")).to_have_count(0)
