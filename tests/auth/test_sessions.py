"""Sessions of signed-in browsers: how they begin, how long they last, how they end, and what comes along."""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading
from ghibli_flask.models import ImageTask, UserSession
from ghibli_flask.services import sessions
from ghibli_flask.services.allowances import guest_of
from ghibli_flask.task_states import Outcome
from ghibli_flask.visitors import signed_in
from tests.support.member import PASSWORD, Member, confirmed_account, member
from tests.support.runs import claim, settle
from tests.support.visitor import Visitor

EMAIL, OTHER = "ada@example.org", "ben@example.org"
PRODUCTION: dict[str, Any] = {
    "app_env": "production",
    "app_url": "https://paint.example.org",
    "secret_key": ("correct-horse-battery-staple-4711-0815",),
}


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """The application at noon."""
    return app_factory(clock=clock)


def cookie(visitor: Visitor) -> str:
    """What the browser's session cookie holds."""
    kept = visitor.client.get_cookie("session")
    assert kept is not None
    return kept.value


def browser_with(app: Flask, session_cookie: str) -> Visitor:
    """Another browser that has got hold of a session cookie."""
    visitor = Visitor(app, "198.51.100.66")
    visitor.client.set_cookie("session", session_cookie)
    return visitor


def is_signed_in(visitor: Visitor) -> bool:
    """Whether the browser is somebody's."""
    return visitor.get("/api/user-credits").status_code == 200


def rows(app: Flask) -> list[UserSession]:
    """Every session in the database."""
    with app.app_context(), reading() as session:
        return list(session.scalars(select(UserSession)))


# --- How a session begins ---


def test_a_sign_in_begins_everything_anew(app: Flask) -> None:
    """Session cookie and CSRF token from before the sign-in are other ones after it, and the old token is refused."""
    with app.app_context():
        confirmed_account(EMAIL)
    visitor = Visitor(app)
    before, old_token = cookie(visitor), visitor.token
    assert visitor.post("/auth/signin", data={"email": EMAIL, "password": PASSWORD}).status_code == 303
    assert cookie(visitor) != before
    assert visitor.post("/account/profile", data={"name": "Ada"}).status_code == 403
    visitor.token = visitor.get("/api/csrf").get_json()["csrfToken"]
    assert visitor.token != old_token
    assert visitor.post("/account/profile", data={"name": "Ada"}).status_code == 303


def test_a_planted_cookie_is_worth_nothing(app: Flask) -> None:
    """Whoever knows, or planted, the cookies that a browser had before its sign-in is nobody by them after it."""
    with app.app_context():
        confirmed_account(EMAIL)
    mallory = Visitor(app, "198.51.100.66")
    victim = Visitor(app)
    victim.client.set_cookie("session", cookie(mallory))
    victim.token = mallory.token
    assert victim.post("/auth/signin", data={"email": EMAIL, "password": PASSWORD}).status_code == 303
    assert is_signed_in(victim)
    assert not is_signed_in(mallory)
    assert cookie(victim) != cookie(mallory)


def test_signing_in_again_ends_the_session_before(app: Flask) -> None:
    """A sign-in in a signed-in browser leaves one session, and a copy of the former cookie is worth nothing."""
    owner = member(app, EMAIL)
    copy = browser_with(app, cookie(owner))
    assert is_signed_in(copy)
    owner.sign_in()
    assert is_signed_in(owner)
    assert not is_signed_in(copy)
    assert len(rows(app)) == 1


def test_the_secret_is_long_random_and_kept_as_a_hash(app: Flask) -> None:
    """A session's secret has 256 random bits, no two are alike, and the database knows only their hashes."""
    guest = Visitor(app)
    with app.app_context():
        user_id = confirmed_account(EMAIL)
        secrets = {sessions.begin(user_id, "a browser", guest_of(None, guest.address)) for _ in range(20)}
    assert len(secrets) == 20
    assert all(len(secret) == 43 for secret in secrets)  # 32 bytes in base64
    hashes = {hashlib.sha256(secret.encode()).hexdigest() for secret in secrets}
    assert {row.token_hash for row in rows(app)} == hashes


@pytest.mark.parametrize("forged", ["", "nonsense", "eyJfdXNlcl9pZCI6IjEifQ.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb"])
def test_a_forged_cookie_is_nobody(app: Flask, forged: str) -> None:
    """A cookie that this site has not signed, or that was changed, signs nobody in."""
    owner = member(app, EMAIL)
    genuine = cookie(owner)
    for value in (forged, genuine[:-3] + "xyz", "x" + genuine, genuine.swapcase()):
        assert not is_signed_in(browser_with(app, value))
    assert is_signed_in(browser_with(app, genuine))


# --- The cookies themselves ---


