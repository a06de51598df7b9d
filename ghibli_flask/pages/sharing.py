"""The pages of sharing: a shared picture with its files, the gallery, and the forms that work without scripts.

Nothing here names a task or a store: a share has addresses of its own, and its files are streamed from them. Every
answer has to be asked for again, so that a share that was taken back is gone at once.
"""

from __future__ import annotations

import hashlib
from io import BytesIO

from flask import Blueprint, Response, flash, redirect, render_template, request, send_file, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import FieldError, InvalidFields, _
from ghibli_flask.extensions import runtime
from ghibli_flask.schemas import style_answers
from ghibli_flask.security import orders_limit
from ghibli_flask.services import files, gallery, moderation, payers, sharing
from ghibli_flask.services.gallery import Filters
from ghibli_flask.services.sharing import Part, Wishes
from ghibli_flask.storage import content_type
from ghibli_flask.styles import STYLES
from ghibli_flask.visitors import current_guest, current_payer, greet

share_pages = Blueprint("share_pages", __name__)

MODES = {Mode.IMAGE_TO_IMAGE.value: _("From photographs"), Mode.TEXT_TO_IMAGE.value: _("From words")}


@share_pages.before_request
def welcome() -> None:
    """A browser gets its guest cookie with a page, and not with a picture."""
    if request.method == "GET" and request.endpoint in {"share_pages.share", "share_pages.show_gallery"}:
        greet()


@share_pages.after_request
def ask_again(response: Response) -> Response:
    """No cache may answer in our place."""
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@share_pages.get("/share/<share_id>")
def share(share_id: str) -> str:
    """A shared picture, with what its owner shows of it; the owner can change that here."""
    shared, task = sharing.open_share(share_id)
    style = STYLES.get(shared.style)
    return render_template(
        "share.html",
        share=shared,
        # Who may change a picture without owner has to show its task's id, and does so through the API.
        is_owner=task.owner is not None and payers.owns(current_payer(), task),
        from_photograph=shared.mode == Mode.IMAGE_TO_IMAGE.value,
        has_original=shared.show_original and task.source_key is not None,
        prompt=task.prompt if shared.show_prompt else "",
        owner_prompt=bool(task.prompt),
        style_name=gettext(style.name) if style else "",
        address=runtime().settings.public_url + url_for("share_pages.share", share_id=share_id),
        base=runtime().settings.public_url,
        reasons={key: gettext(words) for key, words in moderation.REASONS.items()},
    )


@share_pages.get("/share/<share_id>/picture")
def picture(share_id: str) -> Response:
    """The painted picture."""
    return _send(share_id, "picture")


@share_pages.get("/share/<share_id>/thumbnail")
def thumbnail(share_id: str) -> Response:
    """The painted picture at 640 px."""
    return _send(share_id, "thumbnail")


@share_pages.get("/share/<share_id>/card")
def card(share_id: str) -> Response:
    """The picture that a chat shows beside the link."""
    return _send(share_id, "card")


@share_pages.get("/share/<share_id>/original")
def original(share_id: str) -> Response:
    """The photograph, where its owner shows it."""
    return _send(share_id, "original")


@share_pages.post("/tasks/<task_id>/share")
@orders_limit
def share_task(task_id: str) -> AnyResponse:
    """The form on the page of a picture: make its link, or change what the link shows."""
    sharing.share(task_id, current_payer(), _wishes_of_form())
    flash(gettext("The link is up to date."))
    return redirect(url_for("visitor.task", task_id=task_id, _anchor="share"), code=303)


@share_pages.post("/share/<share_id>/change")
@orders_limit
def change(share_id: str) -> AnyResponse:
    """The owner's form on the page of a share."""
    sharing.change(share_id, current_payer(), _wishes_of_form())
    flash(gettext("The link is up to date."))
    return redirect(url_for("share_pages.share", share_id=share_id), code=303)


@share_pages.post("/share/<share_id>/revoke")
def revoke(share_id: str) -> AnyResponse:
    """Take a share back, and lead its owner to the picture."""
    task_id = sharing.revoke(share_id, current_payer(), request.form.get("task"))
    flash(gettext("The link no longer works, for anybody."))
    return redirect(url_for("visitor.task", task_id=task_id, _anchor="share"), code=303)


@share_pages.post("/share/<share_id>/report")
def report(share_id: str) -> AnyResponse:
    """Ask an operator to look at this picture."""
    reason = request.form.get("reason", "")
    if reason not in moderation.REASONS:
        raise InvalidFields(fields=(FieldError("reason", _("Please choose what is wrong.")),))
    moderation.report(share_id, reason, current_guest())
    flash(gettext("Thank you. A person will look at it."))
    return redirect(url_for("share_pages.share", share_id=share_id), code=303)


@share_pages.get("/gallery")
def show_gallery() -> str:
    """What people have hung in the gallery, newest first, by mode and by style."""
    mode, style = request.args.get("mode"), request.args.get("style")
    mode = mode if mode in MODES else None
    style = style if style in STYLES else None
    wall = gallery.wall(Filters(mode, style), request.args.get("cursor") or None)
    return render_template(
        "gallery.html",
        wall=wall,
        mode=mode,
        style=style,
        modes={key: gettext(words) for key, words in MODES.items()},
        styles=style_answers(),
        style_names={key: gettext(one.name) for key, one in STYLES.items()},
        is_first=not request.args.get("cursor"),
    )


def _wishes_of_form() -> Wishes:
    """A form tells all of its boxes: one that is not sent is empty."""
    names = ("in_gallery", "show_prompt", "show_original")
    in_gallery, show_prompt, show_original = (request.form.get(name) == "1" for name in names)
    return Wishes(in_gallery, show_prompt, show_original)


def _send(share_id: str, part: Part) -> Response:
    """Stream a part of an open share, with a strong ETag and ranges; who has it already costs no reading."""
    file = sharing.file_of(share_id, part)
    tag = hashlib.sha256(f"{share_id}/{part}/{file.key}".encode()).hexdigest()[:24]
    if request.if_none_match.contains(tag):
        response = Response(status=304)
        response.set_etag(tag)
        return response
    return send_file(BytesIO(files.read(file)), mimetype=content_type(file.key), etag=tag, conditional=True)
