"""The picture that a chat shows beside a share's link, and the colour that stands in for a picture while it loads.

Called by `services.sharing`. A card is drawn here from nothing but the pictures, a few shapes and the site's name.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ghibli_flask.images.ai_mark import DigitalSourceType, mark, read_mark
from ghibli_flask.images.decode import Size, core, decode, open_picture
from ghibli_flask.images.normalise import reduced
from ghibli_flask.images.picture import Picture, encode_jpeg

CARD = (1200, 630)
_MAX_PIXELS = 50_000_000
_PATIENCE_S = 20.0
_QUALITY = 88
# Shapes are drawn larger and reduced, because Pillow's own edges are not smooth.
_FINER = 2

# The site's own typeface at weight 480 as TrueType, because Pillow reads no WOFF2; its licence lies beside it.
_FONT = Path(__file__).parent / "fonts" / "fraunces-soft-latin.ttf"
_NAME_SIZE = 38
_LONGEST_NAME = 40

_SKY, _PAPER = (207, 227, 241), (251, 249, 243)
_CLOUD, _FAR, _MID, _NEAR = (253, 252, 248), (179, 211, 208), (139, 185, 138), (53, 107, 70)
_ON_NEAR = (244, 241, 226)
_MAT, _EDGE, _APRICOT, _PEN = (255, 255, 255), (221, 215, 198), (243, 187, 133), (58, 74, 67)

# The meadow at the foot of the card: heights at equal steps from left to right, in pixels from the top.
_HILLS = (
    (_FAR, (468, 452, 470, 446, 424, 442, 470, 462, 448)),
    (_MID, (520, 502, 486, 500, 522, 516, 496, 486, 504)),
    (_NEAR, (556, 548, 552, 562, 566, 556, 546, 550, 558)),
)
_CLOUDS = ((150, 96, 1.0), (1010, 70, 1.3), (620, 44, 0.8))
_TOP, _FOOT, _SIDE, _GAP, _MARGIN = 44, 536, 40, 40, 14


def share_card(painting: bytes, photograph: bytes | None, site_name: str) -> Picture:
    """Return the JPEG of 1200 by 630 pixels for a share: photograph and painting, or the painting alone.

    Pictures keep their shape. The card carries the painting's AI mark. A name that the font cannot write is left
    out. Raises NotAPicture, TooLarge and Busy.
    """
    prints = [_decoded(data) for data in (photograph, painting) if data is not None]
    with core(_PATIENCE_S):
        card = _ground()
        boxes = _hang(card, prints)
        _sign(card, site_name)
        if len(boxes) == 2:
            _draw_brush(card, boxes[0][2] + _MARGIN + _GAP // 2, (boxes[0][1] + boxes[0][3]) // 2)
        picture = encode_jpeg(card, quality=_QUALITY)
    source_type = read_mark(painting) or DigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA
    return replace(picture, data=mark(picture.data, source_type))


def main_colour(data: bytes) -> str:
    """Return the colour of a picture seen from far away, as `#rrggbb`; raises NotAPicture, TooLarge and Busy."""
    image = open_picture(data, max_pixels=_MAX_PIXELS)
    with core(_PATIENCE_S):
        blurred = decode(image, reduced(image.size, 48)).resize((1, 1), Image.Resampling.BOX)
    return "#" + blurred.tobytes().hex()


def _decoded(data: bytes) -> Image.Image:
    image = open_picture(data, max_pixels=_MAX_PIXELS)
    with core(_PATIENCE_S):
        return decode(image, reduced(image.size, CARD[0]))


def _ground() -> Image.Image:
    """Sky, clouds and the meadow."""
    width, height = CARD[0] * _FINER, CARD[1] * _FINER
    sky = Image.new("RGB", (1, CARD[1]))
    for y in range(CARD[1]):
        share = min(1.0, y / 420)
        sky.putpixel((0, y), _between(_SKY, _PAPER, share))
    ground = sky.resize((width, height))
    draw = ImageDraw.Draw(ground)
    for x, y, scale in _CLOUDS:
        for dx, dy, radius in ((-62, 8, 30), (-22, -10, 40), (30, -2, 34), (70, 12, 22)):
            _blob(draw, x + dx * scale, y + dy * scale, radius * scale)
    for colour, heights in _HILLS:
        draw.polygon([*_curve(heights), (width, height), (0, height)], fill=colour)
    return ground.resize(CARD, Image.Resampling.LANCZOS)


def _between(first: tuple[int, int, int], second: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _blob(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    across, down = radius * _FINER * 1.25, radius * _FINER * 0.8
    draw.ellipse((x * _FINER - across, y * _FINER - down, x * _FINER + across, y * _FINER + down), fill=_CLOUD)


def _curve(heights: tuple[int, ...]) -> list[tuple[float, float]]:
    """A soft line through these heights (Catmull and Rom), from the left edge to the right one."""
    points = [heights[0], *heights, heights[-1]]
    step = CARD[0] * _FINER / (len(heights) - 1)
    line = []
    for index in range(len(heights) - 1):
        a, b, c, d = points[index : index + 4]
        for part in range(24):
            t = part / 24
            y = b + t * ((c - a) / 2 + t * (a - 2.5 * b + 2 * c - d / 2 + t * (1.5 * (b - c) + (d - a) / 2)))
            line.append(((index + t) * step, y * _FINER))
    return [*line, (CARD[0] * _FINER, heights[-1] * _FINER)]


def _hang(card: Image.Image, prints: list[Image.Image]) -> list[tuple[int, int, int, int]]:
    """Hang the prints beside one another in the middle, as large as fits; gives where each picture is."""
    room = CARD[0] - 2 * _SIDE - _GAP * (len(prints) - 1) - 2 * _MARGIN * len(prints)
    tallest = _FOOT - _TOP - 2 * _MARGIN
    sizes = [_within(image.size, room // len(prints), tallest) for image in prints]
    x = (CARD[0] - sum(width for width, _height in sizes) - (_GAP + 2 * _MARGIN) * (len(prints) - 1)) // 2
    draw, boxes = ImageDraw.Draw(card), []
    for image, (width, height) in zip(prints, sizes, strict=True):
        y = (_TOP + _FOOT - height) // 2
        mat = (x - _MARGIN, y - _MARGIN, x + width + _MARGIN - 1, y + height + _MARGIN - 1)
        draw.rounded_rectangle(mat, radius=5, fill=_MAT, outline=_EDGE, width=1)
        card.paste(image.resize((width, height), Image.Resampling.LANCZOS), (x, y))
        boxes.append((x, y, x + width, y + height))
        x += width + 2 * _MARGIN + _GAP
    return boxes


def _within(size: Size, width: int, height: int) -> Size:
    scale = min(width / size[0], height / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _draw_brush(card: Image.Image, x: int, y: int) -> None:
    """The brush from the comparison, between photograph and painting."""
    side = 2 * 34
    handle = Image.new("RGBA", (side * 4, side * 4))
    draw = ImageDraw.Draw(handle)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(px * side * 4 / 48, py * side * 4 / 48) for px, py in points]

    draw.ellipse(at((3, 3), (45, 45)), fill=_CLOUD, outline=_EDGE, width=6)
    draw.line(at((15, 18), (9, 24), (15, 30)), fill=_PEN, width=10, joint="curve")
    draw.line(at((33, 18), (39, 24), (33, 30)), fill=_PEN, width=10, joint="curve")
    draw.polygon(at((21, 26), (27, 26), (28.4, 31), (27.4, 35), (24, 38), (20.6, 35), (19.6, 31)), fill=_APRICOT)
    draw.line(at((21, 26), (22, 10), (26, 10), (27, 26)), fill=_PEN, width=9, joint="curve")
    draw.line(
        at((21, 26), (19.6, 31), (20.6, 35), (24, 38), (27.4, 35), (28.4, 31), (27, 26), (21, 26)), fill=_PEN, width=9
    )
    small = handle.resize((side, side), Image.Resampling.LANCZOS)
    card.paste(small, (x - side // 2, y - side // 2), small)


def _sign(card: Image.Image, site_name: str) -> None:
    """Write the site's name on the meadow, when the font has its letters."""
    name = " ".join(site_name.split())[:_LONGEST_NAME]
    if not name.isascii() or not name.isprintable():
        return
    font = ImageFont.truetype(_FONT, _NAME_SIZE)
    ImageDraw.Draw(card).text((CARD[0] / 2, 594), name, font=font, fill=_ON_NEAR, anchor="mm")
