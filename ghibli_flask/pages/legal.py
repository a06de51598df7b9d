"""Privacy, terms, cookies and help: pages that say what this installation really does, at addresses that stay."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template

from ghibli_flask.engine_catalogue import Mode, available_modes
from ghibli_flask.extensions import runtime
from ghibli_flask.pages import legal_facts
from ghibli_flask.services import flags
from ghibli_flask.services.tasks import FREE_LATE_CANCELS

legal = Blueprint("legal", __name__)


@legal.after_request
def keep_private(response: Response) -> Response:
    """The header names who is signed in, so no shared cache may keep a page."""
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return response


@legal.get("/privacy-policy")
def privacy() -> str:
    """What is kept, why, where, for how long, and who else receives it."""
    settings = runtime().settings
    return _page(
        "legal/privacy.html",
        painters=legal_facts.painters(settings),
        keepers=legal_facts.keepers(settings),
        helpers=legal_facts.helpers(settings),
        google=settings.google_is_configured,
    )


@legal.get("/terms-of-service")
def terms() -> str:
    """What visitors and the operator may expect of each other."""
    settings = runtime().settings
    return _page(
        "legal/terms.html",
        jurisdiction=settings.legal_jurisdiction,
        google=settings.google_is_configured,
        site_has_limit=flags.current().daily_limit is not None,
    )


@legal.get("/cookie-policy")
def cookies() -> str:
    """Every cookie and whatever else is kept in the browser."""
    settings = runtime().settings
    return _page(
        "legal/cookies.html",
        cookies=legal_facts.cookies(settings),
        stores=legal_facts.BROWSER_STORES,
        google=settings.google_is_configured,
    )


@legal.get("/help")
def answers() -> str:
    """The questions that visitors have."""
    settings = runtime().settings
    return _page(
        "help.html",
        from_words=Mode.TEXT_TO_IMAGE in available_modes(settings.engines),
        most_megabytes=settings.max_upload_mb,
        most_minutes=settings.stuck_after_s // 60,
        gallery_needs_approval=flags.current().gallery_needs_approval,
    )


def _page(template: str, **context: Any) -> str:
    """A page with what all four of them tell."""
    settings = runtime().settings
    return render_template(
        template,
        contact=settings.legal_contact_email,
        effective=settings.legal_effective_date,
        days=legal_facts.days(settings),
        monthly=settings.monthly_credits,
        guest_limit=settings.guest_daily_limit,
        free_late_cancels=FREE_LATE_CANCELS,
        **context,
    )
