"""What the browser tests share: handing a photo to the page, waiting for its picture, and holding the painter."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from ghibli_flask.factory import create_app
from ghibli_flask.settings import Settings
from tests.conftest import close
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


def order_from_words(page: Page, words: str) -> str:
    """Order one picture from words and go to its page; gives the task's id."""
    page.goto("/?mode=text-to-image")
    page.get_by_label("Say what to paint").fill(words)
    page.get_by_role("button", name="Paint it").click()
    page.wait_for_url(TASK_ADDRESS)
    return page.url.rsplit("/", 1)[-1]


@pytest.fixture(scope="session")
def backstage(running_site: Site) -> Iterator[Flask]:
    """An application on the running site's own database, Redis and files, to play worker or operator in."""
    settings = Settings(
        _env_file=None,
        database_url=running_site.env["DATABASE_URL"],
        redis_url=running_site.env["REDIS_URL"],
        instance_dir=running_site.instance_dir,
        gradio_url=running_site.env["GRADIO_URL"],
    )
    app = create_app(settings)
    yield app
    close(app)


@pytest.fixture
def held_painter(site: Site) -> Iterator[Callable[[], None]]:
    """Keep the painting worker from starting anything; calling it lets the worker go on."""
    site["worker"].pause()
    yield site["worker"].resume
    site["worker"].resume()
