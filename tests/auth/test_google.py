"""Signing in with Google, from the button to the account, against an OpenID provider that runs on loopback."""

import base64
import hashlib
import logging
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from joserfc.jwk import RSAKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from ghibli_flask import queueing
from ghibli_flask.clock import Clock
from ghibli_flask.database import reading, transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models.credit import CreditEntry
from ghibli_flask.models.user import User, UserProfile, UserSession
from ghibli_flask.services import accounts, credits, mail, progress, sessions
from ghibli_flask.services.sessions import SignedIn
from jobs import letters
from scripts.processes import LOOPBACK
from tests.auth.conftest import CLIENT_ID, SECRET, Claims, Provider, Traveller, query_of
from tests.support.member import PASSWORD, confirmed_account

# The provider of the tests runs in this process and uses parts of Authlib that warn of their own end.
pytestmark = pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")

ANNA = {"email": "anna@gmail.com", "email_verified": True, "name": "Anna"}
BERTA = {"email": "berta@elsewhere.example", "email_verified": True, "name": "Berta"}
FRESH_S = sessions.FRESH_FOR.total_seconds()


class Later(Clock):
    """A clock that a test can move on."""

    ahead = timedelta()

    def now(self) -> Any:
        """The moment, moved on."""
        return super().now() + self.ahead


# --- What stands in the database, and who is signed in ---


def everything(app: Flask) -> list[list[tuple[Any, ...]]]:
    """Every row about people, to show that a refusal changed none."""
    with app.app_context(), reading() as session:
        return [
            sorted(tuple(row) for row in session.execute(select(*model.__table__.columns)))
            for model in (User, UserProfile, UserSession, CreditEntry)
        ]


def account_of(app: Flask, email: str) -> accounts.Account:
    """The account at this address."""
    with app.app_context():
        account = accounts.find_by_email_key(accounts.email_key(email))
    assert account is not None
    return account


def who_is(traveller: Traveller) -> SignedIn | None:
    """Who this browser is signed in as."""
    with traveller.client.session_transaction() as kept:
        secret = kept.get("_user_id")
    if secret is None:
        return None
    with traveller.app.app_context():
        return sessions.find(secret)


def user_id_of(traveller: Traveller) -> str:
    """The user that this browser is signed in as."""
    who = who_is(traveller)
    assert who is not None
    return who.user_id


def prepared_account(app: Flask, email: str) -> str:
    """An account with a password whose address nobody has confirmed; gives the user's id."""
    with app.app_context():
        accounts.sign_up(email, PASSWORD, "Somebody", "en", "192.0.2.9")
    return account_of(app, email).user.id


def password_account(app: Flask, email: str) -> str:
    """A confirmed account with a password; gives the user's id."""
    with app.app_context():
        return confirmed_account(email, PASSWORD)


def adopted_account(app: Flask, email: str, *, provider: str = "google", password_hash: str | None = None) -> str:
    """A row as the migration adopts it from an earlier installation, with 7 credits; gives the user's id."""
    user_id = "old-" + hashlib.sha256(email.encode()).hexdigest()[:8]

    def unit(session: Session) -> None:
        now = runtime().clock.now()
        session.add(
            User(
                id=user_id,
                email=email,
                provider=provider,
                password_hash=password_hash,
                monthly_credits=7,
                credits_reset_at=credits.next_reset(now),
            )
        )
        key = accounts.email_key(email)
        session.add(UserProfile(user_id=user_id, email_key=key, adopted_at=now, role="user"))
        session.flush()
        credits.open_account(session, user_id, 7)

    with app.app_context():
        transaction(unit)
    return user_id


def block(app: Flask, user_id: str) -> None:
    """Block an account."""

    def unit(session: Session) -> None:
        session.get_one(UserProfile, user_id).blocked_at = runtime().clock.now()

    with app.app_context():
        transaction(unit)


def asked_for_mails(app: Flask) -> list[Any]:
    """The jobs that write mails, in the order in which they were asked for."""
    with app.app_context():
        return queueing.maintenance_queue().jobs


def mailed_path(app: Flask) -> str:
    """Write the last mail that was asked for, as the maintenance worker does; gives the path of its link."""
    job = asked_for_mails(app)[-1]
    with app.app_context():
        letters.write(*job.args)
        text = mail.kept()[0].get_content()
    found = re.search(r"http://localhost:3000(/auth/bind-google/\S+)", text)
    assert found, text
    return found[1]


