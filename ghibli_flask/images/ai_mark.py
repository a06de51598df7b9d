"""The machine-readable mark that says how a picture was made: IPTC's digital source type in an XMP packet.

Called by `shapes` and `thumbnails`, and by whatever asks a stored picture whether it carries the mark. The mark is
put between the bytes of a JPEG or WebP; the pixels are not coded again.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from enum import StrEnum

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' Iptc4xmpExt:DigitalSourceType="{uri}"/>'
    "</rdf:RDF></x:xmpmeta>"
    '<?xpacket end="r"?>'
)
_FOUND = re.compile(rb"DigitalSourceType(?:\s*=\s*[\"']|>)\s*" + re.escape(_VOCABULARY).encode() + rb"([A-Za-z]+)")

_JPEG_START = b"\xff\xd8"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_APP0, _APP1, _START_OF_SCAN = 0xE0, 0xE1, 0xDA

_WEBP_XMP = b"XMP "
_VP8X_XMP, _VP8X_ALPHA = 0x04, 0x10


class DigitalSourceType(StrEnum):
    """How a picture came to be, in the words of https://cv.iptc.org/newscodes/digitalsourcetype/."""

    TRAINED_ALGORITHMIC_MEDIA = "trainedAlgorithmicMedia"
    """Made by a trained model, from words alone."""

    COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA = "compositeWithTrainedAlgorithmicMedia"
    """A photograph painted over by a trained model."""

    ALGORITHMICALLY_ENHANCED = "algorithmicallyEnhanced"
    """A photograph changed by an algorithm without a trained model: the bundled painter."""

    @property
    def uri(self) -> str:
        """The term's address in IPTC's vocabulary, as it stands in the packet."""
        return _VOCABULARY + self.value


def mark(data: bytes, source_type: DigitalSourceType) -> bytes:
    """Return a JPEG or WebP with the mark as its only XMP packet; the coded pixels stay as they are.

    Raises ValueError for bytes of another format: only pictures that this package encoded come here.
    """
    packet = _PACKET.format(uri=source_type.uri).encode()
    if data.startswith(_JPEG_START):
        return _mark_jpeg(data, packet)
    if _is_webp(data):
        return _mark_webp(data, packet)
    raise ValueError("Only JPEG and WebP can be marked.")


def read_mark(data: bytes) -> DigitalSourceType | None:
    """Return the mark that a JPEG or WebP carries, or None. Foreign or broken bytes carry none."""
    try:
        packet = _xmp_packet(data)
    except struct.error:
        return None
    found = _FOUND.search(packet)
    if found is None:
        return None
    try:
        return DigitalSourceType(found[1].decode())
    except ValueError:
        return None


def _xmp_packet(data: bytes) -> bytes:
    if data.startswith(_JPEG_START):
        for marker, segment in _jpeg_segments(data):
            if _is_jpeg_xmp(marker, segment):
                return segment[4 + len(_JPEG_XMP) :]
    elif _is_webp(data):
        for name, content in _webp_chunks(data):
            if name == _WEBP_XMP:
                return content
    return b""


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, whole segment) of a JPEG's header; the last one is the first scan and all behind it."""
    position = len(_JPEG_START)
    while True:
        lead, marker, length = struct.unpack_from(">BBH", data, position)
        if lead != 0xFF:
            raise struct.error("A JPEG marker was expected.")
        if marker == _START_OF_SCAN:
            yield marker, data[position:]
            return
        yield marker, data[position : position + 2 + length]
        position += 2 + length


def _is_jpeg_xmp(marker: int, segment: bytes) -> bool:
    return marker == _APP1 and segment.startswith(_JPEG_XMP, 4)


def _mark_jpeg(data: bytes, packet: bytes) -> bytes:
    content = _JPEG_XMP + packet
    xmp = struct.pack(">BBH", 0xFF, _APP1, 2 + len(content)) + content
    parts = [_JPEG_START]
    segments = [(marker, part) for marker, part in _jpeg_segments(data) if not _is_jpeg_xmp(marker, part)]
    # The JFIF segment has to stay the first one.
    parts += [part for marker, part in segments if marker == _APP0]
    parts.append(xmp)
    parts += [part for marker, part in segments if marker != _APP0]
    return b"".join(parts)


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, content) of a WebP's chunks."""
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        yield name, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _mark_webp(data: bytes, packet: bytes) -> bytes:
    chunks = [(name, content) for name, content in _webp_chunks(data) if name != _WEBP_XMP]
    if chunks[0][0] != b"VP8X":
        chunks.insert(0, (b"VP8X", _vp8x(*chunks[0])))
    header = chunks[0][1]
    chunks[0] = (b"VP8X", bytes([header[0] | _VP8X_XMP]) + header[1:])
    chunks.append((_WEBP_XMP, packet))
    return _webp_chunk(b"RIFF", b"WEBP" + b"".join(_webp_chunk(name, content) for name, content in chunks))


def _webp_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _vp8x(name: bytes, content: bytes) -> bytes:
    """Describe a simple WebP (one coded picture and nothing else) by the header that metadata ask for."""
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 1)
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bool(bits >> 28 & 1)
        width, height = width + 1, height + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 6))
        alpha = False
    flags = bytes([_VP8X_ALPHA if alpha else 0, 0, 0, 0])
    return flags + int(width - 1).to_bytes(3, "little") + int(height - 1).to_bytes(3, "little")
