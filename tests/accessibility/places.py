"""Every page and state that a visitor or an operator can meet: where it is, who meets it, what is done to get there.

A new page is added to PLACES; what answers a GET without being a page is named in NO_PAGES. A test compares both with
the application's routes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from playwright.sync_api import Page, expect

from tests.accessibility.open_site import FAILURES, WORDS, OpenSite
from tests.browser.photos import LANDSCAPE
from tests.support.member import PASSWORD


@dataclass(frozen=True)
class Place:
    """One page in one state. `path` may hold {names} of the open site's ids; `status` is what it answers."""

    name: str
    path: str
    who: str = "stranger"
    status: int = 200
    arrive: Callable[[Page], None] | None = None
    during: Callable[[OpenSite], AbstractContextManager[None]] | None = None

    def address(self, site: OpenSite) -> str:
        """Where it is on this site."""
        path = self.path
        for name, value in site.ids.items():
            path = path.replace(f"{{{name}}}", value)
        return path


def _choose_a_photo(page: Page) -> None:
    page.locator("#image").set_input_files(LANDSCAPE)
    page.locator("#more summary").click()
    expect(page.get_by_alt_text("china.jpg")).to_be_visible()


def _hand_in_a_document(page: Page) -> None:
    page.locator("#image").set_input_files({"name": "letter.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"})
    expect(page.locator("#form-alert")).to_be_visible()


def _ask_for_a_size_that_nobody_paints(page: Page) -> None:
    page.locator("#prompt").fill(WORDS)
    page.locator("#more summary").click()
    page.locator("#width").fill("5000")
    page.locator("#paint-button").click()
    expect(page.locator("#width")).to_have_attribute("aria-invalid", "true")


def _open_everything(page: Page) -> None:
    page.locator("main details").evaluate_all("folds => folds.forEach((fold) => { fold.open = true; })")


def _send_the_form(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"main [name={name}]").fill(value)
    page.locator("main form:not([data-share]) button[type=submit]").first.click()


def _sign_up_with_a_weak_password(page: Page) -> None:
    _send_the_form(page, email="mei@example.org", password="mei@example.org")
    expect(page.get_by_role("alert")).to_be_visible()


def _sign_in_in_vain(page: Page) -> None:
    _send_the_form(page, email="nobody@example.org", password="wrong and long enough")
    expect(page.get_by_role("alert")).to_be_visible()


def _ask_for_a_link(page: Page) -> None:
    _send_the_form(page, email="nobody@example.org")
    expect(page.locator("main [name=email]")).to_have_count(0)


def _tick_two(page: Page) -> None:
    for number in (0, 1):
        page.locator(".own input").nth(number).check()


def _refuse_to_delete(page: Page) -> None:
    _send_the_form(page, password=f"not {PASSWORD}")
    expect(page.get_by_role("alert")).to_be_visible()


