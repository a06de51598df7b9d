"""What a file may cost before its decoder has told how large the picture is. Called by `decode`.

Most decoders read a header and wait. The ones guarded here spend memory or time on what else the file holds, so those
parts are measured, or left out, before the decoder sees them. Each guard gets the bytes of one format, raises a leaf
of `ghibli_flask.errors`, and returns the bytes to decode. HEIF and AVIF have a module of their own, `iso_media`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from ghibli_flask.errors import NotAPicture, TooLarge, _

STOPS_EARLY = _(
    "That file stops in the middle, as if it had not been copied to the end. Nothing was charged. "
    "Please choose the photo again."
)
TOO_MANY_PIXELS = _(
    "That picture has more pixels than we can take: the most is %(megapixels)s megapixels. Nothing was charged. "
    "Please choose a smaller version."
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The chunks that make the picture. Text could grow a thousandfold, and later frames of an animation are not wanted.
_PNG_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"eXIf"})

# Progressive files have about ten scans. Each scan goes over every pixel again, so a small file can ask for hours.
_MOST_JPEG_SCANS = 40

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 256, 257, 322, 323
_TIFF_NUMBERS = {3: "H", 4: "I", 16: "Q"}
_TIFF_BYTES = frozenset({1, 2, 6, 7})
# Offsets become one Python number each. A picture of one row per strip stays far below this.
_MOST_TIFF_VALUES = 65_536
# A tile is decoded whole, however small the picture is.
_LARGEST_TIFF_TILE = 4_194_304


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise TooLarge when width times height, in pixels, passes `max_pixels`."""
    if width * height > max_pixels:
        raise TooLarge(TOO_MANY_PIXELS, megapixels=max_pixels // 1_000_000)


def guard_png(data: bytes, max_pixels: int) -> bytes:
    """Keep only the chunks that make the picture; a file without its end is refused."""
    width, height = numbers(">II", data, 16)
    check_pixels(width, height, max_pixels)
    kept = [PNG_SIGNATURE]
    position, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = numbers(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise NotAPicture(STOPS_EARLY)
        if kind in _PNG_CHUNKS:
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def guard_webp(data: bytes, max_pixels: int) -> bytes:
    """Measure the canvas, which the decoder would allocate twice while opening the file."""
    length, kind = numbers("<I4x4s", data, 4)
    if length + 8 > len(data):
        raise NotAPicture(STOPS_EARLY)
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = numbers("<HBHB", data, 24)
        width, height = (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1
    elif kind == b"VP8L":
        (bits,) = numbers("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in numbers("<HH", data, 26))
    check_pixels(width, height, max_pixels)
    return data


def guard_tiff(data: bytes, max_pixels: int) -> bytes:
    """Measure the first directory: the picture's sides, the size of a tile, and the length of every list."""
    order = "<" if data[:2] == b"II" else ">"
    sides: dict[int, int] = {}
    for tag, kind, count, value in _tiff_entries(data, order):
        if kind not in _TIFF_BYTES and count > _MOST_TIFF_VALUES:
            raise NotAPicture
        if kind in _TIFF_NUMBERS and count == 1:
            (sides[tag],) = struct.unpack_from(order + _TIFF_NUMBERS[kind], value)
    width, height = sides.get(_TIFF_WIDTH, 0), sides.get(_TIFF_HEIGHT, 0)
    check_pixels(width, height, max_pixels)
    tile = sides.get(_TIFF_TILE_WIDTH, 0) * sides.get(_TIFF_TILE_HEIGHT, 0)
    if tile > max(width * height, _LARGEST_TIFF_TILE):
        raise NotAPicture
    return data


def _tiff_entries(data: bytes, order: str) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (tag, type, count, value field) of the first directory of a TIFF or BigTIFF."""
    if 43 in data[2:4]:
        head, entry = "Q", "HHQ8s"
        (offset,) = numbers(order + "Q", data, 8)
    else:
        head, entry = "H", "HHI4s"
        (offset,) = numbers(order + "I", data, 4)
    (count,) = numbers(order + head, data, offset)
    start = offset + struct.calcsize(order + head)
    size = struct.calcsize(order + entry)
    if start + count * size > len(data):
        raise NotAPicture(STOPS_EARLY)
    yield from struct.iter_unpack(order + entry, data[start : start + count * size])


def guard_jpeg_scans(data: bytes, first_scan: int) -> None:
    """Count the scans from `first_scan`, the offset where the header ended, to the end of that picture."""
    end = data.find(b"\xff\xd9", first_scan)
    if data.count(b"\xff\xda", first_scan, end if end >= 0 else len(data)) > _MOST_JPEG_SCANS:
        raise NotAPicture


def numbers(layout: str, data: bytes, offset: int) -> tuple[Any, ...]:
    """Unpack numbers at an offset; bytes that end before them raise NotAPicture."""
    try:
        return struct.unpack_from(layout, data, offset)
    except struct.error as error:
        raise NotAPicture(STOPS_EARLY) from error