def sign_in_with_password(traveller: Traveller, email: str) -> None:
    """Sign in by the form."""
    answer = traveller.post("/auth/signin", data={"email": email, "password": PASSWORD, "csrf_token": traveller.token})
    assert answer.status_code == 303, answer.get_data(as_text=True)
    traveller.refresh_token()


def assert_refused(traveller: Traveller, answer: Any, code: str, status: int) -> None:
    """The answer leads to the error page, which tells this reason in words and nothing from inside."""
    assert answer.status_code == 303
    assert answer.location == f"/auth/error?error={code}"
    page = traveller.get(answer.location)
    text = page.get_data(as_text=True)
    assert page.status_code == status
    assert code in text
    assert "Traceback" not in text
    assert SECRET not in text


# --- The road there and back ---


def test_a_new_person_gets_an_account(traveller: Traveller, provider: Provider) -> None:
    """Somebody unknown comes back with an account of the provider google, keyed on sub, with the month's credits."""
    provider.has("sub-anna", **ANNA)
    answer = traveller.sign_in("sub-anna")
    assert (answer.status_code, answer.location) == (303, "/")
    account = account_of(traveller.app, "anna@gmail.com")
    assert (account.user.provider, account.user.name, account.user.password_hash) == ("google", "Anna", None)
    assert (account.profile.google_sub, account.user.monthly_credits) == ("sub-anna", 30)
    assert account.profile.email_verified_at is not None
    assert user_id_of(traveller) == account.user.id
    with traveller.app.app_context():
        assert credits.differences() == []


def test_a_known_person_comes_back_to_the_same_account(traveller: Traveller, provider: Provider) -> None:
    """The second sign-in, from another browser, opens the account of the first and makes no other."""
    provider.has("sub-anna", **ANNA)
    traveller.sign_in("sub-anna")
    other = Traveller(traveller.app, provider, "192.0.2.2")
    other.sign_in("sub-anna")
    assert user_id_of(other) == user_id_of(traveller)
    assert len(everything(traveller.app)[0]) == 1


def test_the_request_is_the_safe_kind(traveller: Traveller, provider: Provider) -> None:
    """The way there has state, nonce, PKCE S256 and the choice of account; the way back proves PKCE."""
    provider.has("sub-anna", **ANNA)
    address = traveller.leave()
    asked = query_of(address)
    assert address.startswith(provider.url)
    assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT_ID)
    assert set(asked["scope"].split()) == {"openid", "email", "profile"}
    assert (asked["code_challenge_method"], asked["prompt"]) == ("S256", "select_account")
    assert len(asked["state"]) >= 20
    assert len(asked["nonce"]) >= 20
    traveller.come_back(provider.agree(address, "sub-anna"))
    verifier = provider.token_requests[0]["code_verifier"]
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert asked["code_challenge"] == challenge


@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_the_redirect_address_is_exact(traveller: Traveller, provider: Provider, host: str) -> None:
    """Both requests name APP_URL with /api/auth/callback/google, whatever Host the visitor's request has."""
    provider.has("sub-anna", **ANNA)
    there = traveller.get("/auth/google", base_url=f"http://{host}/").location
    registered = "http://localhost:3000/api/auth/callback/google"
    assert query_of(there)["redirect_uri"] == registered
    back = urlsplit(provider.agree(there, "sub-anna"))
    traveller.get(f"{back.path}?{back.query}", base_url=f"http://{host}/")
    assert provider.token_requests[0]["redirect_uri"] == registered


