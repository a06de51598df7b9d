"""What visitors type is text wherever it is shown, to themselves, to administrators and by scripts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from markupsafe import escape

from tests.support.checkout import ROOT
from tests.support.member import member
from tests.support.runs import paint
from tests.support.visitor import Visitor

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7 * 7 }}"
MARKUP_AS_TEXT = str(escape(MARKUP))
SCRIPTS = sorted((ROOT / "static").rglob("*.js"))


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """A site with an administrator."""
    return app_factory(admin_emails=("admin@example.org",))


def assert_shown_as_text(page: str) -> None:
    """The page has no element, no end of an attribute and no sum that was typed."""
    for piece in ("<script>alert", "<img src=x", "onerror=alert(1)>", ">\"'", ">49<"):
        assert piece not in page.replace(MARKUP_AS_TEXT, "")


def test_a_name_is_text(app: Flask) -> None:
    """A name with markup in it is shown as it was typed, to its owner and to an administrator."""
    owner, admin = member(app, "ada@example.org"), member(app, "admin@example.org")
    assert owner.post("/account/profile", data={"name": MARKUP, "locale": "en"}).status_code == 303
    pages = [owner.get("/account"), owner.get("/"), admin.get("/admin/ui/users")]
    pages.append(admin.get(f"/admin/ui/users/{owner.user_id}"))
    texts = [page.get_data(as_text=True) for page in pages]
    assert any(MARKUP_AS_TEXT in text for text in texts), "the name is shown nowhere"
    for text in texts:
        assert_shown_as_text(text)


def test_a_reason_is_text(app: Flask) -> None:
    """What an administrator gives as a reason is text in the statement and in the audit log."""
    owner, admin = member(app, "ada@example.org"), member(app, "admin@example.org")
    change = {"amount": "1", "reason": MARKUP}
    assert admin.post(f"/admin/ui/users/{owner.user_id}/balance", data=change).status_code == 303
    for page in (owner.get("/account/credits"), admin.get("/admin/ui/audit")):
        assert_shown_as_text(page.get_data(as_text=True))


def test_what_is_sent_back_with_an_error_is_text(app: Flask) -> None:
    """Forms that are shown again hold what was typed as text, in fields and in addresses."""
    visitor = Visitor(app)
    data = {"email": f"{MARKUP}@example.org", "password": "wrong", "name": MARKUP, "next": f'/"{MARKUP}'}
    for path in ("/auth/signin", "/auth/signup"):
        assert_shown_as_text(visitor.post(path, data=data).get_data(as_text=True))
    assert_shown_as_text(visitor.post("/auth/forgot", data={"email": data["email"]}).get_data(as_text=True))
    assert_shown_as_text(visitor.get("/auth/error", query_string={"error": MARKUP}).get_data(as_text=True))
    assert_shown_as_text(visitor.get(f"/tasks/{MARKUP}").get_data(as_text=True))


def test_shown_words_are_text(app: Flask) -> None:
    """The words of an order are text on the page of its share and in its tags, in the gallery and at the desk."""
    owner, admin = member(app, "ada@example.org"), member(app, "admin@example.org")
    task_id = owner.ordered(prompt=MARKUP)
    paint(app, task_id)
    made = owner.post("/api/share", json={"taskId": task_id, "inGallery": True, "showPrompt": True}).get_json()
    pages = [f"/tasks/{task_id}", f"/share/{made['shareId']}", "/gallery"]
    texts = [owner.get(page).get_data(as_text=True) for page in pages]
    texts.append(admin.get(f"/admin/ui/shares?id={made['shareId']}").get_data(as_text=True))
    assert all(MARKUP_AS_TEXT in text for text in texts[1:]), "the words are shown nowhere"
    for text in texts:
        assert_shown_as_text(text)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_write_text(script: Path) -> None:
    """No script of the pages turns a text into markup or into code."""
    source = script.read_text()
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
    ):
        assert word not in source
