"""The visitor's language, and the sentences and waiting messages in it. Installed by the factory.

English is the language of the sources; every folder of `translations` is one more. docs/translate.md tells how to add
one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from babel import Locale
from flask import Flask, Response, g, request
from flask_babel import Babel, get_locale, gettext

from ghibli_flask.errors import AppError
from ghibli_flask.extensions import runtime
from ghibli_flask.visitors import signed_in_if_known

SOURCE = "en"
TRANSLATIONS = Path(__file__).with_name("translations")


def found_in(folder: Path) -> tuple[str, ...]:
    """The language of the sources, and those with a compiled catalogue in this folder."""
    return (SOURCE, *sorted(path.parent.parent.name for path in folder.glob("*/LC_MESSAGES/messages.mo")))


LOCALES = found_in(TRANSLATIONS)
"""Every language, as its folder is called: `zh`, `pt_BR`."""
_MESSAGES = Path(__file__).with_name("waiting_messages.json")
WITHOUT_BLANKS = frozenset({"zh", "ja"})
"""Languages whose full stop brings its own room along: a blank after it looks like a hole."""
_TRANSLATED_TYPES = frozenset({"text/html", "application/json", "application/problem+json"})


def install_i18n(app: Flask) -> None:
    """Choose the language of each request, and tell in the answer which it was."""
    Babel(
        app,
        default_locale=SOURCE,
        default_translation_directories=str(TRANSLATIONS),
        locale_selector=_choose_locale,
    )
    app.context_processor(lambda: {"languages": names()})
    app.jinja_env.globals["gap"] = gap  # A global, because macros do not see what context processors add.
    app.after_request(_label)


def current() -> str:
    """The language of this request, as in LOCALES."""
    return str(get_locale() or SOURCE)


def gap() -> str:
    """What stands between two sentences in the language of this request."""
    locale = get_locale()
    return "" if locale and locale.language in WITHOUT_BLANKS else " "


@lru_cache(maxsize=1)
def names() -> dict[str, str]:
    """Every language by its code, called what its speakers call it."""
    return {code: own_name(code) for code in LOCALES}


def own_name(code: str) -> str:
    """What the speakers of a language call it, beginning with a capital where letters have one."""
    name = Locale.parse(code).get_display_name() or code
    return name[0].upper() + name[1:]


def sentence(text: str, params: Mapping[str, object]) -> str:
    """A marked sentence in the language of this request, with its parameters filled in."""
    translated: str = gettext(text)
    return translated % params if params else translated


def told(error: AppError) -> dict[str, str | None]:
    """A refusal as a form shows it: title, sentence, and the field that it is about."""
    first = error.fields[0] if error.fields else None
    return {
        "title": gettext(error.title),
        "detail": sentence(first.message, {**error.params, **first.params})
        if first
        else sentence(error.detail, error.params),
        "field": first.field if first else None,
    }


def waiting_messages() -> list[str]:
    """What the page says while a picture is painted, in the language of this request."""
    messages = _all_messages()
    return messages.get(current(), messages[SOURCE])


def _choose_locale() -> str:
    """What the visitor chose, kept in the account or else in a cookie; otherwise what the browser prefers."""
    g.language_was_asked = True
    who = signed_in_if_known()
    for chosen in (who.locale if who else None, request.cookies.get(runtime().settings.language_cookie)):
        if chosen in LOCALES:
            return str(chosen)
    return _preferred_by_browser()


def _preferred_by_browser() -> str:
    """The first language of Accept-Language that is here, each looked up as RFC 4647 says: zh-Hans-CN, zh-Hans, zh.

    Werkzeug's own choice would take `en` for `zh-CN,en;q=0.8`, because only that is written exactly as it is here.
    """
    known = {code.lower().replace("_", "-"): code for code in LOCALES}
    for tag, quality in request.accept_languages:
        parts = tag.lower().split("-") if quality else []
        while parts:
            if "-".join(parts) in known:
                return known["-".join(parts)]
            parts.pop()
    return SOURCE


def _label(response: Response) -> Response:
    """Tell browsers and caches which language this is, and by what it was chosen."""
    if g.get("language_was_asked") and response.mimetype in _TRANSLATED_TYPES:
        response.headers.setdefault("Content-Language", current().replace("_", "-"))
        response.vary.update(("Accept-Language", "Cookie"))
    return response


@lru_cache(maxsize=1)
def _all_messages() -> dict[str, list[str]]:
    messages: dict[str, list[str]] = json.loads(_MESSAGES.read_text(encoding="utf-8"))
    return messages