def sent_cookies(app: Flask, base_url: str) -> dict[str, list[str]]:
    """The attributes of every cookie that a first visit and a sign-in set, in small letters."""
    with app.app_context():
        confirmed_account(EMAIL)
    client = app.test_client()
    first = client.get("/auth/signin", base_url=base_url)
    token = re.search(r'name="csrf-token" content="([^"]*)"', first.get_data(as_text=True))
    assert token is not None
    fields = {"email": EMAIL, "password": PASSWORD, "csrf_token": token.group(1)}
    entry = client.post("/auth/signin", base_url=base_url, data=fields)
    assert entry.status_code == 303
    lines = [*first.headers.getlist("Set-Cookie"), *entry.headers.getlist("Set-Cookie")]
    assert len(lines) == 3, "session and guest first, the session anew at the sign-in"
    return {line.split("=", 1)[0]: [part.strip().lower() for part in line.split(";")[1:]] for line in lines}


def test_cookies_of_production_are_shut(app_factory: Callable[..., Flask]) -> None:
    """In production every cookie is Secure, HttpOnly and Lax, for this host alone and for all of its paths."""
    cookies = sent_cookies(app_factory(**PRODUCTION), "https://paint.example.org")
    for name, attributes in cookies.items():
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(attributes), name
        assert not any(attribute.startswith("domain") for attribute in attributes)


def test_cookies_of_production_are_bound_to_their_host(app_factory: Callable[..., Flask]) -> None:
    """Their names begin with __Host-, so that browsers take them from this very host over TLS and from nowhere else."""
    cookies = sent_cookies(app_factory(**PRODUCTION), "https://paint.example.org")
    assert all(name.startswith("__Host-") for name in cookies)


def test_cookies_of_development_work_without_tls(app: Flask) -> None:
    """Without TLS the same cookies come without Secure, and HttpOnly and Lax all the same."""
    for attributes in sent_cookies(app, "http://localhost").values():
        assert "secure" not in attributes
        assert {"httponly", "samesite=lax"} <= set(attributes)


def test_production_asks_for_tls_ever_after(app_factory: Callable[..., Flask]) -> None:
    """Every answer of production tells browsers to come by TLS for a year, errors included; development does not."""
    production = app_factory(**PRODUCTION).test_client()
    for path in ("/", "/auth/signin", "/api/styles", "/nowhere"):
        assert production.get(path).headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in app_factory().test_client().get("/").headers


# --- How long it lasts ---


def test_a_session_survives_a_restart(app: Flask, app_factory: Callable[..., Flask], clock: FixedClock) -> None:
    """A new process with the same settings knows the browser again."""
    owner = member(app, EMAIL)
    assert is_signed_in(browser_with(app_factory(clock=clock), cookie(owner)))


def test_a_session_survives_a_new_key(app_factory: Callable[..., Flask], clock: FixedClock) -> None:
    """With the former SECRET_KEY behind the new one sessions go on; without it they are over."""
    former, new = "the-former-key-of-the-site-4711-0815", "the-present-key-of-the-site-0815-4711"
    owner = member(app_factory(clock=clock, secret_key=(former,)), EMAIL)
    assert is_signed_in(browser_with(app_factory(clock=clock, secret_key=(new, former)), cookie(owner)))
    assert not is_signed_in(browser_with(app_factory(clock=clock, secret_key=(new,)), cookie(owner)))


def test_an_unused_session_ends(app: Flask, clock: FixedClock) -> None:
    """Thirty days without a visit end a session; a visit before moves its end on."""
    owner = member(app, EMAIL)
    clock.advance(days=29)
    assert is_signed_in(owner)
    clock.advance(days=29)
    assert is_signed_in(owner)
    clock.advance(days=30, seconds=1)
    assert not is_signed_in(owner)
    with app.app_context():
        assert sessions.drop_expired() == 1
    assert rows(app) == []


def test_a_sign_in_is_fresh_for_ten_minutes(app_factory: Callable[..., Flask], clock: FixedClock) -> None:
    """What an administrator changes asks for a sign-in of the last ten minutes; visiting does not prolong them."""
    admin = member(app_factory(clock=clock, admin_emails=(EMAIL,)), EMAIL)
    change = {"amount": "1", "reason": "a gift"}
    address = f"/admin/ui/users/{admin.user_id}/balance"
    clock.advance(minutes=9)
    assert admin.post(address, data=change).location == f"/admin/ui/users/{admin.user_id}"
    clock.advance(minutes=2)
    refused = admin.post(address, data=change, headers={"Referer": "http://localhost/admin/ui/users"})
    assert refused.location.startswith("/auth/signin?fresh=1")
    admin.sign_in()
    assert admin.post(address, data=change).location == f"/admin/ui/users/{admin.user_id}"


# --- How it ends ---


def test_signing_out_ends_the_session_itself(app: Flask) -> None:
    """After signing out a copy of the cookie is worth nothing: the session is gone, not only the cookie."""
    owner = member(app, EMAIL)
    copy = browser_with(app, cookie(owner))
    assert owner.post("/auth/signout").status_code == 303
    assert not is_signed_in(owner)
    assert not is_signed_in(copy)
    assert rows(app) == []


def test_signing_out_is_no_link(app: Flask) -> None:
    """A GET signs nobody out, so that no picture on another page can."""
    owner = member(app, EMAIL)
    assert owner.get("/auth/signout").status_code == 405
    assert is_signed_in(owner)