@pytest.mark.parametrize(
    ("wished", "led_to"),
    [
        ("/tasks/abc?x=1", "/tasks/abc?x=1"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("", "/"),
    ],
)
def test_next_stays_here(traveller: Traveller, provider: Provider, wished: str, led_to: str) -> None:
    """After the sign-in the visitor is led to the wished page of this site, never to another site."""
    provider.has("sub-anna", **ANNA)
    assert traveller.sign_in("sub-anna", wished).location == led_to


def test_next_is_not_taken_from_the_way_back(traveller: Traveller, provider: Provider) -> None:
    """What stands in the callback's address decides nothing: the wish is kept in the signed session."""
    provider.has("sub-anna", **ANNA)
    back = provider.agree(traveller.leave("/pictures"), "sub-anna")
    assert traveller.come_back(back + "&next=/elsewhere").location == "/pictures"


def test_the_session_is_a_new_one(traveller: Traveller, provider: Provider) -> None:
    """What the browser's session held before the sign-in is gone after it, so nobody can have planted it."""
    provider.has("sub-anna", **ANNA)
    with traveller.client.session_transaction() as kept:
        kept["planted"] = "by somebody else"
    traveller.sign_in("sub-anna")
    with traveller.client.session_transaction() as kept:
        assert "planted" not in kept
        assert not [name for name in kept if "state" in name]


def test_the_guests_pictures_come_along(traveller: Traveller, provider: Provider) -> None:
    """A picture that the guest ordered belongs to the user after the sign-in."""
    provider.has("sub-anna", **ANNA)
    task_id = traveller.ordered()
    traveller.sign_in("sub-anna")
    with traveller.app.app_context():
        assert progress.look_up(task_id).owner == f"user:{user_id_of(traveller)}"


def test_leaving_often_does_not_outgrow_the_cookie(traveller: Traveller, provider: Provider) -> None:
    """Thirty attempts that end at the provider leave a session that browsers keep, and the next one signs in."""
    provider.has("sub-anna", **ANNA)
    for _ in range(30):
        traveller.leave("/pictures")
    cookie = traveller.client.get_cookie("session")
    assert cookie is not None
    assert len(cookie.value) < 2000
    assert traveller.sign_in("sub-anna").location == "/"


# --- When it does not go well ---


def test_denied(traveller: Traveller, provider: Provider) -> None:
    """Who says no at the provider comes back to a page that says so, as much a guest as before."""
    before = everything(traveller.app)
    answer = traveller.come_back(provider.deny(traveller.leave()))
    assert_refused(traveller, answer, "google_denied", 403)
    assert everything(traveller.app) == before
    assert who_is(traveller) is None


def test_mismatching_state(traveller: Traveller, provider: Provider) -> None:
    """An answer whose state this browser did not send is refused, and its code is not even redeemed."""
    provider.has("sub-anna", **ANNA)
    before = everything(traveller.app)
    back = provider.agree(traveller.leave(), "sub-anna")
    state = query_of(back)["state"]
    answer = traveller.come_back(back.replace(state, "x" + state[1:]))
    assert_refused(traveller, answer, "google_sign_in_failed", 400)
    assert provider.token_requests == []
    assert everything(traveller.app) == before


def test_somebody_elses_answer(traveller: Traveller, provider: Provider) -> None:
    """An attacker's own answer, put under a victim's browser, signs the victim in as nobody."""
    provider.has("sub-evil", email="evil@gmail.com", email_verified=True)
    attacker = Traveller(traveller.app, provider, "192.0.2.66")
    planted = provider.agree(attacker.leave(), "sub-evil")
    traveller.leave()
    assert_refused(traveller, traveller.come_back(planted), "google_sign_in_failed", 400)
    assert who_is(traveller) is None


def test_replayed_callback(traveller: Traveller, provider: Provider) -> None:
    """The same answer a second time is refused, and the sign-in of the first time stays."""
    provider.has("sub-anna", **ANNA)
    back = provider.agree(traveller.leave(), "sub-anna")
    traveller.come_back(back)
    before, signed_in = everything(traveller.app), user_id_of(traveller)
    assert_refused(traveller, traveller.come_back(back), "google_sign_in_failed", 400)
    assert user_id_of(traveller) == signed_in
    assert everything(traveller.app) == before


@pytest.mark.parametrize("query", ["", "?code=abc", "?state=abc", "?code=abc&state=def", "?error=server_error"])
def test_a_bare_callback(traveller: Traveller, query: str) -> None:
    """Whatever is sent to the callback without a sign-in under way ends on the page, not in a mistake of ours."""
    answer = traveller.get(f"/api/auth/callback/google{query}")
    assert_refused(traveller, answer, "google_sign_in_failed", 400)


def expired(claims: Claims) -> Claims:
    """A token of an hour ago."""
    return {**claims, "exp": int(time.time()) - 3600, "iat": int(time.time()) - 7200}


def without_nonce(claims: Claims) -> Claims:
    """A token that names no sign-in."""
    return {name: value for name, value in claims.items() if name != "nonce"}


@pytest.mark.parametrize(
    "alter",
    [
        expired,
        without_nonce,
        lambda claims: {**claims, "nonce": "of another sign-in"},
        lambda claims: {**claims, "aud": "another client"},
        lambda claims: {**claims, "iss": "https://evil.example"},
        lambda claims: {**claims, "sub": ""},
        lambda claims: {**claims, "sub": "s" * 256},
    ],
    ids=["expired", "no nonce", "other nonce", "other audience", "other issuer", "no sub", "long sub"],
)
def test_a_token_that_does_not_hold(
    traveller: Traveller, provider: Provider, alter: Callable[[Claims], Claims]
) -> None:
    """A token that is too old, meant for somebody else or from somebody else opens nothing."""
    provider.has("sub-anna", **ANNA)
    before = everything(traveller.app)
    provider.alter = alter
    assert_refused(traveller, traveller.sign_in("sub-anna"), "google_sign_in_failed", 400)
    assert everything(traveller.app) == before


def test_a_token_signed_by_somebody_else(traveller: Traveller, provider: Provider) -> None:
    """A token with the right claims and the wrong signature opens nothing."""
    provider.has("sub-anna", **ANNA)
    before = everything(traveller.app)
    provider.alter, provider.key = dict, RSAKey.generate_key(2048)
    assert_refused(traveller, traveller.sign_in("sub-anna"), "google_sign_in_failed", 400)
    assert everything(traveller.app) == before


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "anna@gmail.com", "email_verified": False},
        {"email": "anna@gmail.com"},
        {"email": "anna@gmail.com", "email_verified": "true"},
        {"email_verified": True},
        {"email": "anna", "email_verified": True},
    ],
    ids=["unverified", "says nothing", "a word", "no address", "no mail address"],
)
def test_unverified_address(traveller: Traveller, provider: Provider, claims: Claims) -> None:
    """Without an address that Google has verified nobody is let in, and the page says why."""
    provider.has("sub-anna", **claims)
    before = everything(traveller.app)
    assert_refused(traveller, traveller.sign_in("sub-anna"), "google_unverified", 403)
    assert everything(traveller.app) == before


