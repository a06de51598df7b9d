"""The account pages: what they show, what their forms do, and who gets in. Written against the pages as a browser."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from ghibli_flask import queueing
from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading, transaction
from ghibli_flask.models import ImageTask, User, UserProfile, UserSession
from ghibli_flask.services import credits
from jobs.worker import ApplicationWorker
from tests.support.member import EMAIL, PASSWORD, Member, member
from tests.support.runs import paint
from tests.support.visitor import Visitor, photo

NEW_PASSWORD = "another window, another view"
PAGES = ("/account", "/account/credits", "/account/export", "/account/delete")
FORMS = (
    "/account/profile",
    "/account/password",
    "/account/sessions/some-id/end",
    "/account/sessions/end-all",
    "/account/export",
    "/account/delete",
)


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a day."""
    return FixedClock(datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """The application at noon."""
    return app_factory(clock=clock)


@pytest.fixture
def ada(app: Flask) -> Member:
    """A signed-in user."""
    return member(app)


def shown(visitor: Visitor, path: str, status: int = 200) -> str:
    """The text of a page."""
    answer = visitor.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return " ".join(answer.text.split())


def send(visitor: Visitor, path: str, **fields: str) -> TestResponse:
    """Send a form as its page does, with the token as a field."""
    return visitor.client.post(
        path, data={"csrf_token": visitor.token, **fields}, environ_base={"REMOTE_ADDR": visitor.address}
    )


def done(answer: TestResponse) -> None:
    """The form was taken and leads back to the account."""
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")


def work(app: Flask) -> None:
    """Do what waits on the maintenance queue."""
    with app.app_context():
        ApplicationWorker(app, queueing.maintenance_queue(), "test-maintenance").work(
            burst=True, logging_level="WARNING"
        )


def without_password(app: Flask, user_id: str) -> None:
    """Make an account one that came by Google."""
    with app.app_context():
        transaction(lambda session: session.execute(update(User).where(User.id == user_id).values(password_hash=None)))


def rows(app: Flask, model: type) -> int:
    """How many rows a table has."""
    with app.app_context(), reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


# --- Who gets in ---


@pytest.mark.parametrize("path", PAGES)
def test_a_page_leads_a_guest_to_the_sign_in_and_back(app: Flask, path: str) -> None:
    """A page of the account sends a guest to sign in, with the way back."""
    answer = Visitor(app).get(f"{path}?x=1")
    assert answer.status_code == 303
    assert answer.headers["Cache-Control"] == "no-store"
    target = urlsplit(answer.headers["Location"])
    assert (target.path, parse_qs(target.query)) == ("/auth/signin", {"next": [f"{path}?x=1"]})


@pytest.mark.parametrize("path", FORMS)
def test_a_form_of_a_guest_does_nothing(app: Flask, path: str) -> None:
    """A form sent without a session is refused as a page; sent from a page of ours it leads to the sign-in and back."""
    guest = Visitor(app)
    assert send(guest, path).status_code == 401
    answer = guest.post(path, headers={"Referer": "http://localhost/account"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/auth/signin?next=/account")


@pytest.mark.parametrize("path", FORMS)
def test_a_form_needs_its_token(ada: Member, path: str) -> None:
    """Without the token, or from another site, nothing is done."""
    assert ada.client.post(path, data={"password": PASSWORD}).status_code == 403
    assert ada.post(path, headers={"Origin": "https://evil.example"}).status_code == 403
    assert ada.get("/account").status_code == 200


def test_after_signing_in_the_way_leads_back(app: Flask, ada: Member) -> None:
    """The address that the sign-in is given brings a person back to the page that they wanted."""
    guest = Visitor(app)
    to = guest.get("/account/credits?before=7").headers["Location"]
    assert guest.get(to).status_code == 200
    answer = guest.post(to, data={"email": EMAIL, "password": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account/credits?before=7")


# --- What is shown ---


@pytest.mark.usefixtures("each_database")
def test_the_account_shows_what_is_left(ada: Member) -> None:
    """Balance, address and this browser are on the page, and a picture ordered is a picture less."""
    assert "30 pictures left" in shown(ada, "/account")
    ada.ordered()
    text = shown(ada, "/account")
    assert "29 pictures left" in text
    assert EMAIL in text


@pytest.mark.usefixtures("each_database")
def test_the_statement_shows_every_entry_once(app: Flask, ada: Member) -> None:
    """Every entry is on one of the pages, newest first, and those of pictures that are there lead to them."""
    task_id, gone = ada.ordered(), ada.ordered()
    paint(app, gone)
    ada.delete(f"/api/tasks/{gone}")
    with app.app_context():
        for number in range(credits.PAGE):
            credits.post(ada.user_id, number + 1)
    seen, path = [], "/account/credits"
    pages = 0
    while path:
        answer = ada.get(path)
        assert answer.status_code == 200
        seen += re.findall(r'aria-hidden="true">([+−][\d,]+)<', answer.text)
        older = re.search(r'href="(/account/credits\?before=\d+)"', answer.text)
        path, pages = older[1] if older else "", pages + 1
    assert seen == [f"+{number}" for number in range(credits.PAGE, 0, -1)] + ["−1", "−1", "+30"]
    assert pages == 2
    assert f'href="/tasks/{task_id}"' in answer.text
    assert gone not in answer.text


def test_a_mistyped_page_of_the_statement_is_its_first(ada: Member) -> None:
    """What is no number is as good as nothing."""
    assert "+30" in shown(ada, "/account/credits?before=x")


# --- Profile, password, sessions ---


@pytest.mark.usefixtures("each_database")
def test_name_and_language_are_kept(app: Flask, ada: Member) -> None:
    """The form changes both; a language that is not offered is refused and changes nothing."""
    done(send(ada, "/account/profile", name="  Ada L. ", locale="en"))
    assert "Ada L." in shown(ada, "/account")
    answer = send(ada, "/account/profile", name="Somebody", locale="tlh")
    assert answer.status_code == 422
    assert "This language is not offered here." in answer.text
    with app.app_context(), reading() as session:
        assert session.get_one(User, ada.user_id).name == "Ada L."
        assert session.get_one(UserProfile, ada.user_id).locale == "en"


@pytest.mark.usefixtures("each_database")
def test_a_new_password_signs_the_others_out(app: Flask, ada: Member) -> None:
    """This browser stays signed in, every other one is out, and only the new password opens the account."""
    phone = member(app, address="192.0.2.9")
    done(send(ada, "/account/password", old=PASSWORD, password=NEW_PASSWORD))
    assert ada.get("/account").status_code == 200
    assert phone.get("/account").status_code == 303
    assert Visitor(app).post("/auth/signin", data={"email": EMAIL, "password": PASSWORD}).status_code == 401
    assert member(app, password=NEW_PASSWORD).get("/account").status_code == 200


def test_a_wrong_old_password_changes_nothing(app: Flask, ada: Member) -> None:
    """The page says so with the error's status, and so it does for a new one that is too short."""
    assert send(ada, "/account/password", old="not it at all", password=NEW_PASSWORD).status_code == 422
    assert send(ada, "/account/password", old=PASSWORD, password="short").status_code == 422
    assert member(app).get("/account").status_code == 200


def test_a_first_password_needs_a_fresh_sign_in(app: Flask, ada: Member, clock: FixedClock) -> None:
    """An account without a password gets its first one only from somebody who has just signed in."""
    without_password(app, ada.user_id)
    clock.advance(minutes=11)
    answer = ada.post(
        "/account/password", data={"password": NEW_PASSWORD}, headers={"Referer": "http://localhost/account"}
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/auth/signin?fresh=1&next=/account")
    clock.advance(minutes=-11)
    done(send(ada, "/account/password", password=NEW_PASSWORD))
    assert member(app, password=NEW_PASSWORD).get("/account").status_code == 200


@pytest.mark.usefixtures("each_database")
def test_one_browser_is_signed_out(app: Flask, ada: Member) -> None:
    """Ending a session ends that one alone; somebody else's cannot be ended."""
    phone = member(app, address="192.0.2.9")
    bob = member(app, "bob@example.org")
    with app.app_context(), reading() as session:
        of_bob = session.scalar(select(UserSession.public_id).where(UserSession.user_id == bob.user_id))
    listed = re.findall(r"/account/sessions/([0-9a-f]{32})/end", ada.get("/account").text)
    assert len(listed) == 1
    assert send(ada, f"/account/sessions/{of_bob}/end").status_code == 404
    done(send(ada, f"/account/sessions/{listed[0]}/end"))
    assert ada.get("/account").status_code == bob.get("/account").status_code == 200
    assert phone.get("/account").status_code == 303


@pytest.mark.usefixtures("each_database")
def test_every_browser_is_signed_out(app: Flask, ada: Member) -> None:
    """Signing out everywhere ends this session too, and nobody else's; the browser is told at the sign-in."""
    phone, bob = member(app, address="192.0.2.9"), member(app, "bob@example.org")
    done(send(ada, "/account/sessions/end-all"))
    assert ada.get("/account").status_code == phone.get("/account").status_code == 303
    assert bob.get("/account").status_code == 200
    assert "You are signed out everywhere." in ada.get("/auth/signin").text


# --- The download ---


@pytest.mark.usefixtures("each_database")
def test_the_download_of_everything(app: Flask, ada: Member) -> None:
    """From the button over the progress to the zip, which is sent as a file and to its owner alone."""
    task_id = ada.ordered(photo(64, 64))
    assert ada.get("/account/export").status_code == 404
    done(send(ada, "/account/export"))
    done(send(ada, "/account/export"))
    assert "<progress" in shown(ada, "/account")
    assert ada.get("/account/export").status_code == 404
    work(app)
    assert 'href="/account/export"' in shown(ada, "/account")
    answer = ada.get("/account/export")
    assert answer.status_code == 200
    assert answer.mimetype == "application/zip"
    assert answer.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(r"attachment; filename=my-pictures-[\d-]{10}\.zip", answer.headers["Content-Disposition"])
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert json.loads(archive.read("account.json"))["tasks"][0]["public_id"] == task_id
    answer.close()
    assert member(app, "bob@example.org").get("/account/export").status_code == 404


# --- Leaving ---


@pytest.mark.usefixtures("each_database")
def test_deleting_asks_for_the_password(app: Flask, ada: Member) -> None:
    """Without the right password the account stays; with it everything is gone and this browser is a guest again."""
    task_id = ada.ordered()
    assert 'name="password"' in shown(ada, "/account/delete")
    for wrong in ("", "not it at all"):
        answer = send(ada, "/account/delete", password=wrong)
        assert answer.status_code == 422
        assert "This is not the password of your account." in answer.text
    assert ada.get(f"/tasks/{task_id}").status_code == 200
    answer = send(ada, "/account/delete", password=PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "is deleted" in ada.get("/").text
    assert ada.get("/account").status_code == 303
    assert ada.get(f"/tasks/{task_id}").status_code == 404
    assert rows(app, User) == rows(app, UserProfile) == rows(app, UserSession) == 0
    with app.app_context(), reading() as session:
        tombstone = session.scalars(select(ImageTask)).one()
    assert (tombstone.status, tombstone.source_key) == ("cancelled", None)
    assert Visitor(app).post("/auth/signin", data={"email": EMAIL, "password": PASSWORD}).status_code == 401


def test_passwords_are_not_guessed_at_an_open_screen(app: Flask, ada: Member) -> None:
    """After ten wrong passwords in either form even the right one has to wait."""
    for _ in range(5):
        assert send(ada, "/account/delete", password="not it at all").status_code == 422
        assert send(ada, "/account/password", old="not it at all", password=NEW_PASSWORD).status_code == 422
    assert send(ada, "/account/delete", password=PASSWORD).status_code == 429
    assert send(ada, "/account/password", old=PASSWORD, password=NEW_PASSWORD).status_code == 429
    assert rows(app, User) == 1


@pytest.mark.usefixtures("each_database")
def test_deleting_signs_every_browser_out(app: Flask, ada: Member) -> None:
    """Another browser of the account is a guest from that moment."""
    phone = member(app, address="192.0.2.9")
    assert send(ada, "/account/delete", password=PASSWORD).status_code == 303
    assert phone.get("/account").status_code == 303
    assert phone.order().status_code == 202


def test_an_account_without_a_password_is_deleted_after_a_fresh_sign_in(
    app: Flask, ada: Member, clock: FixedClock
) -> None:
    """Ten minutes after the sign-in the page and its form both ask for another one; a fresh one is enough."""
    without_password(app, ada.user_id)
    clock.advance(minutes=11)
    again = "/auth/signin?fresh=1&next=/account/delete"
    assert ada.get("/account/delete").headers["Location"] == again
    answer = ada.post("/account/delete", headers={"Referer": "http://localhost/account/delete"})
    assert (answer.status_code, answer.headers["Location"]) == (303, again)
    assert send(ada, "/account/delete").status_code == 403
    assert rows(app, User) == 1
    clock.advance(minutes=-11)
    assert 'name="password"' not in shown(ada, "/account/delete")
    assert send(ada, "/account/delete").headers["Location"] == "/"
    assert rows(app, User) == 0


def test_a_blocked_account_cannot_be_deleted(app: Flask, ada: Member, clock: FixedClock) -> None:
    """The refusal says that the account is blocked."""
    with app.app_context():
        now = clock.now()
        transaction(lambda session: session.execute(update(UserProfile).values(blocked_at=now)))
    answer = send(ada, "/account/delete", password=PASSWORD)
    assert answer.status_code == 403
    assert rows(app, User) == 1
