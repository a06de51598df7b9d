"""Which account a Google account opens: the rules of signing in with Google. Called by `auth.google`.

The key is `sub`, which Google never gives to anybody else. An address can change hands, so it opens an account by
itself only where nobody else can hold it: see `Identity.is_authoritative`. Each rule runs in one transaction and
either finishes or changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ghibli_flask.database import changed, transaction
from ghibli_flask.errors import Blocked, GoogleNotLinked, GoogleSignInFailed, GoogleTaken, GoogleUnverified
from ghibli_flask.extensions import runtime
from ghibli_flask.models.user import User, UserProfile
from ghibli_flask.services import accounts
from ghibli_flask.services.accounts import BIND_GOOGLE, GOOGLE_PROVIDER, PASSWORD_PROVIDER, Account

GMAIL = ("@gmail.com", "@googlemail.com")
LONGEST_SUB = 255

T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """A Google account, by the verified claims of its ID token."""

    sub: str
    email: str
    name: str
    is_authoritative: bool
    """Whether Google itself hands out the address, so that its holder can be nobody else."""


def identity_of(claims: Mapping[str, object]) -> Identity:
    """The Google account of verified claims; raises GoogleUnverified and GoogleSignInFailed."""
    sub, email, name = claims.get("sub"), claims.get("email"), claims.get("name")
    if not isinstance(sub, str) or not sub.isascii() or not 0 < len(sub) <= LONGEST_SUB:
        raise GoogleSignInFailed
    if claims.get("email_verified") is not True or not isinstance(email, str) or not accounts.is_address(email):
        raise GoogleUnverified
    is_workspace = isinstance(claims.get("hd"), str) and claims["hd"] != ""
    return Identity(
        sub=sub,
        email=email,
        name=name if isinstance(name, str) else "",
        is_authoritative=is_workspace or email.lower().endswith(GMAIL),
    )


def sign_in(identity: Identity, locale: str, address: str) -> Account | None:
    """The account that this Google account opens, a new one if need be; None when a mail asks its owner first.

    Raises Blocked, GoogleNotLinked, GoogleTaken, TooManyRequests, and Unavailable when no mail can be asked for.
    """
    account = _once_more(lambda session: _find_or_make(session, identity, locale))
    if account.profile.google_sub == identity.sub:
        return accounts.entered(account)
    accounts.ask_to_bind(account, identity.sub, locale, address)
    return None


def link(identity: Identity, user_id: str) -> Account:
    """Let a Google account open the account of a signed-in user, if it does not yet; raises Blocked and GoogleTaken."""

    def unit(session: Session) -> Account:
        account = _of_user(session, user_id)
        if account.profile.google_sub == identity.sub:
            _follow_address(session, account, identity)
        else:
            _bind(session, account, identity.sub)
        return account

    return accounts.entered(_once_more(unit))


def confirm_binding(token: str) -> Account:
    """Let a Google account open an account by the link of a mail; raises LinkExpired, Blocked and GoogleTaken."""
    found, sub = accounts.open_link(BIND_GOOGLE, token)

    def unit(session: Session) -> Account:
        account = _of_user(session, found.user.id)
        _bind(session, account, sub)
        _verify(account)
        return account

    return accounts.entered(_once_more(unit))


def _find_or_make(session: Session, identity: Identity, locale: str) -> Account:
    """The account that opens; one without this `sub` is one whose owner is to be asked by mail."""
    known = accounts.find_within(session, UserProfile.google_sub == identity.sub)
    if known:
        _follow_address(session, known, identity)
        return known
    holder = accounts.find_by_address(session, identity.email)
    if holder and _never_confirmed(holder):
        accounts.remove_unconfirmed(session, holder.user.id)
        holder = None
    if holder is None:
        return _make(session, identity, locale)
    if holder.profile.blocked_at:
        raise Blocked
    if holder.profile.google_sub == identity.sub:
        return holder  # The same person came back in another browser a moment ago.
    if holder.profile.google_sub:
        raise GoogleTaken
    if not _waits_for_google(holder):
        raise GoogleNotLinked
    if identity.is_authoritative and _is_same_address(holder.user.email, identity.email):
        _bind(session, holder, identity.sub)
        _verify(holder)
    return holder


def _make(session: Session, identity: Identity, locale: str) -> Account:
    user = accounts.create(session, identity.email, GOOGLE_PROVIDER, identity.name, locale)
    account = _of_user(session, user.id)
    account.profile.google_sub = identity.sub
    if identity.is_authoritative:
        _verify(account)
    session.flush()
    return account


def _follow_address(session: Session, account: Account, identity: Identity) -> None:
    """Take over an address that changed at Google, if nobody here has the new one.

    The address of an account that began with a password is the one that its owner chose here, and stays.
    """
    if not _is_google(account.user) or _is_same_address(account.user.email, identity.email):
        return
    other = accounts.find_by_address(session, identity.email)
    if other and other.user.id != account.user.id:
        return
    account.user.email = identity.email
    account.profile.email_key = accounts.email_key(identity.email)
    account.profile.email_verified_at = None
    if identity.is_authoritative:
        _verify(account)
    session.flush()


def _bind(session: Session, account: Account, sub: str) -> None:
    """Enter a Google account at one of ours that has none; raises GoogleTaken when either is bound otherwise."""
    if account.profile.blocked_at:
        raise Blocked
    if session.scalar(select(UserProfile.user_id).where(UserProfile.google_sub == sub)):
        raise GoogleTaken
    unbound = update(UserProfile).where(UserProfile.user_id == account.user.id, UserProfile.google_sub.is_(None))
    if not changed(session, unbound.values(google_sub=sub)):
        raise GoogleTaken


def _verify(account: Account) -> None:
    account.profile.email_verified_at = account.profile.email_verified_at or runtime().clock.now()


def _of_user(session: Session, user_id: str) -> Account:
    account = accounts.find_within(session, UserProfile.user_id == user_id)
    if account is None:
        raise GoogleSignInFailed
    return account


def _once_more(unit: Callable[[Session], T]) -> T:
    """Run a unit; when somebody else entered the same address or `sub` meanwhile, decide again by what is there now.

    A second refusal comes from an adopted table whose collation takes two addresses for one.
    """
    try:
        return transaction(unit)
    except IntegrityError:
        try:
            return transaction(unit)
        except IntegrityError as error:
            raise GoogleTaken from error


def _is_google(user: User) -> bool:
    return (user.provider or "").lower() == GOOGLE_PROVIDER


def _waits_for_google(account: Account) -> bool:
    """Whether this account of an earlier installation was only ever opened with Google."""
    return account.profile.adopted_at is not None and _is_google(account.user) and not account.user.password_hash


def _never_confirmed(account: Account) -> bool:
    """Whether somebody prepared this account with a password and never proved that the address is theirs."""
    return account.user.provider == PASSWORD_PROVIDER and not account.may_sign_in


def _is_same_address(one: str, other: str) -> bool:
    """Letter by letter. Addresses that merely look alike once normalised may belong to two people."""
    return one == other or (one.isascii() and other.isascii() and one.lower() == other.lower())