def test_provider_away_at_the_start(traveller: Traveller, provider: Provider) -> None:
    """With the provider away the visitor gets the page at once, with a word to try again."""
    provider.stop()
    assert_refused(traveller, traveller.get("/auth/google"), "google_away", 503)


def test_provider_away_on_the_way_back(traveller: Traveller, provider: Provider) -> None:
    """A provider that goes away between agreeing and the token changes nothing, and a new attempt is possible."""
    provider.has("sub-anna", **ANNA)
    before = everything(traveller.app)
    back = provider.agree(traveller.leave(), "sub-anna")
    provider.stop()
    assert_refused(traveller, traveller.come_back(back), "google_away", 503)
    assert everything(traveller.app) == before


def test_provider_that_never_answers(
    app_factory: Callable[..., Flask], provider: Provider, google_settings: dict[str, Any]
) -> None:
    """A provider that takes the connection and says nothing holds a visitor up for seconds, not for ever."""
    with socket.create_server((LOOPBACK, 0)) as silent:
        address = f"http://{LOOPBACK}:{silent.getsockname()[1]}/metadata"
        app = app_factory(**{**google_settings, "google_metadata_url": address})
        traveller = Traveller(app, provider)
        begun = time.monotonic()
        answer = traveller.get("/auth/google")
        assert time.monotonic() - begun < 8
        assert_refused(traveller, answer, "google_away", 503)


def test_the_error_page_tells_only_what_is_listed(traveller: Traveller) -> None:
    """/auth/error shows nothing of its address: an unknown reason becomes the general one."""
    page = traveller.get("/auth/error?error=<b>your+account+is+hacked</b>&error_description=call+this+number")
    text = page.get_data(as_text=True)
    assert page.status_code == 400
    assert "hacked" not in text
    assert "call this" not in text


# --- Where there is a button ---


def test_the_button_shows_when_both_settings_are_there(traveller: Traveller) -> None:
    """With both settings the sign-in page leads to Google."""
    assert 'href="/auth/google' in traveller.get("/auth/signin").get_data(as_text=True)


