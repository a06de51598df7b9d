"""Signing up and in with an address and a password, from the form to the mailed link and back."""

import hashlib
import re
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote, urljoin, urlsplit

import pytest
from flask import Flask
from itsdangerous import TimestampSigner
from werkzeug.test import TestResponse

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import transaction
from ghibli_flask.errors import WrongCredentials
from ghibli_flask.extensions import runtime
from ghibli_flask.models import User, UserProfile
from ghibli_flask.services import accounts, administration, passwords
from tests.auth.conftest import deliver, kept_mails, link_in
from tests.support.member import PASSWORD, confirmed_account, member
from tests.support.visitor import Visitor

EMAIL = "ada@example.org"
NEW_PASSWORD = "another window, another view"


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """The application as a developer has it: mails are kept."""
    return app_factory()


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A browser with a guest cookie."""
    return Visitor(app)


# --- What a visitor does ---


def sign_in(visitor: Visitor, email: str = EMAIL, password: str = PASSWORD, **fields: str) -> TestResponse:
    """Send the sign-in form."""
    return visitor.post("/auth/signin", data={"email": email, "password": password, **fields})


def sign_up(visitor: Visitor, email: str = EMAIL, password: str = PASSWORD) -> TestResponse:
    """Send the sign-up form."""
    return visitor.post("/auth/signup", data={"email": email, "password": password, "name": "Ada"})


def refresh(visitor: Visitor) -> Visitor:
    """Load a page, which brings the token of the present session."""
    visitor.token = visitor.get("/api/csrf").get_json()["csrfToken"]
    return visitor


def is_signed_in(visitor: Visitor) -> bool:
    """Whether the browser is somebody's."""
    return visitor.get("/api/user-credits").status_code == 200


def mailed_link(app: Flask) -> str:
    """Have the mails written, and take the link of the newest."""
    deliver(app)
    return link_in(kept_mails(app)[0])


def press(visitor: Visitor, link: str, **fields: str) -> TestResponse:
    """Open a mailed link and press its button; gives the answer to the button."""
    assert visitor.get(link).status_code == 200
    return visitor.post(link, data={"password": PASSWORD, **fields})


def page_without_secrets(answer: TestResponse, email: str) -> str:
    """A page as everybody sees it: without the token, and without the address that was typed."""
    text = answer.get_data(as_text=True).replace(email, "…")
    return re.sub(r'("csrfToken": "|name="csrf_token" value="|name="csrf-token" content=")[^"]*', r"\1…", text)


# --- The way in ---


def test_from_signing_up_to_signing_in(app: Flask, visitor: Visitor) -> None:
    """An account opens after its mailed link was pressed, has the month's credits, and opens again by its password."""
    assert sign_up(visitor).status_code == 200
    assert sign_in(visitor).status_code == 401
    link = mailed_link(app)
    for _ in range(2):
        assert visitor.get(link).status_code == 200, "opening the link uses it up"
    assert not is_signed_in(visitor)
    assert press(visitor, link).status_code == 303
    assert refresh(visitor).get("/api/user-credits").get_json()["credits"] == 30
    assert visitor.post("/auth/signout").status_code == 303
    assert not is_signed_in(refresh(visitor))
    assert sign_in(visitor, " Ada@Example.ORG ").status_code == 303
    assert is_signed_in(visitor)


@pytest.mark.parametrize("password", ["short", "nine char", "x" * 201])
def test_a_password_has_ten_to_two_hundred_characters(visitor: Visitor, password: str) -> None:
    """Anything shorter or longer is refused with a word about it, and no account is made."""
    answer = sign_up(visitor, password=password)
    assert answer.status_code == 422
    assert "10 to 200 characters" in answer.get_data(as_text=True)


ANY_CHARACTERS = {
    "blanks at both ends": " leading and trailing blanks ",
    "small letters alone": "only small letters here",
    "digits alone": "82640175936284",
    "another script": "окно с видом на сад",
    "drawings": "🌿🪟🎨🌧🏡🐈🍃🌾🌙🚲🧵",
    "marks": "<b>'\"--;%s\\&amp;",
    "long": "the rain has stopped and the lamp in the window of the little house by the sea is lit again",
}


