"""Errors to Sentry, when SENTRY_DSN is set. Begun by the factory; `services.alert_channels` sends alerts through it.

What is sent: errors of the log with their traceback, and alerts. What is not: local variables, bodies, cookies,
headers, addresses of visitors, secrets. Sentry's part for RQ is left out, because it replaces the method of RQ's worker
that ours overrides; an error in a job reaches the log, and so Sentry, without it.
"""

from __future__ import annotations

from typing import Any, Literal

import sentry_sdk
from sentry_sdk.integrations.flask import FlaskIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger
from sentry_sdk.types import Event
from structlog.contextvars import get_contextvars

from ghibli_flask.masking import Mask
from ghibli_flask.proxies import proxy_headers_for
from ghibli_flask.settings import Settings

# An alert is sent as a message of its own; its line in the log would be the same thing again.
ALERTS_LOGGER = "ghibli_flask.services.alerts"
TELL_WITHIN_S = 5
TAGS = ("request_id", "task_id")


def start_sentry(settings: Settings, mask: Mask) -> None:
    """Begin to send errors; does nothing without SENTRY_DSN."""
    if not settings.sentry_dsn:
        return
    ignore_logger(ALERTS_LOGGER)
    # What identifies a visitor is sent only when it is asked for (data_collection), and nobody asks here.
    sentry_sdk.init(
        dsn=settings.sentry_dsn,
        environment=settings.app_env,
        # The proxy itself is found in the environment, but its name and password are left out.
        proxy_headers=proxy_headers_for(settings.sentry_dsn),
        integrations=[FlaskIntegration(), LoggingIntegration()],
        auto_enabling_integrations=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=lambda event, _hint: _scrubbed(event, mask),
        before_breadcrumb=lambda crumb, _hint: _walk(crumb, mask),
    )


def tell(cause: str, text: str, level: Literal["error", "info"]) -> None:
    """Send one alert, grouped with the earlier ones of its cause."""
    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = ["alert", cause]
        scope.set_tag("cause", cause)
        scope.capture_message(text, level=level)
    # The watchdog ends right after, and what still waits in its memory would end with it.
    sentry_sdk.flush(TELL_WITHIN_S)


def _scrubbed(event: Event, mask: Mask) -> Event:
    # The endpoint's name stays; addresses hold the tokens of mailed links.
    event.pop("request", None)
    event.pop("user", None)
    bound = get_contextvars()
    event.setdefault("tags", {}).update({name: bound[name] for name in TAGS if name in bound})
    scrubbed: Event = _walk(event, mask)
    return scrubbed


def _walk(value: Any, mask: Mask) -> Any:
    """The same value with every text in it masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {name: _walk(item, mask) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(item, mask) for item in value]
    return value
