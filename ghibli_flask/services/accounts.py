"""People's accounts: sign up, confirm, sign in, passwords, Google, roles. Called by `auth`, `admin` and `jobs.letters`.

No answer tells whether an address has an account: sign-up and reset always say that a mail is on its way, and a wrong
password takes as long as an unknown address. A password account signs in only after its address is confirmed, so
nobody can prepare an account at somebody else's address.
"""

from __future__ import annotations

import hashlib
import unicodedata
import uuid
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy import ColumnElement, delete, select, text
from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import (
    Blocked,
    FieldError,
    InvalidFields,
    LinkExpired,
    NotFound,
    SignUpsClosed,
    WrongCredentials,
    _,
)
from ghibli_flask.extensions import runtime
from ghibli_flask.models.user import User, UserProfile
from ghibli_flask.services import credits, flags, mail, passwords, sessions
from ghibli_flask.services.throttle import (
    MAIL_BY_ACCOUNT,
    MAIL_BY_ADDRESS,
    SIGN_IN_BY_ACCOUNT,
    SIGN_IN_BY_ADDRESS,
    throttle,
)

CONFIRM, RESET, BIND_GOOGLE = "confirm", "reset", "bind-google"
LINK_LASTS_S = {CONFIRM: 24 * 3600, RESET: 3600, BIND_GOOGLE: 3600}
LONGEST_NAME = 100
LONGEST_EMAIL = 254
PASSWORD_PROVIDER, GOOGLE_PROVIDER = "credentials", "google"


@dataclass(frozen=True)
class Account:
    """A user with the profile, as plain rows that stay readable."""

    user: User
    profile: UserProfile

    @property
    def may_sign_in(self) -> bool:
        """Whether somebody was once let in: the address was confirmed, Google opened it, or the account was adopted."""
        return bool(self.profile.email_verified_at or self.profile.google_sub or self.profile.adopted_at)


def email_key(email: str) -> str:
    """How an address is compared and kept in keys: normalised, without regard to case, hashed."""
    return hashlib.sha256(unicodedata.normalize("NFKC", email.strip()).casefold().encode()).hexdigest()


def written_key(email: str) -> str:
    """The key of an adopted address that differs from another one in case alone: it is reached exactly as written."""
    return hashlib.sha256(f"as written {email.strip()}".encode()).hexdigest()


def find_by_address(session: Session, email: str) -> Account | None:
    """The account at this address, within a transaction."""
    written = find_within(session, UserProfile.email_key == written_key(email))
    return written or find_within(session, UserProfile.email_key == email_key(email))


def sign_up(email: str, password: str, name: str, locale: str, address: str) -> None:
    """Prepare an account and have its address confirmed by mail; says nothing about whether there was one already.

    Raises SignUpsClosed for everybody alike, InvalidFields for an unusable address, name or password, and
    TooManyRequests.
    """
    if not flags.current().takes_sign_ups:
        raise SignUpsClosed
    email = _checked_email(email)
    name = name.strip()[:LONGEST_NAME]
    hashed = passwords.keep(password, about=(email, name, runtime().settings.site_name))
    key = email_key(email)
    _slow_down_mail(key, address)
    transaction(lambda session: _prepare(session, email, key, hashed, name, locale))
    mail.ask_for(CONFIRM, key, locale)


def _prepare(session: Session, email: str, key: str, hashed: str, name: str, locale: str) -> None:
    """Enter an unconfirmed account, or renew one that was never confirmed; a confirmed one stays as it is."""
    found = find_within(session, UserProfile.email_key == key)
    if found is None:
        user = create(session, email, PASSWORD_PROVIDER, name, locale)
        user.password_hash = hashed
    elif not found.may_sign_in:
        found.user.password_hash = hashed
        found.user.name = _kept_name(session, name) or found.user.name


def create(session: Session, email: str, provider: str, name: str | None, locale: str | None) -> User:
    """Enter a new user with the month's credits and their opening entry, within a transaction.

    Raises SignUpsClosed while an operator takes no new accounts, whichever way somebody came.
    """
    if not flags.current_within(session).takes_sign_ups:
        raise SignUpsClosed
    now, settings = runtime().clock.now(), runtime().settings
    if _kept(session, email) != email:
        raise InvalidFields(
            fields=(FieldError("email", _("This site cannot keep a mail address with these letters.")),)
        )
    user = User(
        id=uuid.uuid4().hex,
        email=email,
        name=_kept_name(session, name),
        provider=provider,
        created_at=now,
        monthly_credits=settings.monthly_credits,
        credits_reset_at=credits.next_reset(now),
    )
    role = "admin" if email_key(email) in {email_key(admin) for admin in settings.admin_emails} else "user"
    session.add(user)
    session.add(UserProfile(user_id=user.id, email_key=email_key(email), locale=locale, role=role))
    session.flush()
    credits.open_account(session, user.id, settings.monthly_credits)
    return user