@pytest.mark.parametrize("missing", ["google_client_id", "google_client_secret"])
def test_no_button_without_a_setting(
    app_factory: Callable[..., Flask], google_settings: dict[str, Any], provider: Provider, missing: str
) -> None:
    """Without one of the two settings there is no button, and the addresses lead nowhere."""
    traveller = Traveller(app_factory(**{**google_settings, missing: None}), provider)
    assert "/auth/google" not in traveller.get("/auth/signin").get_data(as_text=True)
    assert traveller.get("/auth/google").status_code == 404


# --- Whose account it is ---


def test_a_changed_address_is_followed(traveller: Traveller, provider: Provider) -> None:
    """Somebody who changed the address at Google keeps the account, and the account gets the new address."""
    provider.has("sub-anna", **ANNA)
    traveller.sign_in("sub-anna")
    user_id = user_id_of(traveller)
    for browser, email in (
        (Traveller(traveller.app, provider, "192.0.2.2"), "anna.b@gmail.com"),
        (traveller, "anna.c@gmail.com"),  # This one is signed in still.
    ):
        provider.has("sub-anna", **{**ANNA, "email": email})
        assert browser.sign_in("sub-anna").location == "/"
        assert user_id_of(browser) == user_id
        account = account_of(traveller.app, email)
        assert (account.user.id, account.user.email) == (user_id, email)
    assert len(everything(traveller.app)[0]) == 1


def test_a_changed_address_that_is_taken_stays(traveller: Traveller, provider: Provider) -> None:
    """An address that somebody has here is not taken away: the account opens and keeps its own."""
    provider.has("sub-anna", **ANNA)
    traveller.sign_in("sub-anna")
    user_id = user_id_of(traveller)
    owner = password_account(traveller.app, "taken@gmail.com")
    provider.has("sub-anna", **{**ANNA, "email": "taken@gmail.com"})
    other = Traveller(traveller.app, provider, "192.0.2.2")
    other.sign_in("sub-anna")
    assert user_id_of(other) == user_id
    assert account_of(traveller.app, "anna@gmail.com").user.id == user_id
    assert account_of(traveller.app, "taken@gmail.com").user.id == owner


@pytest.mark.usefixtures("each_database")
def test_two_browsers_at_once_make_one_account(app: Flask, provider: Provider) -> None:
    """Somebody new who comes back in six browsers at the same moment gets one account, and is signed in in each."""
    provider.has("sub-anna", **ANNA)
    browsers = [Traveller(app, provider, f"192.0.2.{number}") for number in range(1, 7)]
    answers = [provider.agree(browser.leave(), "sub-anna") for browser in browsers]
    with ThreadPoolExecutor(len(browsers)) as threads:
        led_to = list(threads.map(lambda browser, answer: browser.come_back(answer).location, browsers, answers))
    assert led_to == ["/"] * len(browsers)
    assert len({user_id_of(browser) for browser in browsers}) == 1
    users, profiles, _sessions, entries = everything(app)
    assert (len(users), len(profiles), len(entries)) == (1, 1, 1)


def test_an_address_that_changed_hands_opens_nothing(traveller: Traveller, provider: Provider) -> None:
    """Another Google account that now has the address of one that is known is refused."""
    provider.has("sub-anna", **ANNA)
    traveller.sign_in("sub-anna")
    before = everything(traveller.app)
    provider.has("sub-other", **ANNA)
    other = Traveller(traveller.app, provider, "192.0.2.2")
    assert_refused(other, other.sign_in("sub-other"), "google_taken", 409)
    assert everything(traveller.app) == before


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "Anna@GMail.com", "email_verified": True},
        {"email": "anna@googlemail.com", "email_verified": True},
        {"email": "anna@studio.example", "email_verified": True, "hd": "studio.example"},
    ],
    ids=["gmail", "googlemail", "workspace"],
)
def test_an_adopted_account_is_bound_at_once(traveller: Traveller, provider: Provider, claims: Claims) -> None:
    """A Google row of an earlier installation opens at its owner's first sign-in where Google hands out the address."""
    user_id = adopted_account(traveller.app, str(claims["email"]).lower())
    provider.has("sub-anna", **claims)
    assert traveller.sign_in("sub-anna").location == "/"
    assert user_id_of(traveller) == user_id
    with traveller.app.app_context():
        account = accounts.find(user_id)
        assert (account.profile.google_sub, account.user.monthly_credits) == ("sub-anna", 7)
        assert credits.differences() == []
    assert asked_for_mails(traveller.app) == []


