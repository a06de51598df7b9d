"""The thumbnail that is kept beside a finished picture, so that a page of many pictures costs no painting of its own.

Called by `jobs.paint` and `services.processors` before a task ends. A picture without one is no failure: its thumbnail
is made whenever it is asked for, by the route that sends it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ghibli_flask.errors import AppError
from ghibli_flask.images import size_of, thumbnail
from ghibli_flask.services import files
from ghibli_flask.storage import StoredFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preview:
    """A kept thumbnail that no row has adopted yet, and the sides of the whole picture in pixels."""

    file: StoredFile
    width: int
    height: int


def keep(picture: bytes) -> Preview | None:
    """Make and keep the thumbnail of a finished picture; None when it could not be made or no store takes it."""
    try:
        width, height = size_of(picture)
        return Preview(files.keep(thumbnail(picture).data, "thumbnails", "webp"), width, height)
    except AppError as error:
        log.warning("A thumbnail was not kept and will be made when it is asked for: %s", error.code)
        return None
