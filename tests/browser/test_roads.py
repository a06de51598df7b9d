"""The main roads in every language on a phone and on a desktop: pictures from order to deletion, accounts, limits.

What the other modules look at in depth is walked here once for each language and screen, by what the pages are made
of and not by their words; each station is kept as a screenshot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import update

from ghibli_flask.database import transaction
from ghibli_flask.i18n import LOCALES
from ghibli_flask.models.allowance import Allowance
from ghibli_flask.task_states import Outcome
from tests.browser.conftest import order
from tests.browser.photos import ANIMAL, LANDSCAPE
from tests.browser.test_account import NEW_PASSWORD, PASSWORD, follow_mail
from tests.support import runs
from tests.support.browser import open_page
from tests.support.site import Site

SCREENS = {"phone": (360, 740), "desktop": (1280, 800)}
LETTERS = {"en": ("Please confirm your address", "A new password"), "zh": ("请确认你的邮箱", "设置新密码")}
"""The subjects of the letters of an account, in each language."""

EVERY_IMAGE = """() => Promise.all([...document.images].filter((image) => !image.complete).map(
  (image) => new Promise((done) => { image.addEventListener("load", done); image.addEventListener("error", done); })
))"""
"""Waits for the pictures of a page; Playwright's own waiting needs `eval`, which the pages forbid."""


class Traveller:
    """A visitor with a browser of one language and one screen, who keeps a picture of every station."""

    def __init__(self, context: BrowserContext, language: str, screen: str, folder: Path) -> None:
        self.problems: list[str] = []
        self.page: Page = open_page(context, self.problems)
        self.language, self.screen, self.folder = language, screen, folder

    def arrive(self, station: str) -> None:
        """Look at a station: it speaks the language and fits the screen; kept as a screenshot."""
        expect(self.page.locator("html")).to_have_attribute("lang", self.language)
        width = SCREENS[self.screen][0]
        assert self.page.evaluate("document.documentElement.scrollWidth") <= width, f"{station} scrolls sideways"
        self.page.evaluate("for (const image of document.images) image.loading = 'eager'")
        self.page.evaluate(EVERY_IMAGE)
        name = f"road-{station}-{self.language}-{self.screen}.png"
        self.page.screenshot(path=self.folder / name, full_page=True)

    def send(self, form: str, **fields: str) -> None:
        """Fill in the form that goes to this address, and send it."""
        for name, value in fields.items():
            self.page.locator(f"main form[action='{form}'] [name={name}]").fill(value)
        self.page.locator(f"main form[action='{form}'] button[type=submit]").click()


@pytest.fixture(params=[(language, screen) for language in LOCALES for screen in SCREENS], ids="-".join)
def traveller(
    request: pytest.FixtureRequest, context_factory: Callable[..., BrowserContext], screenshot_dir: Path
) -> Iterator[Traveller]:
    """A new visitor for each language and screen; a problem that a page reports fails the test."""
    language, screen = request.param
    width, height = SCREENS[screen]
    is_phone = screen == "phone"
    context = context_factory(
        locale={"zh": "zh-CN"}.get(language, language),
        viewport={"width": width, "height": height},
        has_touch=is_phone,
        is_mobile=is_phone,
        reduced_motion="reduce",
    )
    traveller = Traveller(context, language, screen, screenshot_dir)
    yield traveller
    assert not traveller.problems, "\n".join(traveller.problems)


def test_a_picture_from_order_to_deletion(
    traveller: Traveller, held_painter: Callable[[], None], backstage: Flask
) -> None:
    """Ordered, waited for, looked at, shared, found in the gallery, opened there, deleted with all its addresses."""
    page = traveller.page
    page.goto("/")
    traveller.arrive("home")
    task_id = order(page, LANDSCAPE)
    expect(page.locator("[data-waiting-message]")).not_to_be_empty()
    traveller.arrive("waiting")
    runs.paint(backstage, task_id)
    expect(page.locator("#task.task--success")).to_be_visible()
    traveller.arrive("result")

    page.locator("#share [name=in_gallery]").check()
    page.locator("#share .share-form button").click()
    address = page.locator("#share-link").input_value()
    share = "/share/" + address.rsplit("/", 1)[-1]
    page.goto("/gallery")
    traveller.arrive("gallery")
    page.locator(f".wall__item a[href='{share}']").click()
    expect(page.locator("h1")).to_be_visible()
    traveller.arrive("share")

    page.goto("/pictures")
    traveller.arrive("pictures")
    page.locator(f".own__place[href='/tasks/{task_id}']").click()
    page.locator("details:has([data-action=delete]) > summary").click()
    page.locator("[data-action=delete] button").click()
    page.wait_for_url(lambda url: "/tasks/" not in url)
    for gone in (f"/tasks/{task_id}", share):
        answer = page.goto(gone)
        assert answer is not None
        assert answer.status == 404
    traveller.arrive("gone")
    traveller.problems[:] = [problem for problem in traveller.problems if "404" not in problem]


@pytest.fixture
def letters_uncounted(site: Site) -> None:
    """Forget how many letters this address has asked for: a whole suite asks for more than a person may."""
    with site.redis.client() as redis:
        for key in redis.scan_iter("*mail-address*"):
            redis.delete(key)