def test_an_adopted_account_elsewhere_asks_by_mail(traveller: Traveller, provider: Provider) -> None:
    """Where the address is another provider's, the mail's link binds, after a click, and works once."""
    user_id = adopted_account(traveller.app, "berta@elsewhere.example")
    provider.has("sub-berta", **BERTA)
    before = everything(traveller.app)
    answer = traveller.sign_in("sub-berta")
    assert answer.status_code == 200
    assert "berta@elsewhere.example" in answer.get_data(as_text=True)
    assert everything(traveller.app) == before
    assert who_is(traveller) is None

    path = mailed_path(traveller.app)
    assert traveller.get(path).status_code == 200
    assert everything(traveller.app) == before
    assert traveller.post(path, data={"csrf_token": traveller.token}).status_code == 303
    assert user_id_of(traveller) == user_id
    with traveller.app.app_context():
        assert accounts.find(user_id).profile.google_sub == "sub-berta"
    traveller.refresh_token()
    assert traveller.post(path, data={"csrf_token": traveller.token}).status_code == 410

    other = Traveller(traveller.app, provider, "192.0.2.2")
    assert other.sign_in("sub-berta").location == "/"
    assert user_id_of(other) == user_id


def test_the_link_binds_only_the_one_who_asked(traveller: Traveller, provider: Provider) -> None:
    """A second link for another Google account is dead once the first has bound, and a made-up one never lived."""
    user_id = adopted_account(traveller.app, "berta@elsewhere.example")
    provider.has("sub-berta", **BERTA)
    provider.has("sub-evil", **BERTA)
    traveller.sign_in("sub-evil")
    evil = mailed_path(traveller.app)
    traveller.sign_in("sub-berta")
    mine = mailed_path(traveller.app)
    traveller.post(mine, data={"csrf_token": traveller.token})
    traveller.refresh_token()
    assert traveller.post(evil, data={"csrf_token": traveller.token}).status_code == 410
    assert traveller.get(evil + "x").status_code == 410
    with traveller.app.app_context():
        assert accounts.find(user_id).profile.google_sub == "sub-berta"


def test_binding_mails_are_bounded(traveller: Traveller, provider: Provider) -> None:
    """Somebody who signs in again and again cannot fill the owner's mailbox."""
    adopted_account(traveller.app, "berta@elsewhere.example")
    provider.has("sub-berta", **BERTA)
    answers = [traveller.sign_in("sub-berta") for _ in range(6)]
    assert_refused(traveller, answers[-1], "too_many_requests", 429)
    assert len(asked_for_mails(traveller.app)) == 5


def test_a_look_alike_address_is_not_bound_at_once(traveller: Traveller, provider: Provider) -> None:
    """An address that equals an adopted one only after normalising may be somebody else's: its owner is asked."""
    adopted_account(traveller.app, "anna@strasse.example")
    provider.has("sub-x", email="anna@straße.example", email_verified=True, hd="straße.example")
    assert traveller.sign_in("sub-x").status_code == 200
    assert who_is(traveller) is None
    assert len(asked_for_mails(traveller.app)) == 1


def test_a_prepared_account_is_dropped(traveller: Traveller, provider: Provider) -> None:
    """Who prepared a password account at somebody else's address and never confirmed it, gets nothing out of it."""
    prepared = prepared_account(traveller.app, "anna@gmail.com")
    provider.has("sub-anna", **ANNA)
    assert traveller.sign_in("sub-anna").location == "/"
    account = account_of(traveller.app, "anna@gmail.com")
    assert account.user.id != prepared
    assert (account.user.provider, account.user.password_hash) == ("google", None)
    attacker = Traveller(traveller.app, provider, "192.0.2.66")
    form = {"email": "anna@gmail.com", "password": PASSWORD, "csrf_token": attacker.token}
    assert attacker.post("/auth/signin", data=form).status_code == 401
    with traveller.app.app_context():
        assert credits.differences() == []


def confirmed(app: Flask) -> None:
    """A password account whose address was confirmed."""
    password_account(app, "anna@gmail.com")


def adopted_with_password(app: Flask) -> None:
    """A password account of an earlier installation."""
    adopted_account(app, "anna@gmail.com", provider="credentials", password_hash="$2b$04$" + "a" * 53)


