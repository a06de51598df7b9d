"""The order form of the first page: what it offers, what was typed into it, and the order that this makes.

Called by `pages.visitor`. The checks are those of the API; the named sizes are the page's own.
"""

from __future__ import annotations

from collections.abc import Collection

from flask import request

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import AppError, Maintenance, NotFound, Unavailable, _
from ghibli_flask.schemas import order_fields, order_of
from ghibli_flask.services import uploads
from ghibli_flask.services.flags import Flags
from ghibli_flask.services.orders import Order
from ghibli_flask.styles import DEFAULT_STYLE
from ghibli_flask.visitors import current_payer

PHOTO_SIZES = {
    "": _("As large as the painter works"),
    "768x768": _("Middle, up to 768 pixels"),
    "512x512": _("Small, up to 512 pixels"),
}
WORDS_SIZES = {
    "": _("As the painter likes"),
    "1024x1024": _("Square"),
    "1024x768": _("Landscape"),
    "768x1024": _("Portrait"),
}

SELDOM = ("photo_size", "words_size", "width", "height", "seed", "public")
"""The fields that stand behind "more"."""


def typed(modes: Collection[Mode]) -> dict[str, str]:
    """The value of every field: what was sent, else that of an untouched form. `?mode=` opens it in another mode."""
    blank = dict.fromkeys(("prompt", *SELDOM), "") | {"mode": Mode.IMAGE_TO_IMAGE.value, "style": DEFAULT_STYLE}
    given = request.form if request.method == "POST" else {"mode": request.args.get("mode", "")}
    values = {name: given.get(name) or default for name, default in blank.items()}
    if values["mode"] not in modes:
        values["mode"] = blank["mode"]
    return values


def order() -> Order:
    """The order that was sent; raises InvalidFields or TooLarge."""
    width, height = _size()
    sent = {
        name: request.form[name] for name in ("mode", "style", "prompt", "seed", "public") if request.form.get(name)
    }
    fields = order_fields({**sent, "width": width, "height": height})
    upload = request.files.get("image")
    if upload and upload.filename:
        return order_of(fields, uploads.within_limit(upload.read()))
    ahead = photo_ahead()
    return order_of(fields, uploads.photo_of(ahead, current_payer()) if ahead else None)


def photo_ahead() -> str | None:
    """The id of the caller's own photograph that came ahead of its order; None when there is none any more."""
    upload_id = request.values.get("photo")
    if not upload_id:
        return None
    try:
        uploads.file_of(upload_id, current_payer())
    except NotFound:
        return None
    return upload_id


def closed(switched: Flags) -> AppError | None:
    """Why no order would be taken now, None when orders are taken."""
    if switched.maintenance:
        return Maintenance(switched.maintenance)
    if not switched.modes:
        return Unavailable(_("No painter is at work at this moment. Please look in again later."))
    return None


def _size() -> tuple[str, str]:
    """Width and height: the numbers where there are any, else those of the named size for this mode."""
    width, height = request.form.get("width", ""), request.form.get("height", "")
    if width or height:
        return width, height
    from_words = request.form.get("mode") == Mode.TEXT_TO_IMAGE
    named_width, _x, named_height = request.form.get("words_size" if from_words else "photo_size", "").partition("x")
    return named_width, named_height
