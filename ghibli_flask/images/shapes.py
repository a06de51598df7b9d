"""How a picture travels to an engine and comes back in its own shape. Called by `jobs.paint`.

Engines take sides that are multiples of 16 between 256 and 1,024 pixels. `fit` chooses such sides for a picture,
`prepare` makes the file that is sent, `finish` proves the answer and brings it back to the picture's exact ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from PIL import Image, ImageOps

from ghibli_flask.errors import InvalidFields, NotAPicture, TooLarge
from ghibli_flask.images.ai_mark import DigitalSourceType, mark
from ghibli_flask.images.decode import Box, Size, core, decode, open_picture
from ghibli_flask.images.normalise import SMALLEST_SIDE, reduced
from ghibli_flask.images.picture import Picture, encode_jpeg

# Both run in a worker, where a finished painting must not be lost to a queue for a core.
_PATIENCE_S = 60.0
_SOURCE_PIXELS = 50_000_000
_SENT_QUALITY = 95
_RESULT_PIXELS = 33_000_000
_RESULT_LONGEST_SIDE = 4096
_RESULT_QUALITY = 92
# Below this an engine has only rounded the sides, and stretching by so little shows less than losing an edge.
_STRETCH_TOLERANCE = 0.05


@dataclass(frozen=True)
class Fit:
    """How one picture is sent to an engine and comes back, all in pixels.

    `width` and `height` are the sides sent. `content` (left, top, right, bottom) is where the picture stands within
    them; the rest is padding. `final_width` and `final_height` are the sides of the finished picture.
    """

    width: int
    height: int
    content: tuple[int, int, int, int]
    final_width: int
    final_height: int

    @property
    def padded(self) -> bool:
        """Whether the picture is longer than an engine's sides allow and travels with padding."""
        return self.content != (0, 0, self.width, self.height)


def fit(
    width: int,
    height: int,
    *,
    within: tuple[int, int] | None = None,
    largest: int = 1024,
    smallest: int = 256,
    step: int = 16,
) -> Fit:
    """Choose how a picture of `width` by `height` pixels is sent, as large as the engine allows.

    The sides sent are multiples of `step` between `smallest` and `largest`. A picture longer than largest to
    smallest (4:1) is padded to that shape. The finished picture keeps the ratio of width to height within the
    rounding of one pixel; it fits inside `within` (width, height) when that is given, and inside `largest` always.
    """
    bound_w, bound_h = within or (largest, largest)
    scale = min(bound_w / width, bound_h / height, largest / max(width, height))
    final_w, final_h = max(1, round(width * scale)), max(1, round(height * scale))

    ratio = max(width, height) / min(width, height)
    painted_ratio = min(ratio, largest / smallest)
    long = _multiple(max(max(final_w, final_h), smallest * painted_ratio), step, largest, up=True)
    short = max(smallest, _multiple(long / painted_ratio, step, largest))
    content_short = short if ratio == painted_ratio else max(1, round(long / ratio))
    before = (short - content_short) // 2
    if width >= height:
        return Fit(long, short, (0, before, long, before + content_short), final_w, final_h)
    return Fit(short, long, (before, 0, before + content_short, long), final_w, final_h)


def prepare(source: bytes, fit: Fit) -> bytes:
    """Return the JPEG that is sent to the engine: the picture at its place in `fit`, padded by reflection.

    Raises NotAPicture, TooLarge and Busy; a source that was normalised before raises none of the first two.
    """
    left, top, right, bottom = fit.content
    image = open_picture(source, max_pixels=_SOURCE_PIXELS)
    with core(_PATIENCE_S):
        # Twice the sides sent is enough for the filter, and cheap to decode. Nobody sees what is sent, and an engine
        # paints over it: the finer filter would cost a third more for what no painting shows.
        pixels = decode(image, reduced(image.size, 2 * max(fit.width, fit.height)))
        pixels = pixels.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
        return encode_jpeg(_reflected(pixels, fit) if fit.padded else pixels, quality=_SENT_QUALITY).data


def finish(result: bytes, fit: Fit, *, source_type: DigitalSourceType) -> Picture:
    """Prove an engine's answer and return the finished picture: cropped, in its own shape, JPEG, with the AI mark.

    An answer of another size is scaled; one of clearly another shape is cropped around its middle first.
    Raises NotAPicture for whatever cannot be used, and Busy.
    """
    try:
        image = open_picture(result, max_pixels=_RESULT_PIXELS)
        if min(image.size) < SMALLEST_SIDE:
            raise NotAPicture
        with core(_PATIENCE_S):
            pixels = decode(image, reduced(image.size, _RESULT_LONGEST_SIDE))
            final = (fit.final_width, fit.final_height)
            pixels = pixels.resize(final, Image.Resampling.LANCZOS, box=_content_box(pixels.size, fit))
            picture = encode_jpeg(pixels, quality=_RESULT_QUALITY)
    except (TooLarge, InvalidFields) as error:
        raise NotAPicture from error
    return replace(picture, data=mark(picture.data, source_type))


def _multiple(value: float, step: int, largest: int, *, up: bool = False) -> int:
    steps = -(-value // step) if up else round(value / step)
    return min(largest, int(steps) * step)


def _reflected(content: Image.Image, fit: Fit) -> Image.Image:
    """Fill what the picture leaves free with its mirror images, as often as it takes."""
    canvas = Image.new("RGB", (fit.width, fit.height))
    left, top, _right, _bottom = fit.content
    for column in range(-ceil(left / content.width), ceil((fit.width - left) / content.width)):
        for row in range(-ceil(top / content.height), ceil((fit.height - top) / content.height)):
            tile = ImageOps.mirror(content) if column % 2 else content
            tile = ImageOps.flip(tile) if row % 2 else tile
            canvas.paste(tile, (left + column * content.width, top + row * content.height))
    return canvas


def _content_box(size: Size, fit: Fit) -> Box:
    """Find where the picture stands in an answer of `size` that may differ from what was asked for."""
    width, height = size
    asked = fit.width / fit.height
    left, top = 0.0, 0.0
    across, down = float(width), float(height)
    if abs(width / height / asked - 1) > _STRETCH_TOLERANCE:
        across, down = min(across, down * asked), min(down, across / asked)
        left, top = (width - across) / 2, (height - down) / 2
    scale_x, scale_y = across / fit.width, down / fit.height
    return (
        left + fit.content[0] * scale_x,
        top + fit.content[1] * scale_y,
        min(width, left + fit.content[2] * scale_x),
        min(height, top + fit.content[3] * scale_y),
    )