@pytest.mark.parametrize("password", ANY_CHARACTERS.values(), ids=ANY_CHARACTERS.keys())
def test_any_characters_make_a_password(app: Flask, visitor: Visitor, password: str) -> None:
    """Blanks, one kind of characters alone, any script: taken as typed, and nothing else opens the account."""
    sign_up(visitor, password=password)
    press(visitor, mailed_link(app), password=password)
    other = Visitor(app)
    for wrong in (password.strip() + "!", password.upper() + ".", password[:-1], password + "a"):
        assert sign_in(other, password=wrong).status_code == 401
    assert sign_in(other, password=password).status_code == 303


def test_a_password_is_never_cut(app: Flask, visitor: Visitor) -> None:
    """What only begins with the longest password does not open the account."""
    longest = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(4))[:200]
    with app.app_context():
        confirmed_account(EMAIL, longest)
    assert sign_in(visitor, password=longest + "k").status_code == 401
    assert sign_in(visitor, password=longest).status_code == 303


@pytest.mark.parametrize("password", ["1234567890", "password123", "qwertyuiop", "Password123"])
def test_common_passwords_are_refused(visitor: Visitor, password: str) -> None:
    """A password that everybody tries first is not taken, however long it is."""
    assert sign_up(visitor, password=password).status_code == 422


def test_password_fields_suit_password_managers(app: Flask, visitor: Visitor) -> None:
    """Every field for a password is masked, says what it is for, and forbids no pasting."""
    link = reset_link(app, visitor)
    for path, purpose in (
        ("/auth/signin", "current-password"),
        ("/auth/signup", "new-password"),
        (link, "new-password"),
    ):
        fields = re.findall(r"<input[^>]*name=\"password\"[^>]*>", visitor.get(path).get_data(as_text=True))
        assert len(fields) == 1
        assert 'type="password"' in fields[0]
        assert f'autocomplete="{purpose}"' in fields[0]
        assert "onpaste" not in fields[0]


def test_nobody_is_asked_for_hints(app: Flask, visitor: Visitor) -> None:
    """The forms of the door ask for an address, a password and a name, and for no hint or secret question."""
    names = set()
    for path in ("/auth/signin", "/auth/signup", "/auth/forgot", reset_link(app, visitor)):
        names |= set(re.findall(r"<input[^>]* name=\"([^\"]*)\"", visitor.get(path).get_data(as_text=True)))
    assert names <= {"csrf_token", "email", "username", "password", "name", "next"}


# --- No answer tells whether an address has an account ---


def prepared(app: Flask, visitor: Visitor) -> dict[str, str]:
    """Addresses of every kind, each under what it is."""
    with app.app_context():
        confirmed_account("known@example.org")
        google_only = confirmed_account("google@example.org")
        older = confirmed_account("older@example.org")

        def unit(session: object) -> None:
            session.get_one(User, google_only).password_hash = None  # type: ignore[attr-defined]
            session.get_one(User, older).password_hash = "a word in the clear"  # type: ignore[attr-defined]

        transaction(unit)
    sign_up(visitor, "unconfirmed@example.org")
    kinds = ("known", "google", "older", "unconfirmed", "unknown")
    return {kind: f"{kind}@example.org" for kind in kinds}


def test_a_refusal_says_the_same_to_everybody(app: Flask, visitor: Visitor) -> None:
    """A wrong password, an unknown address, one not confirmed yet and one without a password: one and the same page."""
    pages = set()
    for kind, email in prepared(app, visitor).items():
        answer = sign_in(visitor, email, PASSWORD if kind == "unconfirmed" else "a wrong password")
        assert answer.status_code == 401
        pages.add(page_without_secrets(answer, email))
    assert len(pages) == 1


