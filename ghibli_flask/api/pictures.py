"""The routes that send pictures: the result, its thumbnail, and the photograph to its owner."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import PurePosixPath

from flask import Blueprint, Response, request, send_file
from spectree import Response as Answers

from ghibli_flask.images import thumbnail
from ghibli_flask.schemas import ImageQuery, Problem, spec
from ghibli_flask.services import files, pictures
from ghibli_flask.visitors import current_payer

picture_routes = Blueprint("pictures", __name__)

CONTENT_TYPES = {".jpg": "image/jpeg", ".webp": "image/webp", ".png": "image/png"}
SENT = Answers("HTTP_200", "HTTP_206", "HTTP_304", "HTTP_416", HTTP_403=Problem, HTTP_404=Problem)
TAGS = ("Pictures",)


@picture_routes.get("/api/image/<task_id>")
@spec.validate(query=ImageQuery, resp=SENT, tags=TAGS, skip_validation=False)
def image(task_id: str) -> Response:
    """The finished picture."""
    file = pictures.result_file(task_id, current_payer())
    return picture_response(files.read(file), file.key, _download_name(task_id))


@picture_routes.get("/api/image/<task_id>/thumbnail")
@spec.validate(resp=SENT, tags=TAGS)
def image_thumbnail(task_id: str) -> Response:
    """The finished picture at 480 px."""
    file = pictures.result_file(task_id, current_payer())
    return picture_response(thumbnail(files.read(file)).data, f"{file.key}.webp")


@picture_routes.get("/api/image/<task_id>/original")
@spec.validate(query=ImageQuery, resp=SENT, tags=TAGS)
def image_original(task_id: str) -> Response:
    """The photograph as it was taken in: upright and without its metadata; for its owner alone."""
    file = pictures.source_file(task_id, current_payer())
    return picture_response(files.read(file), file.key, _download_name(f"{task_id}-original"))


def picture_response(data: bytes, key: str, download_name: str | None = None) -> Response:
    """Bytes of a stored picture with a strong ETag and ranges; keys are never written twice, so the key is the tag."""
    suffix = PurePosixPath(key).suffix
    response = send_file(
        BytesIO(data),
        mimetype=CONTENT_TYPES[suffix],
        etag=hashlib.sha256(key.encode()).hexdigest()[:24],
        as_attachment=download_name is not None,
        download_name=f"{download_name}{suffix}" if download_name else None,
        conditional=True,
    )
    response.direct_passthrough = False  # The bytes are in memory, and the declarations read every answer.
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _download_name(stem: str) -> str | None:
    return f"painted-{stem[:8]}" if request.args.get("download") else None