def test_an_account_from_sign_up_to_deletion(traveller: Traveller, letters_uncounted: None) -> None:
    """Made, confirmed by letter, counted, signed out, given a new password by letter, signed in and deleted."""
    page, email = traveller.page, f"mei-{uuid4().hex[:8]}@example.org"
    confirm, reset = LETTERS[traveller.language]
    page.goto("/auth/signup")
    traveller.arrive("sign-up")
    traveller.send("/auth/signup", email=email, password=PASSWORD, name="Mei")
    traveller.arrive("check-mail")
    follow_mail(page, email, confirm)
    traveller.arrive("confirm")
    page.locator("main [name=password]").fill(PASSWORD)
    page.locator("main form button[type=submit]").click()
    expect(page.locator(".flash")).to_be_visible()
    page.locator(".tries a[href='/account/credits']").click()
    traveller.arrive("credits")
    expect(page.locator(".statement li")).to_have_count(1)
    page.locator("form[action='/auth/signout'] button").first.click()

    page.goto("/auth/forgot")
    traveller.arrive("forgot")
    traveller.send("/auth/forgot", email=email)
    follow_mail(page, email, reset)
    traveller.arrive("new-password")
    page.locator("main [name=password]").fill(NEW_PASSWORD)
    page.locator("main form button[type=submit]").click()
    expect(page.locator(".flash")).to_be_visible()
    page.locator("form[action='/auth/signout'] button").first.click()

    page.goto("/auth/signin?next=/account")
    traveller.arrive("sign-in")
    traveller.send("/auth/signin", email=email, password=NEW_PASSWORD)
    expect(page).to_have_url(re.compile("/account$"))
    traveller.arrive("account")
    page.locator("main a[href='/account/delete']").click()
    traveller.arrive("delete-account")
    traveller.send("/account/delete", password=NEW_PASSWORD)
    expect(page.locator(".flash")).to_be_visible()
    expect(page.locator("header a[href^='/auth/signin']")).to_be_visible()


def spend(backstage: Flask, tries: int) -> None:
    """Let every guest have used so many tries today."""
    with backstage.app_context():
        transaction(lambda session: session.execute(update(Allowance).values(used=tries)))


def test_a_guest_whose_tries_are_used_up(
    traveller: Traveller, held_painter: Callable[[], None], backstage: Flask, site: Site
) -> None:
    """The first page says when more come and leads to an account; a refused order stays on the easel."""
    page = traveller.page
    order(page, LANDSCAPE)
    page.locator("[data-action=cancel] button").click()
    expect(page.locator("#task.task--cancelled")).to_be_visible()
    spend(backstage, int(site.env["GUEST_DAILY_LIMIT"]))
    try:
        page.goto("/")
        traveller.arrive("no-tries")
        expect(page.locator(".tries a[href='/auth/signin']")).to_be_visible()
        page.locator("#image").set_input_files(LANDSCAPE)
        page.locator("#paint-button").click()
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.locator(".prints__item")).to_have_count(1)
        traveller.arrive("refused")
    finally:
        spend(backstage, 0)
    traveller.problems[:] = [problem for problem in traveller.problems if "401" not in problem]


def test_a_picture_that_was_not_painted(
    traveller: Traveller, held_painter: Callable[[], None], backstage: Flask
) -> None:
    """A photo that came back is wished for, one that failed is ordered again, and each page says what came back."""
    page = traveller.page
    task_id = order(page, LANDSCAPE)
    runs.paint(backstage, task_id, Outcome.ORIGINAL, "quota")
    page.locator("[data-action=wish] button").click()
    expect(page.locator(".wish")).to_be_visible()
    traveller.arrive("wished")

    task_id = order(page, ANIMAL)
    runs.paint(backstage, task_id, Outcome.FAILED, "engine_timeout")
    expect(page.locator("#task.task--failed")).to_be_visible()
    traveller.arrive("failed")
    page.locator("[data-action=retry] button").first.click()
    page.wait_for_url(lambda url: "/tasks/" in url and task_id not in url)
    expect(page.locator("[data-waiting-message]")).not_to_be_empty()
    page.locator("[data-action=cancel] button").click()
    expect(page.locator("#task.task--cancelled")).to_be_visible()
    traveller.arrive("stopped")


def test_a_shared_picture_is_reported(traveller: Traveller, held_painter: Callable[[], None], backstage: Flask) -> None:
    """Whoever sees something in a shared picture that should not hang there tells the operator, and is thanked."""
    page = traveller.page
    task_id = order(page, LANDSCAPE)
    runs.paint(backstage, task_id)
    page.locator("#share .share-form button").click()
    address = page.locator("#share-link").input_value()
    page.context.clear_cookies()
    page.goto(address)
    page.locator("details:has(.share-report) > summary").click()
    page.locator(".share-report [name=reason]").first.check()
    traveller.arrive("report")
    page.locator(".share-report button").click()
    expect(page.locator(".flash")).to_be_visible()
    traveller.arrive("reported")
