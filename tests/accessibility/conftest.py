"""What the tests of accessibility share: the open site, and browsers of those who look at it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.accessibility.open_site import OpenSite
from tests.conftest import empty_tables
from tests.support.redis_server import RedisServer

LANGUAGES = {"en": "en-GB", "zh": "zh-CN"}
"""Each language of the site, and what a browser of it asks for."""

Open = Callable[..., BrowserContext]


@pytest.fixture(scope="module")
def open_site(
    migrated_url: Callable[[str], str], redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenSite]:
    """The site with every state in it, on SQLite."""
    address = migrated_url("sqlite")
    site = OpenSite(tmp_path_factory.mktemp("open-site"), address, redis_server.url)
    site.start()
    yield site
    site.stop()
    empty_tables(address)
    redis_server.empty()


@pytest.fixture(scope="module")
def browser_of(browser: Browser, open_site: OpenSite) -> Iterator[Open]:
    """Open a browser as somebody of the open site, in a language; takes Playwright's options such as `viewport`."""
    opened: list[BrowserContext] = []

    def make(who: str = "stranger", language: str = "en", **options: Any) -> BrowserContext:
        context = browser.new_context(
            **{
                "base_url": open_site.url,
                "locale": LANGUAGES[language],
                "viewport": {"width": 1280, "height": 800},
                "reduced_motion": "reduce",  # A change of theme is there at once.
                **options,
            }
        )
        open_site.lend_cookies(who, context)
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()
