"""What is kept of an upload: one upright sRGB JPEG of a bounded size. Called by `services`."""

from __future__ import annotations

from ghibli_flask.errors import FieldError, InvalidFields, _
from ghibli_flask.images.decode import Size, core, decode, open_picture, quick_size
from ghibli_flask.images.picture import Picture, encode_jpeg

SMALLEST_SIDE = 16
_QUALITY = 92
# A visitor is waiting with the request open, so this gives up early and says when to come back.
_PATIENCE_S = 5.0

_TOO_SMALL = _("That picture is too small: each side needs at least 16 pixels. Nothing was charged.")
_TOO_NARROW = _(
    "That picture is too narrow for its length: made smaller, one side would be under 16 pixels. Nothing was charged."
)


def normalise(data: bytes, *, max_pixels: int = 50_000_000, longest_side: int = 2048) -> Picture:
    """Prove that bytes are a picture and return what is kept of it: JPEG, upright, sRGB, without any metadata.

    JPEG (also multi-picture), PNG, WebP, HEIC/HEIF, AVIF, GIF and TIFF are read, the first frame of each;
    transparency is flattened on white. Width times height may be at most `max_pixels`; the result's longer side
    is at most `longest_side` pixels, and up to a tenth less where a JPEG is so read without resizing.

    Raises NotAPicture, TooLarge, InvalidFields (a side under 16 pixels before or after reduction), and Busy when
    no core is free within 5 seconds.
    """
    image = open_picture(data, max_pixels=max_pixels)
    size = quick_size(image, reduced(image.size, longest_side))
    _check_sides(image.size, size)
    with core(_PATIENCE_S):
        return encode_jpeg(decode(image, size), quality=_QUALITY)


def reduced(size: Size, longest_side: int) -> Size:
    """Scale (width, height) so that the longer side is at most `longest_side`, never up, and no side below 1."""
    width, height = size
    scale = min(1.0, longest_side / max(size))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _check_sides(size: Size, kept: Size) -> None:
    if min(size) < SMALLEST_SIDE:
        raise InvalidFields(_TOO_SMALL, fields=(FieldError("image", _TOO_SMALL),))
    if min(kept) < SMALLEST_SIDE:
        raise InvalidFields(_TOO_NARROW, fields=(FieldError("image", _TOO_NARROW),))