def test_signing_out_everywhere(app: Flask) -> None:
    """One press ends every session of the account and of no other."""
    browsers = [member(app, EMAIL) for _ in range(3)]
    other = member(app, OTHER)
    assert browsers[0].post("/account/sessions/end-all").status_code == 303
    assert not any(is_signed_in(browser) for browser in browsers)
    assert is_signed_in(other)


def test_the_list_of_sessions(app: Flask) -> None:
    """The account shows its own browsers, and any of them can be ended; those of others cannot."""
    here, elsewhere, stranger = member(app, EMAIL), member(app, EMAIL), member(app, OTHER)
    with app.app_context():
        mine = {row.public_id for row in sessions.of_user(here.user_id)}
        foreign = sessions.of_user(stranger.user_id)[0].public_id
    page = here.get("/account").get_data(as_text=True)
    listed = set(re.findall(r"/account/sessions/([0-9a-f]{32})/end", page))
    assert listed
    assert listed <= mine
    assert foreign not in page
    other_one = next(public_id for public_id in mine if public_id != session_id(app, here))
    assert here.post(f"/account/sessions/{foreign}/end").status_code == 404
    assert is_signed_in(stranger)
    assert here.post(f"/account/sessions/{other_one}/end").status_code == 303
    assert is_signed_in(here)
    assert not is_signed_in(elsewhere)


def session_id(app: Flask, browser: Member) -> str:
    """The public id of a browser's session."""
    with app.test_request_context(headers={"Cookie": f"session={cookie(browser)}"}):
        who = signed_in()
        assert who is not None
        return who.session_id


def test_a_deleted_account_has_no_sessions(app: Flask) -> None:
    """Deleting the account ends it in every browser."""
    here, elsewhere = member(app, EMAIL), member(app, EMAIL)
    assert here.post("/account/delete", data={"password": PASSWORD}).status_code == 303
    assert not is_signed_in(here)
    assert not is_signed_in(elsewhere)
    assert rows(app) == []


# --- What comes along ---


def test_a_guests_pictures_come_along_and_the_payer_stays(app: Flask) -> None:
    """Signed in, the guest's pictures are the user's; a refund still goes to the guest's tries, not to the credits."""
    with app.app_context():
        confirmed_account(EMAIL)
    visitor = Visitor(app)
    task_id = visitor.ordered()
    run = claim(app, task_id)
    browser = row_of(app, task_id).payer
    assert visitor.post("/auth/signin", data={"email": EMAIL, "password": PASSWORD}).status_code == 303
    task = row_of(app, task_id)
    assert task.owner is not None
    assert task.owner.startswith("user:")
    assert task.payer == browser
    assert visitor.get(f"/api/image/{task_id}/original").status_code == 200
    assert settle(app, run, Outcome.FAILED, "internal")
    assert visitor.get("/api/user-credits").get_json()["credits"] == 30
    visitor.token = visitor.get("/api/csrf").get_json()["csrfToken"]
    visitor.post("/auth/signout")
    visitor.token = visitor.get("/api/csrf").get_json()["csrfToken"]
    assert visitor.order().get_json()["credits"] == 2, "the guest's try did not come back"


def row_of(app: Flask, task_id: str) -> ImageTask:
    """The row of a task."""
    with app.app_context(), reading() as session:
        return session.scalars(select(ImageTask).where(ImageTask.public_id == task_id)).one()


def test_after_signing_out_the_browser_is_a_guest_again(app: Flask) -> None:
    """What came along stays with the user: the guest who was there before no longer owns it."""
    with app.app_context():
        confirmed_account(EMAIL)
    visitor = Visitor(app)
    task_id = visitor.ordered()
    visitor.post("/auth/signin", data={"email": EMAIL, "password": PASSWORD})
    visitor.token = visitor.get("/api/csrf").get_json()["csrfToken"]
    visitor.post("/auth/signout")
    visitor.token = visitor.get("/api/csrf").get_json()["csrfToken"]
    assert visitor.get(f"/api/image/{task_id}/original").status_code == 403
    assert visitor.delete(f"/api/tasks/{task_id}").status_code == 403
    assert member(app, EMAIL).get(f"/api/image/{task_id}/original").status_code == 200


def test_a_stolen_guest_cookie_does_not_sign_in(app: Flask) -> None:
    """The guest's cookie lives on beside the session and opens nothing of the account."""
    owner = member(app, EMAIL)
    task_id = owner.ordered()
    guest = owner.client.get_cookie("guest")
    assert guest is not None
    thief = Visitor(app, "198.51.100.66")
    thief.client.set_cookie("guest", guest.value)
    assert not is_signed_in(thief)
    assert thief.get(f"/api/image/{task_id}/original").status_code == 403


def test_a_session_is_seen_at_most_every_ten_minutes(app: Flask, clock: FixedClock) -> None:
    """Visits write to the row of the session only now and then, so that a page costs no write."""
    owner = member(app, EMAIL)
    began = rows(app)[0].last_seen_at
    for _ in range(5):
        clock.advance(minutes=1)
        owner.get("/account")
    assert rows(app)[0].last_seen_at == began
    clock.advance(minutes=6)
    owner.get("/account")
    assert rows(app)[0].last_seen_at == began + timedelta(minutes=11)