VISITORS = (
    Place("home", "/"),
    Place("home with a photo and more", "/", arrive=_choose_a_photo),
    Place("home with a file that is no picture", "/", arrive=_hand_in_a_document),
    Place("home from words", "/?mode=text-to-image"),
    Place("home with a refused size", "/?mode=text-to-image", arrive=_ask_for_a_size_that_nobody_paints),
    Place("home while no orders are taken", "/", during=OpenSite.closed),
    Place("home without free pictures", "/", "used up"),
    Place("home of a member", "/", "ada"),
    Place("home of a member without pictures", "/", "broke"),
    Place("waiting", "/tasks/{waiting}", "guest"),
    Place("painting", "/tasks/{painting}", "guest"),
    Place("waiting, seen by a stranger", "/tasks/{waiting}"),
    Place("failed and given back", "/tasks/{failed}", "guest", arrive=_open_everything),
    Place("refused by the painter", "/tasks/{refused}", "guest"),
    Place("stopped", "/tasks/{stopped}", "guest"),
    Place("the original returned", "/tasks/{original}", "guest", arrive=_open_everything),
    Place("the original, wished for", "/tasks/{wished for}", "ada"),
    Place("done", "/tasks/{of ada 0}", "ada", arrive=_open_everything),
    Place("done and shared", "/tasks/{done}", "ada"),
    Place("done, seen by a stranger", "/tasks/{done}"),
    Place("my pictures", "/pictures", "ada"),
    Place("my pictures with ticks", "/pictures", "ada", arrive=_tick_two),
    Place("my pictures, painted", "/pictures?state=painted&style=golden", "ada"),
    Place("my pictures, none of that kind", "/pictures?state=unfinished", "ada"),
    Place("my pictures, none yet", "/pictures", "broke"),
    Place("deleting one", "/pictures/delete?task={of ada 0}", "ada"),
    Place("deleting all", "/pictures/delete?all=1", "ada"),
    Place("gallery", "/gallery"),
    Place("gallery, none of that kind", "/gallery?mode=text-to-image"),
    Place("gallery, bare", "/gallery", during=OpenSite.with_bare_walls),
    Place("share", "/share/{share}", arrive=_open_everything),
    Place("share, seen by its owner", "/share/{share}", "ada"),
    Place("sign in", "/auth/signin"),
    Place("sign in, refused", "/auth/signin", arrive=_sign_in_in_vain),
    Place("sign up", "/auth/signup"),
    Place("sign up, refused", "/auth/signup", arrive=_sign_up_with_a_weak_password),
    Place("sign up while closed", "/auth/signup", during=OpenSite.without_sign_ups),
    Place("forgot", "/auth/forgot"),
    Place("check your mail", "/auth/forgot", arrive=_ask_for_a_link),
    Place("confirm", "/auth/confirm/{confirm}"),
    Place("new password", "/auth/reset/{reset}"),
    Place("a link that has expired", "/auth/reset/expired", status=410),
    Place("Google's account belongs here", "/auth/bind-google/{bind}"),
    Place("Google refused", "/auth/error?error=google_not_linked", status=409),
    Place("mails of a development site", "/auth/mails"),
    Place("account", "/account", "ada", arrive=_open_everything),
    Place("statement", "/account/credits", "ada"),
    Place("deleting the account", "/account/delete", "ada"),
    Place("deleting the account, refused", "/account/delete", "broke", arrive=_refuse_to_delete),
    Place("help", "/help"),
    Place("privacy", "/privacy-policy"),
    Place("terms", "/terms-of-service"),
    Place("cookies", "/cookie-policy"),
    Place("reference of the API", "/api/docs"),
    Place("offline", "/offline"),
    *(Place(f"error {status}", f"/failure/{status}", status=status) for status in FAILURES),
)

OPERATORS = (
    Place("administration", "/admin/", "admin"),
    Place("users", "/admin/ui/users", "admin"),
    Place("one user", "/admin/ui/users/{user ada}", "admin"),
    Place("shares and reports", "/admin/ui/shares", "admin"),
    Place("one share", "/admin/ui/shares?id={share}", "admin"),
    Place("audit log", "/admin/ui/audit", "admin"),
    Place("orders", "/admin/ui/tasks", "admin", arrive=_open_everything),
    Place("orders that failed", "/admin/ui/tasks?state=failed", "admin"),
    Place("orders, none of that kind", "/admin/ui/tasks?state=failed&style=watercolour", "admin"),
    Place("one order", "/admin/ui/tasks/{painting}", "admin", arrive=_open_everything),
    Place("one order that failed", "/admin/ui/tasks/{failed}", "admin"),
    Place("before an order is failed", "/admin/ui/tasks/{waiting}/fail", "admin"),
    Place("switches", "/admin/ui/flags", "admin"),
    Place("queues", "/admin/ui/queues", "admin"),
)

PLACES = VISITORS + OPERATORS

NO_PAGES = {
    "account.download_export": "a zip",
    "own_pictures.download": "a zip, or a picture",
    "share_pages.picture": "a picture",
    "share_pages.thumbnail": "a picture",
    "share_pages.card": "a picture",
    "share_pages.original": "a picture",
    "share_desk.shared_thumbnail": "a picture",
    "google.begin": "a redirect",
    "meta.liveness": "an answer for programs",
    "figures.metrics": "figures for programs",
    "order_calls.list_orders": "an answer for programs",
    "crawlers.robots": "a text for search engines",
    "crawlers.sitemap": "a list for search engines",
    "shell.manifest": "what an installed site is called",
    "shell.service_worker": "a script",
    "static": "files",
    "failure": "what the open site adds",
}
"""What answers a GET outside of /api without being a page, and what it is instead."""
