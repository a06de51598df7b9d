"""The administrators' pages in a browser the width of a phone: an order failed, one given back, a switch turned."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import update

from ghibli_flask.database import transaction
from ghibli_flask.models.user import UserProfile
from ghibli_flask.services import administration, flags
from tests.browser.conftest import order, wait_until_painted
from tests.browser.photos import LANDSCAPE
from tests.support.browser import open_page
from tests.support.member import PASSWORD, confirmed_account

PHONE = {"width": 360, "height": 740}


@pytest.fixture
def operator() -> str:
    """An address that nobody has used."""
    return f"operator-{uuid4().hex[:8]}@example.org"


@pytest.fixture
def desk(backstage: Flask, operator: str, context_factory: Callable[..., BrowserContext]) -> Iterator[Page]:
    """The overview, open on an administrator's phone; script errors fail the test."""
    with backstage.app_context():
        user_id = confirmed_account(operator)
    problems: list[str] = []
    page = open_page(context_factory(viewport=PHONE), problems)
    page.goto("/auth/signin")
    page.get_by_label("Mail address").fill(operator)
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("main").get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("/")
    with backstage.app_context():
        to_admin = update(UserProfile).where(UserProfile.user_id == user_id).values(role="admin")
        transaction(lambda session: session.execute(to_admin))
    page.goto("/admin/")
    yield page
    assert not problems, "\n".join(problems)


def done_by(operator: str, backstage: Flask) -> list[str]:
    """What the audit log says that this administrator did, newest first."""
    with backstage.app_context():
        return [entry.action for entry in administration.audit() if entry.actor == operator]


def fits(page: Page) -> bool:
    """Whether the page needs no scrolling sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_an_order_is_failed_by_phone(
    backstage: Flask,
    desk: Page,
    operator: str,
    page: Page,
    held_painter: Callable[[], None],
    screenshot_dir: Path,
) -> None:
    """From the overview to a waiting order, asked once more, failed: its visitor reads so and has the try back."""
    task_id = order(page, LANDSCAPE)
    desk.get_by_role("link", name="Orders", exact=True).click()
    desk.get_by_role("link", name=task_id[:8]).click()
    desk.get_by_role("link", name="Fail it").click()
    expect(desk.get_by_role("heading", name="Fail this order?")).to_be_visible()
    assert fits(desk)
    desk.screenshot(path=screenshot_dir / "admin-fail-360.png", full_page=True)
    desk.get_by_role("button", name="Fail it").click()
    expect(desk.get_by_text("The order has failed, and its price is given back.")).to_be_visible()
    expect(page.get_by_text("We had to stop this painting.")).to_be_visible(timeout=20_000)
    assert done_by(operator, backstage) == ["fail-order"]


def test_a_painted_order_is_given_back_by_phone(backstage: Flask, desk: Page, operator: str, page: Page) -> None:
    """A finished order offers to be given back; afterwards it says so and offers it no more."""
    task_id = order(page, LANDSCAPE)
    wait_until_painted(page)
    desk.goto(f"/admin/ui/tasks/{task_id}")
    desk.get_by_role("link", name="Give it back").click()
    desk.get_by_role("button", name="Give it back").click()
    expect(desk.get_by_text("The price is given back.")).to_be_visible()
    expect(desk.get_by_role("link", name="Give it back")).to_have_count(0)
    assert done_by(operator, backstage) == ["refund-order"]


def test_maintenance_is_switched_by_phone(
    backstage: Flask, desk: Page, operator: str, page: Page, screenshot_dir: Path
) -> None:
    """What an administrator writes stands above the easel until the switch is cleared; the overview tells of it."""
    desk.get_by_role("link", name="Switches").click()
    desk.get_by_label("What visitors read").fill("We are moving house.")
    desk.get_by_role("button", name="Take no orders").click()
    try:
        expect(desk.get_by_text("The switch is set")).to_be_visible()
        assert fits(desk)
        page.goto("/")
        expect(page.get_by_text("We are moving house.")).to_be_visible()
        desk.goto("/admin/")
        expect(desk.get_by_text("No orders are taken: the maintenance switch is on.")).to_be_visible()
        assert fits(desk)
        desk.screenshot(path=screenshot_dir / "admin-overview-360.png", full_page=True)
        desk.goto("/admin/ui/flags")
        desk.get_by_role("button", name="Take orders again").click()
        expect(desk.get_by_text("The switch is cleared.")).to_be_visible()
    finally:
        with backstage.app_context():
            flags.switch(flags.MAINTENANCE, None, by="the test")
    assert done_by(operator, backstage) == ["flag", "flag"]


def test_the_overview_looks_again_by_itself(desk: Page, page: Page) -> None:
    """Half a minute later the figures are new without a reload; without its tick nothing is asked for."""
    desk.clock.install()
    desk.goto("/admin/")
    figures = desk.locator(".figures")
    before = figures.inner_text()
    order(page, LANDSCAPE)
    desk.clock.run_for(31_000)
    expect(figures).not_to_have_text(before, use_inner_text=True)
    desk.get_by_label("Look again every half minute").uncheck()
    asked: list[str] = []
    desk.on("request", lambda request: asked.append(request.url))
    desk.clock.run_for(61_000)
    assert asked == []
