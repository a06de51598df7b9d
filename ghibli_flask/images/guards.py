"""What a file may cost before its decoder has told how large the picture is. Called by `decode` alone.

Most decoders read a header and wait. The ones guarded here spend memory or time on what else the file holds,
so those parts are measured, or left out, before the decoder sees them. Each guard gets the bytes of one format,
raises a leaf of `ghibli_flask.errors`, and returns the bytes to decode.
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

_HEIF_BOXES = frozenset({b"ftyp", b"meta", b"mdat", b"moov"})
# Every picture in a HEIF file gets copies of the metadata that refer to it; what phones write stays below 1 MB.
_MOST_HEIF_METADATA = 32 * 2**20


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise TooLarge when width times height, in pixels, passes `max_pixels`."""
    if width * height > max_pixels:
        raise TooLarge(TOO_MANY_PIXELS, megapixels=max_pixels // 1_000_000)


def guard_png(data: bytes, max_pixels: int) -> bytes:
    """Keep only the chunks that make the picture; a file without its end is refused."""
    width, height = _numbers(">II", data, 16)
    check_pixels(width, height, max_pixels)
    kept = [PNG_SIGNATURE]
    position, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = _numbers(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise NotAPicture(STOPS_EARLY)
        if kind in _PNG_CHUNKS:
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def guard_webp(data: bytes, max_pixels: int) -> bytes:
    """Measure the canvas, which the decoder would allocate twice while opening the file."""
    length, kind = _numbers("<I4x4s", data, 4)
    if length + 8 > len(data):
        raise NotAPicture(STOPS_EARLY)
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = _numbers("<HBHB", data, 24)
        width, height = (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1
    elif kind == b"VP8L":
        (bits,) = _numbers("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in _numbers("<HH", data, 26))
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
        (offset,) = _numbers(order + "Q", data, 8)
    else:
        head, entry = "H", "HHI4s"
        (offset,) = _numbers(order + "I", data, 4)
    (count,) = _numbers(order + head, data, offset)
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


def guard_heif(data: bytes, max_pixels: int) -> bytes:
    """Refuse files that stop inside a box, huge announced sides, and metadata that would be copied many times."""
    for kind, start, end in _boxes(data, 0, len(data), then_anything=True):
        if kind == b"meta":
            _guard_heif_meta(data, start + 4, end, max_pixels)
    return data


def _guard_heif_meta(data: bytes, start: int, end: int, max_pixels: int) -> None:
    lengths: dict[int, int] = {}
    copies: dict[int, int] = {}
    for kind, inner, inner_end in _boxes(data, start, end):
        if kind == b"iprp":
            _guard_heif_sides(data, inner, inner_end, max_pixels)
        elif kind == b"iloc":
            lengths = _heif_item_lengths(data, inner)
        elif kind == b"iref":
            copies = _heif_descriptions(data, inner, inner_end)
    if sum(lengths.get(item, 0) * times for item, times in copies.items()) > _MOST_HEIF_METADATA:
        raise NotAPicture


def _heif_item_lengths(data: bytes, start: int) -> dict[int, int]:
    """Read an `iloc` box: how many bytes each item of the file holds."""
    version, sizes, base = _numbers(">B3xBB", data, start)
    number = {0: "", 4: "I", 8: "Q"}
    identity = ">I" if version == 2 else ">H"
    try:
        index = number[base & 15] if version else ""
        # Lengths are always written, so that every extent has a size and the loops end with the file.
        extent = struct.Struct(">" + index + number[sizes >> 4] + {4: "I", 8: "Q"}[sizes & 15])
        item_head = struct.Struct(identity + ("2x" if version else "") + "2x" + number[base >> 4] + "H")
    except KeyError as error:
        raise NotAPicture from error
    position = start + 6
    (items,) = _numbers(identity, data, position)
    position += struct.calcsize(identity)
    lengths: dict[int, int] = {}
    for _index in range(items):
        item, *_base, extents = _numbers(item_head.format, data, position)
        position += item_head.size
        total = 0
        for _extent in range(extents):
            *_offset, length = _numbers(extent.format, data, position)
            position += extent.size
            total += min(length, len(data))
        lengths[item] = total
    return lengths


def _heif_descriptions(data: bytes, start: int, end: int) -> dict[int, int]:
    """Read an `iref` box: how many pictures each item of metadata describes."""
    wide = data[start : start + 1] != b"\0"
    copies: dict[int, int] = {}
    for kind, inner, _end in _boxes(data, start + 4, end):
        if kind == b"cdsc":
            item, pictures = _numbers(">IH" if wide else ">HH", data, inner)
            copies[item] = copies.get(item, 0) + pictures
    return copies


def _guard_heif_sides(data: bytes, start: int, end: int, max_pixels: int) -> None:
    for kind, inner, inner_end in _boxes(data, start, end):
        if kind != b"ipco":
            continue
        for name, at, _end in _boxes(data, inner, inner_end):
            if name == b"ispe":
                width, height = _numbers(">II", data, at + 4)
                check_pixels(width, height, max_pixels)


def _boxes(data: bytes, start: int, end: int, *, then_anything: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of the content, end) of the ISO base media boxes between two offsets.

    With `then_anything` the picture's own boxes may be followed by bytes that are no boxes, as some phones do it.
    """
    while start + 8 <= end:
        size, kind = _numbers(">I4s", data, start)
        head = 8
        if size == 1:
            (size,) = _numbers(">Q", data, start + 8)
            head = 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            if then_anything and kind not in _HEIF_BOXES:
                return
            raise NotAPicture(STOPS_EARLY)
        yield kind, start + head, start + size
        start += size


def _numbers(layout: str, data: bytes, offset: int) -> tuple[Any, ...]:
    try:
        return struct.unpack_from(layout, data, offset)
    except struct.error as error:
        raise NotAPicture(STOPS_EARLY) from error
