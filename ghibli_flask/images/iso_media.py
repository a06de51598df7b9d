"""What a HEIF or AVIF file may cost before its decoder runs. Called by `decode`, like `guards`.

Both are containers of ISO base media boxes: a `meta` box lists items (pictures, tiles, metadata), where their bytes
stand (`iloc`), what describes what (`iref`), and the sides of each picture (`ispe`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from ghibli_flask.errors import NotAPicture
from ghibli_flask.images.guards import STOPS_EARLY, check_pixels, numbers

_OWN_BOXES = frozenset({b"ftyp", b"meta", b"mdat", b"moov"})
# Every picture in a file gets a copy of the metadata that describe it; phones write less than 1 MB.
_MOST_METADATA = 32 * 2**20
_FILE, _IDAT = 0, 1
_OBU_SEQUENCE_HEADER = 1


@dataclass
class _Items:
    """What a `meta` box tells of the items in the file, each by its number."""

    kinds: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    descriptions: dict[int, int] = field(default_factory=dict)
    idat: int = 0

    def length(self, item: int) -> int:
        return sum(length for _offset, length in self.extents.get(item, []))


def guard_heif(data: bytes, max_pixels: int) -> bytes:
    """Refuse a file that stops inside a box, huge announced sides, and metadata that multiply when copied."""
    _read_items(data, max_pixels)
    return data


def guard_avif(data: bytes, max_pixels: int) -> bytes:
    """Do the same, and measure the sides that are coded, because the decoder follows them and not the announced ones.

    An image sequence is changed to say that it is a still picture: the picture that stands for it is decoded.
    """
    items = _read_items(data, max_pixels)
    for item, kind in items.kinds.items():
        if kind == b"av01":
            _guard_av1(_content(data, items, item), max_pixels)
    return data[:8] + b"avif" + data[12:]


def _read_items(data: bytes, max_pixels: int) -> _Items:
    items = _Items()
    for kind, start, end in _boxes(data, 0, len(data), then_anything=True):
        if kind == b"meta":
            _read_meta(data, start + 4, end, items, max_pixels)
    if sum(items.length(item) * times for item, times in items.descriptions.items()) > _MOST_METADATA:
        raise NotAPicture
    return items


def _read_meta(data: bytes, start: int, end: int, items: _Items, max_pixels: int) -> None:
    for kind, inner, inner_end in _boxes(data, start, end):
        if kind == b"iprp":
            _check_sides(data, inner, inner_end, max_pixels)
        elif kind == b"iinf":
            _read_kinds(data, inner, inner_end, items)
        elif kind == b"iloc":
            _read_extents(data, inner, items)
        elif kind == b"iref":
            _read_descriptions(data, inner, inner_end, items)
        elif kind == b"idat":
            items.idat = inner


def _check_sides(data: bytes, start: int, end: int, max_pixels: int) -> None:
    for kind, inner, inner_end in _boxes(data, start, end):
        if kind != b"ipco":
            continue
        for name, at, _end in _boxes(data, inner, inner_end):
            if name == b"ispe":
                width, height = numbers(">II", data, at + 4)
                check_pixels(width, height, max_pixels)


def _read_kinds(data: bytes, start: int, end: int, items: _Items) -> None:
    (version,) = numbers(">B", data, start)
    for _kind, inner, _end in _boxes(data, start + (8 if version else 6), end):
        (wide,) = numbers(">B", data, inner)
        item, kind = numbers(">I2x4s" if wide == 3 else ">H2x4s", data, inner + 4)
        items.kinds[item] = kind


def _read_extents(data: bytes, start: int, items: _Items) -> None:
    version, sizes, base = numbers(">B3xBB", data, start)
    optional, identity = {0: "", 4: "I", 8: "Q"}, ">I" if version == 2 else ">H"
    try:
        index = optional[base & 15] if version else ""
        # Lengths are always written, so that every extent has a size and the loops end with the file.
        extent = struct.Struct(">" + index + optional[sizes >> 4] + {4: "I", 8: "Q"}[sizes & 15])
        head = struct.Struct(identity + ("H" if version else "") + "2x" + optional[base >> 4] + "H")
    except KeyError as error:
        raise NotAPicture from error
    position = start + 6
    (count,) = numbers(identity, data, position)
    position += struct.calcsize(identity)
    for _item in range(count):
        item, *middle, extents = numbers(head.format, data, position)
        position += head.size
        items.places[item] = middle.pop(0) & 15 if version else _FILE
        base_offset = middle[0] if middle else 0
        items.extents[item] = []
        for _extent in range(extents):
            *before, length = numbers(extent.format, data, position)
            position += extent.size
            offset = before[-1] if sizes >> 4 else 0
            items.extents[item].append((base_offset + offset, min(length, len(data))))


def _read_descriptions(data: bytes, start: int, end: int, items: _Items) -> None:
    (version,) = numbers(">B", data, start)
    for kind, inner, _end in _boxes(data, start + 4, end):
        if kind == b"cdsc":
            item, described = numbers(">IH" if version else ">HH", data, inner)
            items.descriptions[item] = items.descriptions.get(item, 0) + described


def _content(data: bytes, items: _Items, item: int) -> bytes:
    place = items.places.get(item, _FILE)
    if place not in (_FILE, _IDAT) or items.length(item) > len(data):
        raise NotAPicture
    start = items.idat if place == _IDAT else 0
    parts = [data[start + offset : start + offset + length] for offset, length in items.extents.get(item, [])]
    return b"".join(parts)


def _guard_av1(stream: bytes, max_pixels: int) -> None:
    """Check the sides in every sequence header of an AV1 stream (a row of units, each with a head and a size)."""
    position = 0
    while position < len(stream):
        head = stream[position]
        position += 2 if head & 4 else 1
        size, shift = len(stream) - position, 0
        if head & 2:
            size = 0
            more = True
            while more:
                (byte,) = numbers(">B", stream, position)
                size |= (byte & 127) << shift
                more, shift, position = byte > 127 and shift < 49, shift + 7, position + 1
        if head >> 3 & 15 == _OBU_SEQUENCE_HEADER:
            check_pixels(*_av1_sides(stream[position : position + size]), max_pixels)
        position += size


def _av1_sides(header: bytes) -> tuple[int, int]:
    """Read the largest sides that a sequence header allows (AV1 specification, 5.5.1)."""
    bits = iter(f"{int.from_bytes(header[:64]):0{8 * min(len(header), 64)}b}")

    def read(count: int) -> int:
        taken = [next(bits, None) for _bit in range(count)]
        if None in taken:
            raise NotAPicture(STOPS_EARLY)
        return int("".join(bit or "" for bit in taken), 2)

    read(4)  # Profile; whether it is a still picture.
    if read(1):  # The short form that stills may use.
        read(5)
    else:
        if read(1):  # Timing belongs to films.
            raise NotAPicture
        delayed = read(1)
        for _point in range(read(5) + 1):
            read(12)
            if read(5) > 7:
                read(1)
            if delayed and read(1):
                read(4)
    width_bits, height_bits = read(4) + 1, read(4) + 1
    return read(width_bits) + 1, read(height_bits) + 1


def _boxes(data: bytes, start: int, end: int, *, then_anything: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of the content, end) of the boxes between two offsets.

    With `then_anything` the picture's own boxes may be followed by bytes that are no boxes, as some phones do it.
    """
    while start + 8 <= end:
        size, kind = numbers(">I4s", data, start)
        head = 8
        if size == 1:
            (size,) = numbers(">Q", data, start + 8)
            head = 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            if then_anything and kind not in _OWN_BOXES:
                return
            raise NotAPicture(STOPS_EARLY)
        yield kind, start + head, start + size
        start += size
