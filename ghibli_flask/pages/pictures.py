"""The page "My pictures": what a visitor has had painted, to be found again, downloaded and deleted.

Filters, pages, choosing and the question before a deletion are links and plain forms; static/js/pictures.js appends
the next page by itself and counts what is chosen.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, stream_with_context, url_for
from flask_babel import gettext, ngettext
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import _
from ghibli_flask.extensions import runtime
from ghibli_flask.schemas import failure_text, wish_answer
from ghibli_flask.services import bundles, history
from ghibli_flask.services.history import Entry, Filters, Kind
from ghibli_flask.services.payers import kept_for
from ghibli_flask.styles import STYLES
from ghibli_flask.task_states import Outcome
from ghibli_flask.visitors import current_payer, greet

own_pictures = Blueprint("own_pictures", __name__)

KINDS = {
    Kind.PAINTED: _("Painted"),
    Kind.UNFINISHED: _("On their way"),
    Kind.NOT_PAINTED: _("Not painted"),
}
MODES = {Mode.IMAGE_TO_IMAGE: _("From photographs"), Mode.TEXT_TO_IMAGE: _("From words")}


@own_pictures.before_request
def welcome() -> None:
    """A browser gets its guest cookie with the page."""
    if request.method == "GET":
        greet()


@own_pictures.after_request
def keep_private(response: Response) -> Response:
    """What a page shows belongs to one visitor."""
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return response


@own_pictures.get("/pictures")
def show() -> str:
    """The visitor's own pictures, newest first, filtered by what the address says."""
    filters, payer = _filters(), current_payer()
    page = history.page(payer, filters, request.args.get("cursor") or None)
    settings = runtime().settings
    return render_template(
        "pictures.html",
        page=page,
        prints=[_print(entry) for entry in page.entries],
        filters=filters,
        kinds={kind.value: gettext(words) for kind, words in KINDS.items()},
        modes={mode.value: gettext(words) for mode, words in MODES.items()},
        styles={key: gettext(style.name) for key, style in STYLES.items()},
        address=lambda **changes: url_for("own_pictures.show", **(_query(filters) | changes)),
        is_first=not request.args.get("cursor"),
        kept_days=kept_for(payer.owner).days,
        users_days=settings.result_ttl_days,
        photo_days=settings.source_ttl_days,
    )


@own_pictures.get("/pictures/download")
def download() -> AnyResponse:
    """The chosen pictures as one zip, or the picture itself when it is one."""
    ids = request.args.getlist("task")
    if not ids:
        return _nothing_chosen()
    if len(ids) == 1:
        return redirect(url_for("pictures.image", task_id=ids[0], download=1), code=303)
    response = Response(stream_with_context(bundles.of(ids, current_payer())), mimetype="application/zip")
    day = runtime().clock.now()
    response.headers.set("Content-Disposition", "attachment", filename=f"my-pictures-{day:%Y-%m-%d}.zip")
    return response


@own_pictures.get("/pictures/delete")
def ask() -> str | AnyResponse:
    """Show what would go, and ask."""
    payer, everything = current_payer(), request.args.get("all") == "1"
    ids = request.args.getlist("task")
    if not everything and not ids:
        return _nothing_chosen()
    entries = [] if everything else history.chosen(payer, ids)
    number = history.count(payer) if everything else len(entries)
    if number == 0:
        return redirect(url_for("own_pictures.show"), code=303)
    return render_template(
        "pictures_delete.html",
        everything=everything,
        number=number,
        prints=[_print(entry) for entry in entries],
        leftovers=history.leftovers_of(ids, payer) if ids else [],
    )


@own_pictures.post("/pictures/delete")
def delete() -> AnyResponse:
    """Delete the chosen pictures, or all of them; what is left of very many is offered once more."""
    payer = current_payer()
    if request.form.get("all") == "1":
        left = history.remove_all(payer)
        if left:
            flash(ngettext("%(num)s picture is left. Go on?", "%(num)s pictures are left. Go on?", left))
            return redirect(url_for("own_pictures.ask", all=1), code=303)
        flash(gettext("All your pictures are deleted."))
    else:
        number = history.remove(request.form.getlist("task"), payer)
        flash(ngettext("%(num)s picture is deleted.", "%(num)s pictures are deleted.", number))
    return redirect(url_for("own_pictures.show"), code=303)


def _nothing_chosen() -> AnyResponse:
    flash(gettext("Please tick some pictures first."))
    return redirect(url_for("own_pictures.show"), code=303)


def _filters() -> Filters:
    """The filters of the address; what is unknown is left out."""
    kind, mode, style = (request.args.get(name) for name in ("state", "mode", "style"))
    return Filters(
        kind=Kind(kind) if kind in set(Kind) else None,
        mode=mode if mode in set(Mode) else None,
        style=style if style in STYLES else None,
        shared=request.args.get("shared") == "1",
    )


def _query(filters: Filters) -> dict[str, Any]:
    """The same filters for an address; what is None stays out of it."""
    kind = filters.kind.value if filters.kind else None
    return {"state": kind, "mode": filters.mode, "style": filters.style, "shared": 1 if filters.shared else None}


def _print(entry: Entry) -> dict[str, Any]:
    """An entry with its words, for the templates."""
    style = STYLES.get(entry.style)
    return {
        "entry": entry,
        "style": gettext(style.name) if style else gettext("Painted"),
        "is_live": not entry.state.is_terminal,
        "is_original": entry.outcome is Outcome.ORIGINAL,
        "reason": failure_text(entry),
        "wish": wish_answer(entry.wish).model_dump(by_alias=True) if entry.wish else None,
    }
