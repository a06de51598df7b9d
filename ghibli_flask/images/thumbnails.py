"""Small previews of stored pictures. Called by `services` when a source or a result is stored."""

from __future__ import annotations

from dataclasses import replace

from ghibli_flask.images.ai_mark import mark, read_mark
from ghibli_flask.images.decode import core, decode, open_picture
from ghibli_flask.images.normalise import reduced
from ghibli_flask.images.picture import Picture, encode_webp

THUMBNAIL_SIDE = 640
"""The longest side in pixels: what a phone shows across its whole width, and enough for a wall of prints anywhere."""
_MAX_PIXELS = 50_000_000
_QUALITY = 78
_PATIENCE_S = 60.0


def thumbnail(data: bytes, *, longest_side: int = THUMBNAIL_SIDE) -> Picture:
    """Return a WebP of at most `longest_side` pixels, with the AI mark when the picture carries it.

    Never enlarges. Raises NotAPicture, TooLarge (over 50 megapixels) and Busy.
    """
    image = open_picture(data, max_pixels=_MAX_PIXELS)
    with core(_PATIENCE_S):
        preview = encode_webp(decode(image, reduced(image.size, longest_side)), quality=_QUALITY)
    source_type = read_mark(data)
    return preview if source_type is None else replace(preview, data=mark(preview.data, source_type))
