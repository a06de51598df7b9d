"""An account as a person has it in a browser: by mail, by password, without scripts, on a phone and on a desktop."""

import re
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4
from zipfile import ZipFile

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import TASK_ADDRESS, order, wait_until_painted
from tests.browser.photos import LANDSCAPE
from tests.support.browser import open_page

PASSWORD = "a window with a view"
NEW_PASSWORD = "a lamp in the window"
CONFIRM, RESET = "Please confirm your address", "A new password"
MAIL_WITHIN_MS = 15_000
LOOK_EVERY_MS = 200


@pytest.fixture
def email() -> str:
    """An address that nobody has used."""
    return f"ada-{uuid4().hex[:8]}@example.org"


def press(page: Page, name: str) -> None:
    """Press a button of the page's own part; the header and the footer have theirs."""
    page.locator("main").get_by_role("button", name=name, exact=True).click()


def ask_for_account(page: Page, email: str) -> None:
    """Fill in the form for a new account, and wait for the page that says to look into the mail."""
    page.goto("/auth/signup")
    page.get_by_label("Mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Name").fill("Ada")
    press(page, "Make an account")
    expect(page.get_by_role("heading", level=1)).to_have_text("Look into your mail")


def follow_mail(page: Page, email: str, subject: str) -> None:
    """Open the link in the newest mail of this subject, once it has been written."""
    letter = page.locator(".letter").filter(has_text=email).filter(has_text=subject).first
    for _look in range(MAIL_WITHIN_MS // LOOK_EVERY_MS):
        page.goto("/auth/mails")
        if letter.is_visible():
            break
        page.wait_for_timeout(LOOK_EVERY_MS)
    letter.get_by_role("link").first.click()


def sign_up(page: Page, email: str) -> None:
    """Make an account and confirm its address; the page is signed in afterwards."""
    ask_for_account(page, email)
    follow_mail(page, email, CONFIRM)
    page.get_by_label("Your password").fill(PASSWORD)
    press(page, "Confirm and sign in")
    expect(page.locator(".flash")).to_contain_text("confirmed")


def fill_sign_in(page: Page, email: str, password: str) -> None:
    """Fill in the form to sign in and send it."""
    page.get_by_label("Mail address").fill(email)
    page.get_by_label("Password").fill(password)
    press(page, "Sign in")


def expect_signed_in(page: Page) -> None:
    """The header names the account's owner."""
    expect(page.get_by_role("banner").get_by_role("link", name="Account: Ada")).to_be_visible()


def test_an_account_keeps_its_pictures_and_counts_them(page: Page, email: str) -> None:
    """Signed up by mail, a picture ordered shows as one charge, and belongs to the account at the next sign-in."""
    sign_up(page, email)
    expect_signed_in(page)
    expect(page.locator(".tries")).to_contain_text("30 pictures left this month, new ones on 1 ")
    task_id = order(page, LANDSCAPE)
    wait_until_painted(page)

    page.goto("/account/credits")
    entries = page.locator(".statement li")
    expect(entries).to_have_count(2)
    expect(entries.first).to_contain_text("A picture painted")
    expect(entries.first).to_contain_text("1 picture less")
    expect(entries.last).to_contain_text("30 pictures more")
    expect(page.locator(".lead")).to_contain_text("29 pictures left this month")
    entries.first.get_by_role("link").click()
    page.wait_for_url(f"**/tasks/{task_id}")

    page.get_by_role("contentinfo").get_by_role("button", name="Sign out").click()
    page.goto(f"/tasks/{task_id}")
    expect(page.get_by_text("Delete", exact=True)).to_have_count(0)
    page.get_by_role("banner").get_by_role("link", name="Sign in").click()
    fill_sign_in(page, email, PASSWORD)
    page.wait_for_url(f"**/tasks/{task_id}")
    expect(page.get_by_text("Delete", exact=True)).to_be_visible()


def test_a_guests_picture_comes_along(page: Page, context_factory: Callable[..., BrowserContext], email: str) -> None:
    """What a guest ordered belongs to the account from sign-up on, in every browser, and costs it nothing."""
    task_id = order(page, LANDSCAPE)
    sign_up(page, email)
    other = context_factory().new_page()
    other.goto(f"/tasks/{task_id}")
    wait_until_painted(other)
    expect(other.get_by_text("Delete", exact=True)).to_have_count(0)
    other.get_by_role("banner").get_by_role("link", name="Sign in").click()
    fill_sign_in(other, email, PASSWORD)
    other.wait_for_url(TASK_ADDRESS)
    expect(other.get_by_text("Delete", exact=True)).to_be_visible()
    other.goto("/account/credits")
    expect(other.locator(".statement li")).to_have_count(1)


def test_a_forgotten_password_is_replaced_without_scripts(
    context_factory: Callable[..., BrowserContext], email: str
) -> None:
    """Without JavaScript the link in the mail sets a new password, signs other browsers out, and ends the old one."""
    elsewhere, page = (context_factory(java_script_enabled=False).new_page() for _browser in range(2))
    sign_up(elsewhere, email)
    page.goto("/auth/signin")
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("Mail address").fill(email)
    press(page, "Send me the link")
    follow_mail(page, email, RESET)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    press(page, "Set the new password")
    expect(page.locator(".flash")).to_contain_text("signed out everywhere else")
    expect_signed_in(page)

    elsewhere.goto("/auth/signin")
    fill_sign_in(elsewhere, email, PASSWORD)
    expect(elsewhere.get_by_role("alert")).to_contain_text("do not belong together")
    expect(elsewhere.get_by_label("Mail address")).to_have_value(email)
    fill_sign_in(elsewhere, email, NEW_PASSWORD)
    expect_signed_in(elsewhere)


def test_an_account_is_deleted_from_its_page(page: Page, page_problems: list[str], email: str) -> None:
    """The account's page leads to its deletion, which asks for the password, signs out and lets nobody in again."""
    sign_up(page, email)
    page.get_by_role("banner").get_by_role("link", name="Account: Ada").click()
    page.get_by_role("link", name="Delete my account").click()
    page.get_by_label("Your password").fill(PASSWORD)
    press(page, "Delete it for good")
    expect(page.locator(".flash")).to_contain_text("deleted")
    page.get_by_role("banner").get_by_role("link", name="Sign in").click()
    fill_sign_in(page, email, PASSWORD)
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    page_problems[:] = [problem for problem in page_problems if "401" not in problem]


def test_an_account_is_changed_from_its_page(
    page: Page, context_factory: Callable[..., BrowserContext], email: str
) -> None:
    """Name, language and password are changed on the account's page, and another browser is signed out from there."""
    sign_up(page, email)
    elsewhere = context_factory().new_page()
    elsewhere.goto("/auth/signin")
    fill_sign_in(elsewhere, email, PASSWORD)
    expect_signed_in(elsewhere)

    page.goto("/account")
    page.get_by_label("Name").fill("Ada B.")
    press(page, "Save")
    expect(page.get_by_role("banner").get_by_role("link", name="Account: Ada B.")).to_be_visible()
    page.get_by_role("button", name=re.compile("Sign out Chrome")).click()
    elsewhere.reload()
    expect(elsewhere.get_by_role("banner").get_by_role("link", name="Sign in")).to_be_visible()

    page.locator("summary", has_text="Change the password").click()
    page.get_by_label("The present one").fill(PASSWORD)
    page.get_by_label("The new one").fill(NEW_PASSWORD)
    press(page, "Set the password")
    expect(page.locator(".flash")).to_be_visible()
    elsewhere.goto("/auth/signin")
    fill_sign_in(elsewhere, email, NEW_PASSWORD)
    expect(elsewhere.get_by_role("banner").get_by_role("link", name="Account: Ada B.")).to_be_visible()

    page.goto("/account")
    page.locator("#locale").select_option("zh")
    press(page, "Save")
    expect(page.locator("html")).to_have_attribute("lang", "zh")


def test_everything_can_be_taken_along(page: Page, email: str, tmp_path: Path) -> None:
    """What an account holds is packed behind the page and downloaded as one zip with its facts in it."""
    sign_up(page, email)
    page.goto("/account")
    press(page, "Pack my data")
    download_link = page.locator("#data").get_by_role("link", name=re.compile("^Download"))
    for _look in range(MAIL_WITHIN_MS // LOOK_EVERY_MS):
        page.goto("/account")
        if download_link.is_visible():
            break
        page.wait_for_timeout(LOOK_EVERY_MS)
    with page.expect_download() as download:
        download_link.click()
    download.value.save_as(tmp_path / "mine.zip")
    with ZipFile(tmp_path / "mine.zip") as archive:
        assert any(email.encode() in archive.read(name) for name in archive.namelist() if name.endswith(".json"))


def test_password_managers_know_the_fields(page: Page) -> None:
    """Every field for an address or a password says which one it is."""
    for address, words in {
        "/auth/signin": ["username", "current-password"],
        "/auth/signup": ["username", "new-password", "name"],
        "/auth/forgot": ["username"],
    }.items():
        page.goto(address)
        fields = page.locator("main input:not([type=hidden])")
        assert [field.get_attribute("autocomplete") for field in fields.all()] == words, address


def test_a_guest_without_tries_is_shown_the_door(app_factory: Callable[..., Flask]) -> None:
    """When today's free pictures are used up, the first page leads to signing in; before, it does not."""
    hint = "With an account you can paint on now."
    assert hint in app_factory(guest_daily_limit=0).test_client().get("/").get_data(as_text=True)
    assert hint not in app_factory().test_client().get("/").get_data(as_text=True)


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 800)])
def test_every_page_of_an_account_fits_its_screen(
    context_factory: Callable[..., BrowserContext], screenshot_dir: Path, email: str, width: int, height: int
) -> None:
    """No page scrolls sideways or reports a problem in either theme; each is kept as a screenshot."""
    problems: list[str] = []
    is_phone = width < 700
    # Without motion a page that changes its theme is photographed in its final colours.
    context = context_factory(
        viewport={"width": width, "height": height}, has_touch=is_phone, is_mobile=is_phone, reduced_motion="reduce"
    )
    page = open_page(context, problems)

    def keep(name: str) -> None:
        page.wait_for_load_state()
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
            page.screenshot(path=screenshot_dir / f"account-{name}-{width}-{theme}.png", full_page=True)

    def keep_pages(**addresses: str) -> None:
        for name, address in addresses.items():
            page.goto(address)
            keep(name)

    keep_pages(signin="/auth/signin", signup="/auth/signup", forgot="/auth/forgot")
    ask_for_account(page, email)
    keep("check-mail")
    follow_mail(page, email, CONFIRM)
    keep("confirm")
    page.get_by_label("Your password").fill(PASSWORD)
    press(page, "Confirm and sign in")
    keep("home")
    keep_pages(overview="/account", credits="/account/credits", delete="/account/delete", again="/auth/signin?fresh=1")
    page.goto("/auth/forgot")
    page.get_by_label("Mail address").fill(email)
    press(page, "Send me the link")
    follow_mail(page, email, RESET)
    keep("reset")
    keep_pages(mails="/auth/mails")
    assert not problems, "\n".join(problems)
