"""Writing and sending mails to accounts, on the maintenance queue. RQ calls `write` by its dotted name."""

from __future__ import annotations

import logging
import smtplib
from datetime import timedelta

from flask import current_app, render_template
from flask_babel import force_locale, gettext

from ghibli_flask.errors import _
from ghibli_flask.extensions import runtime
from ghibli_flask.services import accounts, mail
from ghibli_flask.services.accounts import BIND_GOOGLE, CONFIRM, RESET, Account
from ghibli_flask.services.wishes import MAILS, WishOutcome
from jobs.schedule import run_later

log = logging.getLogger(__name__)

EXISTS = "exists"
WISH_KEPT = MAILS[WishOutcome.KEPT]
WISH_NO_CREDIT = MAILS[WishOutcome.NO_CREDIT]
WRITE_JOB = "jobs.letters.write"
PAUSES = (timedelta(seconds=30), timedelta(minutes=5), timedelta(minutes=30))
SUBJECTS = {
    CONFIRM: _("Please confirm your address"),
    RESET: _("A new password"),
    BIND_GOOGLE: _("Signing in with Google"),
    EXISTS: _("You have an account already"),
    WISH_KEPT: _("Your picture is being painted after all"),
    WISH_NO_CREDIT: _("Your wish had no picture left"),
}
PATHS = {CONFIRM: "/auth/confirm/", RESET: "/auth/reset/", BIND_GOOGLE: "/auth/bind-google/"}


class MailNotTaken(Exception):
    """The mail server did not take a mail. Says no more: what servers say quotes the address, and RQ keeps it."""


def write(kind: str, email_key: str, locale: str | None, argument: str | None, tried: int = 0) -> None:
    """Write a mail of this kind to whoever has this address; to nobody, when nobody has it.

    A mail that the server does not take is tried again later, at most as often as PAUSES has entries.
    """
    account = accounts.find_by_email_key(email_key)
    if account is None or account.profile.blocked_at:
        log.info("a mail of kind %s was asked for an address without an account", kind)
        return
    if kind == CONFIRM and account.may_sign_in:
        kind = EXISTS
    with current_app.test_request_context(base_url=runtime().settings.public_url), force_locale(locale or "en"):
        letter = _letter(kind, account, argument or "")
    try:
        mail.send(letter)
    except (OSError, smtplib.SMTPException) as error:
        name = type(error).__name__
        if tried >= len(PAUSES):
            raise MailNotTaken(f"{kind}: {name}") from None
        log.warning("A mail of kind %s was not taken and is tried again in %s: %s", kind, PAUSES[tried], name)
        run_later(PAUSES[tried], WRITE_JOB, kind, email_key, locale, argument, tried + 1)


def _letter(kind: str, account: Account, argument: str) -> mail.Letter:
    settings = runtime().settings
    link = settings.public_url
    if kind in PATHS:
        link += PATHS[kind] + accounts.link_token(kind, account, argument)
    elif kind in {WISH_KEPT, WISH_NO_CREDIT}:
        link += f"/tasks/{argument}"
    text = render_template(
        f"mail/{kind}.txt",
        name=account.user.name,
        site_name=settings.site_name,
        link=link,
        public_url=settings.public_url,
    )
    return mail.Letter(account.user.email, gettext(SUBJECTS[kind]), text)
