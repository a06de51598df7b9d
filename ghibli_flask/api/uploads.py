"""The routes of photographs that are sent ahead of their order."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request, url_for
from spectree import Response as Answers

from ghibli_flask.api.pictures import SENT, stored_picture
from ghibli_flask.errors import FieldError, InvalidFields, _
from ghibli_flask.schemas import Problem, UploadAnswer, UploadForm, spec
from ghibli_flask.security import orders_limit
from ghibli_flask.services import uploads
from ghibli_flask.visitors import current_payer

upload_routes = Blueprint("uploads", __name__)

REFUSALS = {f"HTTP_{code}": Problem for code in (400, 403, 413, 415, 422, 429, 503)}
TAGS = ("Making pictures",)


@upload_routes.post("/api/upload-image")
@orders_limit
@spec.validate(form=UploadForm, resp=Answers(HTTP_201=UploadAnswer, **REFUSALS), tags=TAGS)
def upload_image() -> tuple[Response, int, dict[str, str]]:
    """Send a photograph ahead of its order, which then names `uploadId`. It is kept for a day; nothing is charged."""
    photo = request.files.get("image")
    if photo is None:
        raise InvalidFields(fields=(FieldError("image", _("Please choose a photo.")),))
    upload = uploads.keep(uploads.within_limit(photo.read()), current_payer())
    answer = UploadAnswer(
        upload_id=upload.public_id,
        url=url_for("uploads.uploaded", upload_id=upload.public_id),
        width=upload.width,
        height=upload.height,
        bytes=upload.size,
        storage=upload.store,
    )
    return jsonify(answer.model_dump(by_alias=True)), 201, {"Location": answer.url}


@upload_routes.get("/api/upload/<upload_id>")
@spec.validate(resp=SENT, tags=TAGS)
def uploaded(upload_id: str) -> Response:
    """A photograph that was sent ahead: upright, without its metadata, for whoever sent it."""
    return stored_picture(uploads.file_of(upload_id, current_payer()))