@pytest.mark.parametrize("path", ["/auth/signup", "/auth/forgot"])
def test_asking_for_a_mail_says_the_same_to_everybody(app: Flask, visitor: Visitor, path: str) -> None:
    """Signing up and asking for a new password are answered alike, whoever has the address."""
    pages = set()
    for email in prepared(app, visitor).values():
        answer = visitor.post(path, data={"email": email, "password": PASSWORD})
        assert answer.status_code == 200
        pages.add(page_without_secrets(answer, email))
    assert len(pages) == 1


@pytest.mark.usefixtures("costly_passwords")
def test_a_password_is_costly_to_guess() -> None:
    """A hash takes the memory and the rounds that OWASP's password storage cheat sheet asks of argon2id, or more."""
    kept = passwords.keep(PASSWORD)
    memory_kib, rounds = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),", kept).groups()
    assert int(memory_kib) >= 19 * 1024
    assert int(rounds) >= 2
    assert passwords.verify(kept, PASSWORD) == (True, None)


@pytest.mark.usefixtures("costly_passwords")
def test_a_refusal_takes_as_long_for_everybody(app: Flask, visitor: Visitor) -> None:
    """The work of a refusal does not tell the kinds of addresses apart: whatever waits, all wait for the same."""
    times: dict[str, list[float]] = {}
    kinds = prepared(app, visitor)
    with app.app_context():
        for _ in range(9):
            runtime().redis.flushdb()  # The slow-down after failures is not what is measured.
            for kind, email in kinds.items():
                began = time.process_time()
                with pytest.raises(WrongCredentials):
                    accounts.sign_in(email, "a wrong password", "192.0.2.1")
                times.setdefault(kind, []).append(time.process_time() - began)
    # Processor time, and the least noisy figure of each: other work on the machine only ever adds to it.
    fastest = {kind: min(seconds) for kind, seconds in times.items()}
    assert max(fastest.values()) < 2 * min(fastest.values()), fastest
    assert statistics.median(times["unknown"]) > 0.005, "no password was hashed at all"


def test_a_second_sign_up_changes_nothing_for_the_owner(app: Flask, visitor: Visitor) -> None:
    """Signing up with a confirmed address neither changes its password nor says that it exists; its owner is told."""
    with app.app_context():
        confirmed_account(EMAIL)
    assert sign_up(visitor, password="the password of a stranger").status_code == 200
    deliver(app)
    assert "account already" in kept_mails(app)[0]["Subject"]
    assert sign_in(visitor, password="the password of a stranger").status_code == 401
    assert sign_in(visitor).status_code == 303


def test_nobody_prepares_an_account_for_somebody_else(app: Flask, visitor: Visitor) -> None:
    """A stranger who signs up with Ada's address after her gains nothing when Ada presses the button in the mail."""
    sign_up(visitor)
    sign_up(Visitor(app, "198.51.100.9"), password="the password of a stranger")
    deliver(app)
    for letter in kept_mails(app):
        if visitor.get(link_in(letter)).status_code == 200:
            visitor.post(link_in(letter), data={"password": PASSWORD})
    stranger = Visitor(app, "198.51.100.9")
    assert sign_in(stranger, password="the password of a stranger").status_code == 401


# --- Links from mails ---


def reset_link(app: Flask, visitor: Visitor, email: str = EMAIL) -> str:
    """Make the account if need be, ask for a new password, and take the link from the mail."""
    with app.app_context():
        if accounts.find_by_email_key(accounts.email_key(email)) is None:
            confirmed_account(email)
    assert visitor.post("/auth/forgot", data={"email": email}).status_code == 200
    return mailed_link(app)


def test_a_forgotten_password_is_replaced(app: Flask, visitor: Visitor) -> None:
    """The mailed link sets a new password once, signs in here, and ends every other session."""
    elsewhere = member(app, EMAIL)
    link = reset_link(app, visitor)
    assert visitor.get(link).status_code == 200
    assert visitor.post(link, data={"password": "short"}).status_code == 422
    assert visitor.post(link, data={"password": NEW_PASSWORD}).status_code == 303
    assert is_signed_in(visitor)
    assert not is_signed_in(elsewhere)
    refresh(visitor)
    assert visitor.get(link).status_code == 410
    assert visitor.post(link, data={"password": PASSWORD}).status_code == 410
    fresh = Visitor(app)
    assert sign_in(fresh).status_code == 401
    assert sign_in(fresh, password=NEW_PASSWORD).status_code == 303


