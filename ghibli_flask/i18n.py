"""The visitor's language, and the waiting messages in it. Installed by the factory."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from flask import Flask, request
from flask_babel import Babel, get_locale

from ghibli_flask.visitors import signed_in_if_known

LOCALES = ("en",)
_MESSAGES = Path(__file__).with_name("waiting_messages.json")


def install_i18n(app: Flask) -> None:
    """Choose the language of each request."""
    Babel(app, default_locale=LOCALES[0], locale_selector=_choose_locale)


def waiting_messages() -> list[str]:
    """What the page says while a picture is painted, in the language of this request."""
    messages = _all_messages()
    return messages[_language() if _language() in messages else LOCALES[0]]


def _choose_locale() -> str:
    who = signed_in_if_known()
    if who and who.locale in LOCALES:
        return str(who.locale)
    return request.accept_languages.best_match(LOCALES, default=LOCALES[0])


def _language() -> str:
    locale = get_locale()
    return locale.language if locale else LOCALES[0]


@lru_cache(maxsize=1)
def _all_messages() -> dict[str, list[str]]:
    messages: dict[str, list[str]] = json.loads(_MESSAGES.read_text(encoding="utf-8"))
    return messages
