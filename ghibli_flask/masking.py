"""Taking secrets out of texts that leave the process: log files, alerts, Sentry. Made once from the settings."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, unquote, urlsplit

from ghibli_flask.settings import Settings

MASKED = "[masked]"
SHORTEST = 6
"""Shorter values are words such as "root": taking them out would spoil every text and hide nothing."""

WHOLE = (
    "secret_key", "mysql_password", "redis_password", "google_client_secret", "api_token", "admin_api_key",
    "admin_secret", "hugging_face_tokens", "kie_ai_api_key", "openai_api_key", "task_process_secret_key",
    "cloudflare_r2_access_key_id", "cloudflare_r2_secret_access_key", "imgbb_api_key", "alert_webhook_url",
    "sentry_dsn",
)  # fmt: skip
"""The settings whose value is a secret; an alert's address often holds its own key."""

ADDRESSES = ("database_url", "redis_url", "mail_url", "http_proxy", "https_proxy")
"""The settings that are addresses with a password in them."""

_SHAPES = re.compile(
    r"hf_[A-Za-z0-9]{8,}"  # a token of the Hugging Face Hub
    r"|(?i:bearer\s+)[\w.~+/=-]{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # name:password in an address
)


_MARKS = ("hf_", "bearer", "://")
"""What every such shape has in it."""


class Mask:
    """Replaces the secrets of these settings, and what looks like one, wherever it stands in a text."""

    def __init__(self, settings: Settings) -> None:
        known = sorted(secrets_of(settings), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        if self._known:
            text = self._known.sub(MASKED, text)
        # Most texts hold nothing of the kind, and looking for these first takes a tenth of the time.
        return _SHAPES.sub(MASKED, text) if any(mark in text.lower() for mark in _MARKS) else text


def secrets_of(settings: Settings) -> set[str]:
    """Every secret that the settings hold, as it is set and as it is sent."""
    found: set[str] = set()
    for name in WHOLE:
        value = getattr(settings, name)
        found.update(value if isinstance(value, tuple) else (value or "",))
    for name in ADDRESSES:
        password = urlsplit(getattr(settings, name) or "").password or ""
        found.update((password, unquote(password)))
    # The key of a Sentry address stands where others have the name.
    found.add(urlsplit(settings.sentry_dsn or "").username or "")
    return {form for value in found if len(value) >= SHORTEST for form in _as_written(value)}


def _as_written(value: str) -> set[str]:
    """A secret as it is, and as it stands in an address, in JSON and in Python's own quotes."""
    quoted = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
    return {value, quote(value), quote(value, safe=""), *quoted}