def test_a_newer_password_kills_older_links(app: Flask, visitor: Visitor) -> None:
    """Of two reset links the second is dead once the first was used."""
    first = reset_link(app, visitor)
    time.sleep(1.1)  # Links carry whole seconds, so that this one differs from the first.
    second = reset_link(app, visitor)
    assert first != second
    assert visitor.post(first, data={"password": NEW_PASSWORD}).status_code == 303
    assert refresh(visitor).get(second).status_code == 410


def test_a_used_confirmation_is_dead(app: Flask, visitor: Visitor) -> None:
    """The link that confirmed an address signs nobody in a second time."""
    sign_up(visitor)
    link = mailed_link(app)
    assert press(visitor, link).status_code == 303
    stranger = Visitor(app)
    assert stranger.post(link, data={"password": PASSWORD}).status_code == 410
    assert not is_signed_in(stranger)


@pytest.mark.parametrize(("kind", "lasts"), [("confirm", 24 * 3600), ("reset", 3600), ("bind-google", 3600)])
def test_links_grow_old(app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, kind: str, lasts: int) -> None:
    """A link works until its time is over and not a moment longer; a changed one never does."""
    with app.app_context():
        account = accounts.find(confirmed_account(EMAIL))

        def made_ago(seconds: int) -> str:
            with monkeypatch.context() as patch:
                patch.setattr(TimestampSigner, "get_timestamp", lambda _self: int(time.time()) - seconds)
                return accounts.link_token(kind, account, "sub")

        young, old = made_ago(lasts - 30), made_ago(lasts + 30)
    assert visitor.get(f"/auth/{kind}/{young}").status_code == 200
    assert visitor.get(f"/auth/{kind}/{old}").status_code == 410
    for changed in (young[:-2] + "xx", "x" + young, young.replace(".", "", 1), "nonsense"):
        assert visitor.get(f"/auth/{kind}/{changed}").status_code == 410


def test_a_link_opens_only_its_own_door(app: Flask, visitor: Visitor) -> None:
    """A link to confirm an address sets no password, and one to set a password confirms nothing."""
    with app.app_context():
        account = accounts.find(confirmed_account(EMAIL))
        tokens = {kind: accounts.link_token(kind, account, "sub") for kind in accounts.LINK_LASTS_S}
    for kind, token in tokens.items():
        for door in tokens:
            assert visitor.get(f"/auth/{door}/{token}").status_code == (200 if door == kind else 410)


def test_pages_behind_links_are_not_kept_or_told_of(app: Flask, visitor: Visitor) -> None:
    """No cache keeps the page of a secret link, and no other site hears its address."""
    headers = visitor.get(reset_link(app, visitor)).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] in {"same-origin", "no-referrer"}


# --- A password that is changed, an account that is blocked ---


def test_a_changed_password_ends_other_sessions(app: Flask) -> None:
    """Whoever changes the password stays, everybody else is signed out; the old one no longer opens anything."""
    here, elsewhere = member(app, EMAIL), member(app, EMAIL)
    answer = here.post("/account/password", data={"old": PASSWORD, "password": NEW_PASSWORD})
    assert answer.status_code == 303
    assert is_signed_in(here)
    assert not is_signed_in(elsewhere)
    assert sign_in(Visitor(app)).status_code == 401
    assert sign_in(Visitor(app), password=NEW_PASSWORD).status_code == 303


def test_changing_needs_the_old_password(app: Flask) -> None:
    """A wrong old password changes nothing, and guessing it is slowed down like at the door."""
    here, elsewhere = member(app, EMAIL), member(app, EMAIL)
    wrong = {"old": "a wrong password", "password": NEW_PASSWORD}
    statuses = [here.post("/account/password", data=wrong).status_code for _ in range(12)]
    assert statuses[0] == 422
    assert statuses[-1] == 429
    assert is_signed_in(elsewhere)
    with app.app_context():
        runtime().redis.flushdb()
    assert sign_in(Visitor(app)).status_code == 303


