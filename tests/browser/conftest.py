"""What the browser tests share: handing a photo to the page, waiting for its picture, and holding the painter."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.site import Site

PAINTED_WITHIN_MS = 60_000

TASK_ADDRESS = "**/tasks/*"


def hand_in(page: Page, *photos: Path) -> None:
    """Open the first page, put these photos on the easel and press the button."""
    page.goto("/")
    page.locator("#image").set_input_files(list(photos))
    page.locator("#paint-button").click()


def order(page: Page, photo: Path) -> str:
    """Order one picture and go to its page; gives the task's id."""
    hand_in(page, photo)
    page.wait_for_url(TASK_ADDRESS)
    return page.url.rsplit("/", 1)[-1]


def wait_until_painted(page: Page) -> None:
    """Wait until the page shows the finished picture."""
    expect(page.locator("#task.task--success")).to_be_visible(timeout=PAINTED_WITHIN_MS)


@pytest.fixture
def held_painter(site: Site) -> Iterator[Callable[[], None]]:
    """Keep the painting worker from starting anything; calling it lets the worker go on."""
    site["worker"].pause()
    yield site["worker"].resume
    site["worker"].resume()
