"""The ways in which an alert reaches a person: mail, a webhook, Sentry. Called by `services.alerts` alone."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import requests

from ghibli_flask import sentry
from ghibli_flask.extensions import runtime
from ghibli_flask.proxies import proxy_trouble
from ghibli_flask.services import mail

log = logging.getLogger(__name__)

CONNECT_S, ANSWER_S = 3.05, 10


@dataclass(frozen=True)
class Message:
    """One alert, or the word that its cause is mended."""

    cause: str
    text: str
    at: datetime
    is_mended: bool = False

    @property
    def headline(self) -> str:
        """A few words for a subject line."""
        cause = self.cause.replace("_", " ")
        return f"Mended: {cause}" if self.is_mended else f"Alert: {cause}"


def send(message: Message) -> bool:
    """Send by every channel that is configured; False when there are some and none of them took it. Never raises."""
    settings = runtime().settings
    ways: list[tuple[str, Callable[[Message], None]]] = []
    if settings.sentry_dsn:
        ways.append(("Sentry", _sentry))
    if settings.alert_addresses:
        ways.append(("mail", _mail))
    if settings.alert_webhook_url:
        ways.append(("webhook", _post))
    taken = [_try(name, way, message) for name, way in ways]  # Every one is tried.
    return not ways or any(taken)


def _try(name: str, way: Callable[[Message], None], message: Message) -> bool:
    try:
        way(message)
    except (OSError, smtplib.SMTPException) as error:  # requests' errors are OSErrors too.
        # What servers say quotes addresses, and a webhook's address may be its own key.
        why = proxy_trouble(error) or type(error).__name__
        log.warning("An alert about %s could not go by %s: %s", message.cause, name, why)
        return False
    except Exception:
        log.exception("An alert about %s could not go by %s", message.cause, name)
        return False
    return True


def _sentry(message: Message) -> None:
    sentry.tell(message.cause, f"{message.headline}: {message.text}", "info" if message.is_mended else "error")


def _mail(message: Message) -> None:
    settings = runtime().settings
    text = f"{message.text}\n\n{message.at:%Y-%m-%d %H:%M} UTC, {settings.public_url}\n"
    refused: list[OSError | smtplib.SMTPException] = []
    for address in settings.alert_addresses:
        try:
            mail.send(mail.Letter(address, f"[{settings.site_name}] {message.headline}", text))
        except (OSError, smtplib.SMTPException) as error:
            refused.append(error)  # One wrong address keeps nobody else from hearing it.
            log.warning("A mail about %s was not taken for one address: %s", message.cause, type(error).__name__)
    if len(refused) == len(settings.alert_addresses):
        raise refused[0]


def _post(message: Message) -> None:
    settings = runtime().settings
    address = settings.alert_webhook_url or ""
    body = {
        "cause": message.cause,
        "text": message.text,
        "state": "mended" if message.is_mended else "alert",
        "at": message.at.isoformat(timespec="seconds"),
        "site": settings.public_url,
    }
    answer = requests.post(address, json=body, timeout=(CONNECT_S, ANSWER_S), allow_redirects=False)
    answer.raise_for_status()