def adopted_with_both(app: Flask) -> None:
    """A Google account of an earlier installation that has a password too."""
    adopted_account(app, "anna@gmail.com", password_hash="$2b$04$" + "a" * 53)


@pytest.mark.parametrize("prepare", [confirmed, adopted_with_password, adopted_with_both])
def test_a_password_account_is_never_linked_by_address(
    traveller: Traveller, provider: Provider, prepare: Callable[[Flask], None]
) -> None:
    """The address alone, though verified and Google's own, opens no account with a password; the page says how to."""
    prepare(traveller.app)
    provider.has("sub-anna", **ANNA)
    before = everything(traveller.app)
    answer = traveller.sign_in("sub-anna")
    assert_refused(traveller, answer, "google_not_linked", 409)
    assert 'href="/auth/signin"' in traveller.get(answer.location).get_data(as_text=True)
    assert everything(traveller.app) == before
    assert who_is(traveller) is None


def test_a_signed_in_user_links_the_own_account(traveller: Traveller, provider: Provider) -> None:
    """After the password, going to Google links it; its sign-in then opens that account, which keeps its address."""
    user_id = password_account(traveller.app, "me@work.example")
    provider.has("sub-anna", **ANNA)
    sign_in_with_password(traveller, "me@work.example")
    assert traveller.sign_in("sub-anna", "/pictures").location == "/pictures"
    assert user_id_of(traveller) == user_id
    other = Traveller(traveller.app, provider, "192.0.2.2")
    other.sign_in("sub-anna")
    assert user_id_of(other) == user_id
    with traveller.app.app_context():
        account = accounts.find(user_id)
        assert (account.user.email, account.user.provider) == ("me@work.example", "credentials")
    assert len(everything(traveller.app)[0]) == 1


def test_linking_what_belongs_to_another_is_refused(traveller: Traveller, provider: Provider) -> None:
    """A Google account that opens one account cannot be linked to a second one."""
    provider.has("sub-anna", **ANNA)
    Traveller(traveller.app, provider, "192.0.2.2").sign_in("sub-anna")
    user_id = password_account(traveller.app, "me@work.example")
    sign_in_with_password(traveller, "me@work.example")
    before = everything(traveller.app)
    assert_refused(traveller, traveller.sign_in("sub-anna"), "google_taken", 409)
    assert everything(traveller.app) == before
    assert user_id_of(traveller) == user_id


def test_a_second_google_account_is_refused(traveller: Traveller, provider: Provider) -> None:
    """Somebody signed in with one Google account cannot come back as another one."""
    provider.has("sub-anna", **ANNA)
    provider.has("sub-berta", **BERTA)
    traveller.sign_in("sub-anna")
    before = everything(traveller.app)
    assert_refused(traveller, traveller.sign_in("sub-berta"), "google_taken", 409)
    assert everything(traveller.app) == before


@pytest.fixture
def clock() -> Later:
    """A clock that the test moves on."""
    return Later()


@pytest.fixture
def aging(
    app_factory: Callable[..., Flask], google_settings: dict[str, Any], provider: Provider, clock: Later
) -> Traveller:
    """A visitor of a site whose clock the test moves on."""
    return Traveller(app_factory(clock=clock, **google_settings), provider)


def test_linking_asks_for_the_password_again_after_a_while(aging: Traveller, clock: Later, provider: Provider) -> None:
    """At a screen left open nobody adds a way in: the password is asked first, and then it goes on to Google."""
    password_account(aging.app, "me@work.example")
    provider.has("sub-anna", **ANNA)
    sign_in_with_password(aging, "me@work.example")
    under_way = provider.agree(aging.leave(), "sub-anna")
    clock.ahead += timedelta(seconds=FRESH_S + 60)
    answer = aging.get("/auth/google?next=/pictures")
    parts = urlsplit(answer.location)
    assert (answer.status_code, parts.path) == (302, "/auth/signin")
    assert parse_qs(parts.query)["next"] == ["/auth/google?next=/pictures"]
    assert_refused(aging, aging.come_back(under_way), "fresh_sign_in_needed", 403)
    assert account_of(aging.app, "me@work.example").profile.google_sub is None