def sign_in(email: str, password: str, address: str) -> Account:
    """The account of this address and password; raises WrongCredentials, Blocked and TooManyRequests.

    An older hash is replaced by a present one on the way.
    """
    with reading() as session:
        found = find_by_address(session, email)
    known = found if found and found.may_sign_in else None
    return entered(_try_password(known, password, email_key(email), address))


def _try_password(found: Account | None, password: str, key: str, address: str) -> Account:
    """The account if the password is its; failures are counted for the account and for the address they come from."""
    throttle().check(SIGN_IN_BY_ACCOUNT, key)
    throttle().check(SIGN_IN_BY_ADDRESS, address)
    if not _fits(found, password) or found is None:
        throttle().count(SIGN_IN_BY_ACCOUNT, key)
        throttle().count(SIGN_IN_BY_ADDRESS, address)
        raise WrongCredentials
    return found


def _fits(found: Account | None, password: str) -> bool:
    """Whether the password is the account's; takes as long for nobody's. An older hash is renewed on the way."""
    fits, renewed = passwords.verify(found.user.password_hash if found else None, password)
    if found and fits and renewed:
        transaction(lambda session: setattr(session.get_one(User, found.user.id), "password_hash", renewed))
    return fits


def entered(account: Account) -> Account:
    """The last step of every way in: raises Blocked, notes the time, and makes administrators of ADMIN_EMAILS."""
    if account.profile.blocked_at:
        raise Blocked
    return transaction(lambda session: _note_entry(session, account.user.id))


def _note_entry(session: Session, user_id: str) -> Account:
    account = find_within(session, UserProfile.user_id == user_id)
    if account is None:
        raise WrongCredentials
    account.user.last_login = runtime().clock.now()
    admins = {email_key(admin) for admin in runtime().settings.admin_emails}
    is_proven = account.profile.email_verified_at is not None
    account.profile.role = "admin" if is_proven and account.profile.email_key in admins else "user"
    return account


def find(user_id: str) -> Account:
    """The account of this user; raises NotFound."""
    with reading() as session:
        account = find_within(session, UserProfile.user_id == user_id)
    if account is None:
        raise NotFound
    return account


def find_by_email_key(key: str) -> Account | None:
    """The account at this address, if there is one; for the job that writes mails."""
    with reading() as session:
        return find_within(session, UserProfile.email_key == key)


def ask_to_bind(account: Account, google_sub: str, locale: str, address: str) -> None:
    """Ask the owner of an account by mail whether this Google account may open it."""
    _slow_down_mail(account.profile.email_key, address)
    mail.ask_for(BIND_GOOGLE, account.profile.email_key, locale, google_sub)


def ask_for_reset(email: str, locale: str, address: str) -> None:
    """Have a reset link sent, if there is such an account; the answer is the same if not."""
    key = email_key(email)
    _slow_down_mail(key, address)
    with reading() as session:
        account = find_by_address(session, email)
    mail.ask_for(RESET, account.profile.email_key if account else key, locale)


def link_token(kind: str, account: Account, argument: str = "") -> str:
    """The signed part of a link in a mail: good once, and only while the account is as it is now."""
    return _links(kind).dumps([account.user.id, _fingerprint(account), argument])


def open_link(kind: str, token: str) -> tuple[Account, str]:
    """The account and argument behind a link; raises LinkExpired."""
    try:
        user_id, fingerprint, argument = _links(kind).loads(token, max_age=LINK_LASTS_S[kind])
        account = find(user_id)
    except (BadData, ValueError, NotFound) as error:
        raise LinkExpired from error
    if fingerprint != _fingerprint(account):
        raise LinkExpired
    return account, argument


def confirm(token: str, password: str, address: str) -> Account:
    """Take an address as confirmed by the link that was sent to it and the password that was chosen at sign-up.

    The password is asked because somebody else may have signed up with this address: the link alone would confirm an
    account whose password that other person knows. Raises LinkExpired, WrongCredentials and TooManyRequests.
    """
    account, _argument = open_link(CONFIRM, token)
    _try_password(account, password, account.profile.email_key, address)
    transaction(lambda session: _verify(session, account.user.id))
    return entered(find(account.user.id))


def reset_password(token: str, password: str) -> Account:
    """Set a new password by the link of a reset mail; every session of the account ends."""
    account, _argument = open_link(RESET, token)
    hashed = passwords.keep(password, about=_known_words(account.user))

    def unit(session: Session) -> None:
        session.get_one(User, account.user.id).password_hash = hashed
        _verify(session, account.user.id)
        sessions.end_all_within(session, account.user.id)

    transaction(unit)
    return entered(find(account.user.id))


