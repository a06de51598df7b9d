"""The site in Chinese, as a visitor with a Chinese browser meets it, on a phone and on a desktop; and the switch."""

import re
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect

from ghibli_flask.settings import Settings
from tests.browser.conftest import hand_in, wait_until_painted
from tests.browser.photos import LANDSCAPE
from tests.support.browser import open_page
from tests.support.member import PASSWORD, confirmed_account

OpenBrowser = Callable[..., BrowserContext]

ENGLISH_LEFT = re.compile(r"\b(?:the|your|you|and|is|of|to|with|please|picture|photo)\b", re.IGNORECASE)
"""Words that every English sentence of the site has one of."""

OPERATORS_WORDS = str(Settings.model_fields["legal_jurisdiction"].default)
"""What the operator writes into a setting stands on the page as it was written."""

PLAIN_PAGES = {
    "gallery": "/gallery",
    "sign-in": "/auth/signin",
    "sign-up": "/auth/signup",
    "privacy": "/privacy-policy",
    "terms": "/terms-of-service",
    "cookies": "/cookie-policy",
    "help": "/help",
}


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 800)])
def test_every_page_is_chinese_and_fits(
    context_factory: OpenBrowser,
    held_painter: Callable[[], None],
    backstage: Flask,
    screenshot_dir: Path,
    width: int,
    height: int,
) -> None:
    """With a Chinese browser every page speaks Chinese, has no English sentence left, and never scrolls sideways."""
    problems: list[str] = []
    context = context_factory(
        locale="zh-CN", viewport={"width": width, "height": height}, has_touch=width < 700, is_mobile=width < 700
    )
    page = open_page(context, problems)

    def keep(name: str) -> None:
        page.wait_for_load_state("networkidle")
        expect(page.locator("html")).to_have_attribute("lang", "zh")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
        text = page.locator("body").inner_text().replace(OPERATORS_WORDS, "")
        left = [line for line in text.splitlines() if ENGLISH_LEFT.search(line)]
        assert left == [], f"{name} says this in English"
        page.screenshot(path=screenshot_dir / f"{name}-zh-{width}.png", full_page=True)

    page.goto("/")
    keep("home")
    hand_in(page, LANDSCAPE)
    page.wait_for_url("**/tasks/*")
    expect(page.locator("[data-waiting-message]")).to_have_text(re.compile(r"[一-鿿]{4}"))
    keep("task-waiting")
    held_painter()
    wait_until_painted(page)
    expect(page.locator(".compare.is-live")).to_be_visible()
    keep("task")
    page.goto("/pictures")
    keep("pictures")
    for name, path in PLAIN_PAGES.items():
        page.goto(path)
        keep(name)
    sign_in(page, backstage)
    page.locator(".site-footer").get_by_role("button", name="中文").click()
    page.goto("/account")
    keep("account")
    page.goto("/account/credits")
    keep("statement")
    assert not problems, "\n".join(problems)
    page.goto("/nothing-here")
    keep("error")


def sign_in(page: Page, backstage: Flask) -> None:
    """Sign in to a new account, which is an English one, on the Chinese page."""
    email = f"mei-{uuid4().hex[:8]}@example.org"
    with backstage.app_context():
        confirmed_account(email)
    page.goto("/auth/signin?next=/account")
    page.get_by_label("邮箱").fill(email)
    page.get_by_label("密码").fill(PASSWORD)
    page.locator("main").get_by_role("button", name="登录", exact=True).click()
    expect(page.locator("html")).to_have_attribute("lang", "en")


@pytest.mark.parametrize("script", [True, False])
def test_the_language_is_switched_at_the_foot(context_factory: OpenBrowser, script: bool) -> None:
    """With and without scripts, a press at the foot of a page changes its language, and the next pages keep it."""
    page = context_factory(java_script_enabled=script).new_page()
    page.goto("/help")
    footer = page.locator(".site-footer")
    expect(page.locator("h1")).to_have_text("Help")
    footer.get_by_role("button", name="中文").click()
    expect(page).to_have_url(re.compile(r"/help$"))
    expect(page.locator("h1")).to_have_text("帮助")
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    footer.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_a_phone_shows_easel_and_button_in_chinese_without_scrolling(context_factory: OpenBrowser) -> None:
    """At 360 by 740 sheet, style row and button are in view at once in Chinese too."""
    page = context_factory(
        locale="zh-CN", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    ).new_page()
    page.goto("/")
    for piece in (".ways", "#sheet", "#prompt", ".styles", "#paint-button"):
        box = page.locator(piece).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 740, f"{piece} ends at {box['y'] + box['height']}"
