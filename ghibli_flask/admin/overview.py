"""The administrators' first page: whether all is well, what to do if not, and the figures of the last day."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, render_template, url_for
from flask_babel import gettext

from ghibli_flask.admin import charts
from ghibli_flask.admin.door import administrators_only
from ghibli_flask.errors import TASK_FAILURES
from ghibli_flask.i18n import sentence
from ghibli_flask.services import overview
from ghibli_flask.services.concerns import Concern

overview_pages = Blueprint("overview_pages", __name__, url_prefix="/admin")
overview_pages.before_request(administrators_only)

PAGES = {"orders": "order_pages.orders", "switches": "switch_pages.switches", "shares": "share_desk.shares"}


@overview_pages.get("/")
def page() -> Response:
    """How everything is doing at this moment."""
    now = overview.of_now()
    response = make_response(
        render_template(
            "admin/overview.html",
            now=now,
            alarms=[_told(concern) for concern in now.alarms],
            notices=[_told(concern) for concern in now.notices],
            chart=charts.bars_of(now.hours.hours),
            share_of=charts.share_of,
            reasons={code: gettext(words) for code, words in TASK_FAILURES.items()},
        )
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _told(concern: Concern) -> dict[str, Any]:
    """A concern in the language of this request."""
    advice = concern.advice
    return {
        "what": sentence(advice.what, concern.params),
        "do": sentence(advice.do, concern.params),
        "command": advice.command,
        "link": url_for(PAGES[advice.page]) if advice.page else None,
        "detail": concern.detail,
        "since": concern.since,
    }
