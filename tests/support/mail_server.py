"""A real SMTP server of the tests' own: the `mail_server` fixture and the `postbox` behind it."""

import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.ports import free_port

NAME, MAIL_PASSWORD = "the painter", "a secret with / and @"


class Postbox:
    """What an SMTP server has taken."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.were_encrypted: list[bool] = []

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name.
        """Take a mail."""
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        self.recipients.append(envelope.rcpt_tos)
        self.were_encrypted.append(session.ssl is not None)
        return "250 OK"


class MailServer(Controller):
    """A real SMTP server on a free loopback port; with a certificate it wants STARTTLS and a login first."""

    def __init__(self, postbox: Postbox, certificate: ssl.SSLContext | None = None) -> None:
        options: dict[str, Any] = {}
        if certificate:
            options = {
                "tls_context": certificate,
                "require_starttls": True,
                "auth_required": True,
                "authenticator": self._knows,
            }
        super().__init__(postbox, hostname="127.0.0.1", port=free_port(), **options)

    @staticmethod
    def _knows(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: Any) -> AuthResult:
        expected = LoginPassword(NAME.encode(), MAIL_PASSWORD.encode())
        return AuthResult(success=login == expected)
