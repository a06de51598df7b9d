"""The administrators' page about shared pictures: what waits, what was reported, what is hidden."""

from __future__ import annotations

from io import BytesIO

from flask import Blueprint, Response, flash, redirect, render_template, request, send_file, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.admin.door import administrators_only
from ghibli_flask.services import files, flags, moderation, share_files
from ghibli_flask.storage import content_type
from ghibli_flask.visitors import require_admin

share_desk = Blueprint("share_desk", __name__, url_prefix="/admin")


share_desk.before_request(administrators_only)


@share_desk.get("/ui/shares")
def shares() -> str:
    """Shared pictures that somebody should look at, or one that was asked for, and those that are hidden."""
    wanted = request.args.get("id", "").strip()
    return render_template(
        "admin/shares.html",
        waiting=[moderation.case_of(wanted)] if wanted else moderation.waiting(),
        hidden=[] if wanted else moderation.hidden(),
        wanted=wanted,
        reasons={key: gettext(words) for key, words in moderation.REASONS.items()},
        asks_first=flags.current().gallery_needs_approval,
    )


@share_desk.get("/ui/shares/<share_id>/thumbnail")
def shared_thumbnail(share_id: str) -> Response:
    """A small picture, also of a hidden share."""
    file = share_files.stored(moderation.case_of(share_id).share, "thumbnail")
    response = send_file(BytesIO(files.read(file)), mimetype=content_type(file.key))
    response.headers["Cache-Control"] = "private, no-store"
    return response


@share_desk.post("/ui/shares/<share_id>/hide")
def hide(share_id: str) -> AnyResponse:
    """Take a picture off every page."""
    moderation.hide(require_admin().email, share_id)
    flash(gettext("This picture is hidden: its addresses answer nobody."))
    return redirect(url_for("share_desk.shares"), code=303)


@share_desk.post("/ui/shares/<share_id>/restore")
def restore(share_id: str) -> AnyResponse:
    """Show a hidden picture again."""
    moderation.restore(require_admin().email, share_id)
    flash(gettext("This picture is shown again."))
    return redirect(url_for("share_desk.shares"), code=303)


@share_desk.post("/ui/shares/<share_id>/approve")
def approve(share_id: str) -> AnyResponse:
    """Find a picture fine as it is."""
    moderation.approve(require_admin().email, share_id)
    flash(gettext("This picture is fine as it is."))
    return redirect(url_for("share_desk.shares"), code=303)
