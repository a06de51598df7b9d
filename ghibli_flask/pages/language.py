"""The choice of a language, at the foot of every page."""

from __future__ import annotations

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from ghibli_flask.errors import FieldError, InvalidFields, _
from ghibli_flask.extensions import runtime
from ghibli_flask.i18n import LOCALES
from ghibli_flask.services import accounts
from ghibli_flask.visitors import ONE_YEAR_S, safe_next, signed_in

language_pages = Blueprint("language", __name__)


@language_pages.post("/language")
def choose() -> Response:
    """Keep the chosen language, in the account or else in a cookie, and go back to the page."""
    chosen = request.form.get("language", "")
    if chosen not in LOCALES:
        raise InvalidFields(fields=(FieldError("language", _("This language is not offered here.")),))
    settings, who = runtime().settings, signed_in()
    response = redirect(safe_next(), code=303)
    if who:
        accounts.choose_language(who.user_id, chosen)
    else:
        response.set_cookie(
            settings.language_cookie,
            chosen,
            max_age=ONE_YEAR_S,
            httponly=True,
            samesite="Lax",
            secure=settings.is_production,
        )
    return response