def test_google_proves_again_who_is_there(aging: Traveller, clock: Later, provider: Provider) -> None:
    """A Google user whose sign-in is no longer fresh makes it so by going there once more."""
    provider.has("sub-anna", **ANNA)
    aging.sign_in("sub-anna")
    clock.ahead += timedelta(seconds=FRESH_S + 60)
    stale = who_is(aging)
    aging.sign_in("sub-anna")
    renewed = who_is(aging)
    assert stale is not None
    assert renewed is not None
    with aging.app.app_context():
        assert not sessions.is_fresh(stale)
        assert sessions.is_fresh(renewed)


def test_signing_out_on_the_way_does_not_link(traveller: Traveller, provider: Provider) -> None:
    """Somebody who is another one on the way back than on the way there, is refused."""
    password_account(traveller.app, "me@work.example")
    provider.has("sub-anna", **ANNA)
    back = provider.agree(traveller.leave(), "sub-anna")
    with traveller.client.session_transaction() as kept:
        under_way = dict(kept)
    sign_in_with_password(traveller, "me@work.example")
    with traveller.client.session_transaction() as kept:
        kept.update({name: value for name, value in under_way.items() if "google" in name})
    before = everything(traveller.app)
    assert_refused(traveller, traveller.come_back(back), "google_sign_in_failed", 400)
    assert everything(traveller.app) == before


def test_a_blocked_account_stays_shut(traveller: Traveller, provider: Provider) -> None:
    """A blocked account is not opened by Google, neither a known one nor one that waits to be bound."""
    provider.has("sub-anna", **ANNA)
    traveller.sign_in("sub-anna")
    block(traveller.app, user_id_of(traveller))
    block(traveller.app, adopted_account(traveller.app, "carla@gmail.com"))
    provider.has("sub-carla", email="carla@gmail.com", email_verified=True)
    before = everything(traveller.app)
    for sub in ("sub-anna", "sub-carla"):
        other = Traveller(traveller.app, provider, "192.0.2.2")
        assert_refused(other, other.sign_in(sub), "blocked", 403)
        assert who_is(other) is None
    assert everything(traveller.app) == before


def test_administrators_are_proven(
    app_factory: Callable[..., Flask], google_settings: dict[str, Any], provider: Provider
) -> None:
    """An address of ADMIN_EMAILS makes an administrator where Google hands it out, and not where it only knows it."""
    app = app_factory(**google_settings, admin_emails=("anna@gmail.com", "berta@elsewhere.example"))
    for sub, claims, is_admin in (("sub-anna", ANNA, True), ("sub-berta", BERTA, False)):
        provider.has(sub, **claims)
        traveller = Traveller(app, provider)
        traveller.sign_in(sub)
        who = who_is(traveller)
        assert who is not None
        assert who.is_admin is is_admin


def test_a_google_user_can_add_a_password(traveller: Traveller, provider: Provider) -> None:
    """A password set on the account page signs in, also where Google does not hand out the address."""
    provider.has("sub-berta", **BERTA)
    traveller.sign_in("sub-berta")
    who = who_is(traveller)
    assert who is not None
    with traveller.app.app_context():
        accounts.change_password(who.user_id, "", PASSWORD, who.session_id)
    other = Traveller(traveller.app, provider, "192.0.2.2")
    sign_in_with_password(other, "berta@elsewhere.example")
    assert user_id_of(other) == who.user_id


# --- What is written down ---


def test_secrets_are_not_in_the_log(traveller: Traveller, provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """At the most talkative level the log names no client secret, code, verifier, state, nonce or token."""
    caplog.set_level(logging.DEBUG)
    provider.has("sub-anna", **ANNA)
    asked = traveller.leave()
    back = provider.agree(asked, "sub-anna")
    traveller.come_back(back)
    traveller.come_back(back)
    traveller.come_back(provider.deny(traveller.leave()))
    # The provider and the visitor are in this process too; what they write is not the site's.
    written = "\n".join(
        record.getMessage()
        for record in caplog.records
        if record.name not in {"werkzeug", "oidc_provider_mock"} and "POST /oauth2/authorize" not in record.getMessage()
    )
    assert "a sign-in with Google ended with access_denied" in written
    sent = provider.token_requests[0]
    secrets = [SECRET, sent["code"], sent["code_verifier"], query_of(asked)["state"], query_of(asked)["nonce"], "eyJ"]
    assert [secret for secret in secrets if secret in written] == []