def change_password(user_id: str, old: str, new: str, keep_session: str) -> None:
    """Change a known password, or set the first one of a Google account; other sessions end.

    Raises InvalidFields when the old one is wrong or the new one unusable, and TooManyRequests; a Google account
    without a password has no old one to give.
    """
    account = find(user_id)
    if account.user.password_hash:
        check_password(account, old, "old")
    hashed = passwords.keep(new, about=_known_words(account.user))

    def unit(session: Session) -> None:
        session.get_one(User, user_id).password_hash = hashed
        sessions.end_all_within(session, user_id, but=keep_session)

    transaction(unit)


def update_profile(user_id: str, name: str, locale: str | None) -> None:
    """Change the name and the language."""

    def unit(session: Session) -> None:
        session.get_one(User, user_id).name = _kept_name(session, name)
        session.get_one(UserProfile, user_id).locale = locale

    transaction(unit)


def choose_language(user_id: str, locale: str) -> None:
    """Keep the language that a user chose."""

    def unit(session: Session) -> None:
        session.get_one(UserProfile, user_id).locale = locale

    transaction(unit)


def check_password(account: Account, password: str, field: str) -> None:
    """For actions that ask a signed-in user once more: raises InvalidFields for a wrong one, and TooManyRequests."""
    throttle().check(SIGN_IN_BY_ACCOUNT, account.profile.email_key)
    if not _fits(account, password):
        throttle().count(SIGN_IN_BY_ACCOUNT, account.profile.email_key)
        raise InvalidFields(fields=(FieldError(field, _("This is not the password of your account.")),))


def _known_words(user: User) -> tuple[str, ...]:
    return (user.email, user.name or "", runtime().settings.site_name)


def _checked_email(email: str) -> str:
    email = email.strip()
    if not is_address(email):
        raise InvalidFields(fields=(FieldError("email", _("This does not look like a mail address.")),))
    return email


def is_address(email: str) -> bool:
    """Whether this has the form of a mail address that can be kept."""
    name, at, host = email.rpartition("@")
    return bool(at and name and "." in host) and len(email) <= LONGEST_EMAIL and not any(c.isspace() for c in email)


def _kept_name(session: Session, name: str | None) -> str | None:
    """A name as it is kept: bounded, and without the letters that an adopted table does not know."""
    name = (name or "").strip()[:LONGEST_NAME]
    kept = _kept(session, name)
    return (name if kept == name else kept.replace("?", "").strip()) or None


def _kept(session: Session, words: str) -> str:
    """What the users table makes of a text: one of an earlier installation may know fewer letters than people use."""
    if words.isascii() or session.get_bind().dialect.name == "sqlite":
        return words
    charset = session.scalar(
        text(
            "SELECT CHARACTER_SET_NAME FROM information_schema.COLUMNS"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'users' AND COLUMN_NAME = 'email'"
        )
    )
    # The name of a character set cannot be a parameter; this one comes from the database itself.
    there_and_back = f"SELECT CONVERT(CONVERT(:words USING {charset}) USING utf8mb4)"
    return str(session.scalar(text(there_and_back), {"words": words}))


def _verify(session: Session, user_id: str) -> None:
    profile = session.get_one(UserProfile, user_id)
    profile.email_verified_at = profile.email_verified_at or runtime().clock.now()


def find_within(session: Session, condition: ColumnElement[bool]) -> Account | None:
    """The account that meets this condition, within a transaction."""
    row = session.execute(
        select(User, UserProfile).join(UserProfile, UserProfile.user_id == User.id).where(condition)
    ).one_or_none()
    return Account(row[0], row[1]) if row else None


def _slow_down_mail(key: str, address: str) -> None:
    """Bound how many mails an address can be sent, and how many one machine can cause."""
    for rule, subject in ((MAIL_BY_ACCOUNT, key), (MAIL_BY_ADDRESS, address)):
        throttle().check(rule, subject)
        throttle().count(rule, subject)


def _fingerprint(account: Account) -> str:
    """Changes with the password, the confirmation and the Google account, so that a used link is a dead one."""
    parts = (account.user.password_hash, account.profile.email_verified_at, account.profile.google_sub)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _links(kind: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(list(reversed(runtime().settings.signing_keys)), salt=f"link-{kind}")


def remove_unconfirmed(session: Session, user_id: str) -> None:
    """Drop an account that was never confirmed, because the address proved to be somebody else's."""
    session.execute(delete(UserProfile).where(UserProfile.user_id == user_id))
    session.execute(delete(User).where(User.id == user_id))
