"""The routes that send pictures: the result, its thumbnail, and the photograph to its owner."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import PurePosixPath

from flask import Blueprint, Response, make_response, request, send_file
from spectree import Response as Answers

from ghibli_flask.images import thumbnail
from ghibli_flask.schemas import OR_BY_SECRET, ImageQuery, Problem, spec
from ghibli_flask.security import holds_process_secret
from ghibli_flask.services import files, pictures, processors
from ghibli_flask.storage import StoredFile, content_type
from ghibli_flask.visitors import current_payer

picture_routes = Blueprint("pictures", __name__)

BYTES = ("HTTP_200", "HTTP_206", "HTTP_304", "HTTP_416")
STREAMED = Answers(*BYTES, HTTP_403=Problem, HTTP_404=Problem, HTTP_503=Problem)
SENT = Answers(*BYTES, "HTTP_302", HTTP_403=Problem, HTTP_404=Problem, HTTP_503=Problem)
TAGS = ("Pictures",)


@picture_routes.get("/api/image/<task_id>")
@spec.validate(query=ImageQuery, resp=SENT, tags=TAGS, security=OR_BY_SECRET, skip_validation=False)
def image(task_id: str) -> Response:
    """The finished picture."""
    handed_over = processors.result_file(task_id) if holds_process_secret() else None
    if handed_over:  # A program fetches it with its secret, which another host must not see.
        return picture_response(files.read(handed_over), handed_over.key)
    file = pictures.result_file(task_id, current_payer())
    return stored_picture(file, _download_name(task_id))


@picture_routes.get("/api/image/<task_id>/thumbnail")
@spec.validate(resp=STREAMED, tags=TAGS, security=OR_BY_SECRET)
def image_thumbnail(task_id: str) -> Response:
    """The finished picture at 640 px; a browser may keep it for an hour."""
    handed_over = processors.result_file(task_id) if holds_process_secret() else None
    kept = None if handed_over else pictures.thumbnail_file(task_id, current_payer())
    if kept:
        response = _not_modified(kept.key) or picture_response(files.read(kept), kept.key)
    else:
        file = handed_over or pictures.result_file(task_id, current_payer())
        key = f"{file.key}.webp"
        response = _not_modified(key) or picture_response(thumbnail(files.read(file)).data, key)
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


@picture_routes.get("/api/image/<task_id>/original")
@spec.validate(query=ImageQuery, resp=SENT, tags=TAGS)
def image_original(task_id: str) -> Response:
    """The photograph as it was taken in: upright and without its metadata; for its owner alone."""
    file = pictures.source_file(task_id, current_payer())
    return stored_picture(file, _download_name(f"{task_id}-original"))


def stored_picture(file: StoredFile, download_name: str | None = None) -> Response:
    """A kept picture by the shortest way: a signed address of its store, nginx, or its bytes.

    A browser that has it already is told so without asking the store. A download is never a redirect, because a signed
    address cannot carry its name.
    """
    known = _not_modified(file.key)
    if known:
        return known
    address = None if download_name else files.signed_address(file, "HEAD" if request.method == "HEAD" else "GET")
    if address:
        response = make_response("", 302)
        response.headers["Location"] = address
        response.headers["Cache-Control"] = "no-store"  # The address does not last.
        return response
    inside = files.internal_address(file)
    if inside is None:
        return picture_response(files.read(file), file.key, download_name)
    # The length, the ranges and the tag are nginx's own.
    response = Response(mimetype=content_type(file.key), headers={"X-Accel-Redirect": inside})
    if download_name:
        name = download_name + PurePosixPath(file.key).suffix
        response.headers.set("Content-Disposition", "attachment", filename=name)
    return _dressed(response)


def picture_response(data: bytes, key: str, download_name: str | None = None) -> Response:
    """Bytes of a stored picture with a strong ETag and ranges; keys are never written twice, so the key is the tag."""
    response = send_file(
        BytesIO(data),
        mimetype=content_type(key),
        etag=_tag(key),
        as_attachment=download_name is not None,
        download_name=f"{download_name}{PurePosixPath(key).suffix}" if download_name else None,
        conditional=True,
    )
    response.direct_passthrough = False  # The bytes are in memory, and the declarations read every answer.
    return _dressed(response)


def _not_modified(key: str) -> Response | None:
    """The answer to a browser that holds this picture already."""
    if not request.if_none_match.contains_weak(_tag(key)):
        return None
    response = Response(status=304)
    response.set_etag(_tag(key))
    return _dressed(response)


def _tag(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def _dressed(response: Response) -> Response:
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _download_name(stem: str) -> str | None:
    return f"painted-{stem[:8]}" if request.args.get("download") else None
