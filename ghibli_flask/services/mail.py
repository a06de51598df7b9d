"""The mails that accounts need. The web side only asks for one; a job of the maintenance queue writes and sends it.

What is asked for is a kind and the hash of an address, whether or not anybody has that address: so a request takes
the same time for everybody, and Redis holds neither addresses nor links. In development without MAIL_URL a mail is
written to the log and kept in the instance folder, where a development page shows it.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from urllib.parse import unquote, urlsplit

from redis.exceptions import RedisError

from ghibli_flask import queueing
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime

log = logging.getLogger(__name__)

SMTP_TIMEOUT_S = 20
KEPT_MAILS = 50
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Letter:
    """A mail ready to be sent: plain text to one address."""

    to: str
    subject: str
    text: str


def ask_for(kind: str, email_key: str, locale: str | None = None, argument: str | None = None) -> None:
    """Have a mail of this kind written to whoever has this address; raises Unavailable when Redis is away."""
    try:
        queueing.ask_for_mail(kind, email_key, locale, argument)
    except RedisError as error:
        raise Unavailable from error


def send(letter: Letter) -> None:
    """Send a mail now; raises OSError or smtplib.SMTPException when the server does not take it."""
    settings = runtime().settings
    message = EmailMessage()
    message["From"] = settings.mail_sender
    message["To"] = letter.to
    message["Subject"] = letter.subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=urlsplit(settings.public_url).hostname)
    message.set_content(letter.text)
    if settings.mail_url:
        _deliver(settings.mail_url, message)
    else:
        _keep(message)


def kept() -> list[EmailMessage]:
    """The mails that development kept, newest first."""
    return [
        message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in sorted(_folder().glob("*.eml"), reverse=True)
    ]


def _deliver(address: str, message: EmailMessage) -> None:
    with open_server(address) as server:
        server.send_message(message)


@contextmanager
def open_server(address: str) -> Iterator[smtplib.SMTP]:
    """A mail server that has greeted, encrypted and let us in; raises OSError or smtplib.SMTPException."""
    parts = urlsplit(address)
    host, is_tls = parts.hostname or "", parts.scheme == "smtps"
    port = parts.port or (465 if is_tls else 587)
    context = ssl.create_default_context()
    if is_tls:
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=SMTP_TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=SMTP_TIMEOUT_S)
    with server:
        if not is_tls:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=context)
            elif host not in LOOPBACK:
                # Links that open an account would travel in the clear, and the password of the mail account too.
                raise smtplib.SMTPNotSupportedError(f"{host} offers no STARTTLS")
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        yield server


def _keep(message: EmailMessage) -> None:
    settings = runtime().settings
    if settings.is_production:
        log.error("A mail was not sent, because MAIL_URL is not set: %s", message["Subject"])
        return
    log.info("mail to %s: %s\n%s", message["To"], message["Subject"], message.get_content())
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{time.time_ns()}.eml").write_bytes(message.as_bytes())
    for old in sorted(folder.glob("*.eml"), reverse=True)[KEPT_MAILS:]:
        old.unlink(missing_ok=True)


def _folder() -> Path:
    return runtime().settings.instance_dir / "mail"