def test_a_blocked_account_is_shut(app: Flask, visitor: Visitor) -> None:
    """Blocking ends every session; the right password is told so, a wrong one learns nothing, and no mail goes out."""
    blocked = member(app, EMAIL)
    with app.app_context():
        administration.block("admin@example.org", blocked.user_id)
    assert not is_signed_in(blocked)
    assert sign_in(visitor).status_code == 403
    assert sign_in(visitor, password="a wrong password").status_code == 401
    assert visitor.post("/auth/forgot", data={"email": EMAIL}).status_code == 200
    deliver(app)
    assert kept_mails(app) == []


def test_a_link_does_not_open_a_blocked_account(app: Flask, visitor: Visitor) -> None:
    """A reset link that was mailed before the block signs nobody in after it."""
    link = reset_link(app, visitor)
    with app.app_context():
        user = accounts.find_by_email_key(accounts.email_key(EMAIL))
        assert user is not None
        administration.block("admin@example.org", user.user.id)
    assert visitor.post(link, data={"password": NEW_PASSWORD}).status_code == 403
    assert not is_signed_in(refresh(visitor))


def test_there_are_no_accounts_to_begin_with(app: Flask, visitor: Visitor) -> None:
    """A fresh installation has no user, and none of the usual names opens it."""
    for name in ("admin", "root", "admin@example.org", "test@example.org"):
        assert sign_in(visitor, name, name).status_code == 401
    with app.app_context():
        assert administration.people() == []


def test_only_a_proven_address_makes_an_administrator(app_factory: Callable[..., Flask]) -> None:
    """An address of ADMIN_EMAILS is an administrator's after its confirmation, and no longer when it is taken off."""
    app = app_factory(admin_emails=("ada@example.org",))
    visitor = Visitor(app)
    sign_up(visitor)
    assert press(visitor, mailed_link(app)).status_code == 303
    assert visitor.get("/admin/ui/users").status_code == 200
    without = app_factory()
    former = member(without, EMAIL)
    assert former.get("/admin/ui/users").status_code == 403


# --- Slowing down ---


@pytest.fixture(params=["with Redis", "with Redis away"])
def slowed(request: pytest.FixtureRequest, app_factory: Callable[..., Flask]) -> Flask:
    """The application with and without its Redis."""
    return app_factory(**({"redis_url": "redis://127.0.0.1:1/0"} if request.param == "with Redis away" else {}))


def test_an_account_slows_down(slowed: Flask) -> None:
    """After ten wrong passwords an account refuses also the right one, from any address, and others go on."""
    with slowed.app_context():
        for email in (EMAIL, "ben@example.org"):
            confirmed_account(email)
    guesser, owner = Visitor(slowed), Visitor(slowed, "198.51.100.7")
    for _ in range(10):
        assert sign_in(guesser, password="a wrong password").status_code == 401
    for visitor in (guesser, owner):
        answer = sign_in(visitor)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 15 * 60
        assert not is_signed_in(visitor)
    assert sign_in(guesser, "ben@example.org").status_code == 303


def test_an_address_slows_down(slowed: Flask) -> None:
    """Fifty wrong passwords from one address shut it for every account, also unknown ones; other addresses go on."""
    with slowed.app_context():
        confirmed_account(EMAIL)
    guesser = Visitor(slowed, "198.51.100.7")
    for number in range(50):
        assert sign_in(guesser, f"nobody-{number}@example.org").status_code == 401
    assert sign_in(guesser).status_code == 429
    assert sign_in(Visitor(slowed, "198.51.100.8")).status_code == 303


def test_a_slowed_account_has_a_way_in(app: Flask, visitor: Visitor) -> None:
    """Somebody else's guesses lock nobody out: a running session goes on, and a mailed link opens the account."""
    owner = member(app, EMAIL)
    for _ in range(11):
        sign_in(visitor, password="a wrong password")
    assert is_signed_in(owner)
    fresh = Visitor(app, "198.51.100.7")
    assert fresh.post(reset_link(app, fresh), data={"password": NEW_PASSWORD}).status_code == 303
    assert is_signed_in(fresh)


def test_mails_to_one_address_are_bounded(app: Flask, visitor: Visitor) -> None:
    """Nobody's mailbox is filled: five mails an hour to one address, known or not."""
    for email in (EMAIL, "unknown@example.org"):
        answers = [visitor.post("/auth/forgot", data={"email": email}) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]


# --- Where a sign-in leads ---

TRICKS = [
    "//elsewhere.example", "///elsewhere.example", "////elsewhere.example/x", "/\\elsewhere.example",
    "\\/elsewhere.example", "\\\\elsewhere.example", "/\\/elsewhere.example", "https://elsewhere.example",
    "https:elsewhere.example", "https:/elsewhere.example", "HTTPS://elsewhere.example", "javascript:alert(1)",
    "JaVaScRiPt:alert(1)", "data:text/html,x", "/\t/elsewhere.example", "/\n/elsewhere.example",
    "/\r\n/elsewhere.example", "\t//elsewhere.example", " //elsewhere.example", "//[", "http://[", "/[//x",
    "//elsewhere.example\\@localhost/", "/.//elsewhere.example", "/%09/elsewhere.example", "/%2f%2felsewhere.example",
    "%2f%2felsewhere.example", "/%5celsewhere.example", "elsewhere.example", "?x", "", "/a\x00b", "/\u2028/x",
    "//localhost@elsewhere.example", "/\u3000/elsewhere.example", "/x\r\nSet-Cookie: a=b",
]  # fmt: skip


def as_browsers_read(location: str) -> str:
    """The host that a browser goes to: it drops tabs and line ends, and reads a backslash as a slash."""
    cleaned = re.sub(r"[\t\r\n]", "", location).strip("\x00 ").replace("\\", "/")
    return urlsplit(urljoin("http://localhost/auth/signin", cleaned)).netloc


@pytest.mark.parametrize("wished", TRICKS)
def test_next_never_leads_off_the_site(app: Flask, wished: str) -> None:
    """Whatever `next` says, signing in ends on this site, by the form and by the address alike."""
    signed_in = member(app, EMAIL)
    answers = [
        sign_in(signed_in, next=wished),
        signed_in.get(f"/auth/signin?next={quote(wished)}"),
        signed_in.get(f"/auth/signup?next={quote(wished)}"),
    ]
    for answer in answers:
        assert answer.status_code in {302, 303}
        assert as_browsers_read(answer.location) == "localhost"
        assert answer.location.startswith("/")
        assert len(answer.headers.getlist("Set-Cookie")) <= 2


@pytest.mark.parametrize("wished", ["/", "/account", "/account/credits?before=7", "/tasks/0123", "/pictures#newest"])
def test_next_leads_to_pages_of_the_site(app: Flask, visitor: Visitor, wished: str) -> None:
    """A path of this site is where the visitor lands."""
    with app.app_context():
        confirmed_account(EMAIL)
    assert sign_in(visitor, next=wished).location == wished


def test_somebody_sent_to_the_door_comes_back(app: Flask, visitor: Visitor) -> None:
    """A page that asks to sign in gets its visitor back afterwards."""
    with app.app_context():
        confirmed_account(EMAIL)
    door = visitor.get("/account/credits").location
    page = visitor.get(door).get_data(as_text=True)
    wished = re.search(r'name="next" value="([^"]*)"', page)
    assert wished is not None
    assert sign_in(visitor, next=wished.group(1)).location == "/account/credits"


def test_an_entry_is_noted(app_factory: Callable[..., Flask]) -> None:
    """The time of the last sign-in stands in the row that earlier installations read it from."""
    clock = FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))
    app = app_factory(clock=clock)
    owner = member(app, EMAIL)
    clock.advance(hours=1)
    assert sign_in(owner).status_code == 303
    with app.app_context():
        assert accounts.find(owner.user_id).user.last_login == clock.now()
        assert isinstance(accounts.find(owner.user_id).profile, UserProfile)
