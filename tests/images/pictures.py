"""Small pictures of every kind, made on the spot. Called by the tests of `ghibli_flask.images`."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import pillow_heif
from PIL import Image, ImageCms

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 40), (30, 40, 210), (128, 128, 128)

# What a camera writes about a place: 48° 51' 30" N, 2° 17' 40" E.
GPS = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)}
SECRET = "Secret Camera 9000"

PNG_START = b"\x89PNG\r\n\x1a\n"


def corners(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """Draw red, green, blue and grey quarters: top left, top right, bottom left, bottom right."""
    image = Image.new("RGB", (width, height), GREY)
    half = (width // 2, height // 2)
    image.paste(RED, (0, 0, *half))
    image.paste(GREEN, (half[0], 0, width, half[1]))
    image.paste(BLUE, (0, half[1], half[0], height))
    return image.convert(mode)


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """Encode with Pillow; HEIF goes through pillow-heif."""
    out = BytesIO()
    if format_name == "HEIF":
        if isinstance(exif := options.get("exif"), Image.Exif):
            options["exif"] = exif.tobytes()  # As bytes it also writes the box that turns the picture.
        pillow_heif.from_pillow(image).save(out, quality=90, **options)
    else:
        image.save(out, format_name, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """Decode what the package made (JPEG or WebP)."""
    with Image.open(BytesIO(data)) as image:
        image.load()
        return image


def camera_exif(orientation: int | None = None) -> Image.Exif:
    """Write what a phone writes: maker, place and, when wished, how it was held."""
    exif = Image.Exif()
    exif[0x010F] = SECRET
    exif.get_ifd(0x8825).update(GPS)
    if orientation is not None:
        exif[0x0112] = orientation
    return exif


def held(orientation: int) -> Image.Image:
    """Return the corners as the sensor saw them when the camera was held so that `orientation` turns them upright."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = corners()
    return image if undo is None else image.transpose(undo)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Write one chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """Write a PNG of any depth and colour type from its filtered rows; `extra` stands before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        PNG_START
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def tiff(entries: list[tuple[int, int, int, int]], content: bytes = b"") -> bytes:
    """Write a little-endian TIFF of one directory of (tag, type, count, value), with `content` behind it."""
    directory = struct.pack("<H", len(entries))
    for tag, kind, count, value in sorted(entries):
        directory += struct.pack("<HHII", tag, kind, count, value)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + content


def box(kind: bytes, content: bytes) -> bytes:
    """Write one box of an ISO base media file (HEIF, AVIF)."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _s15(value: float) -> bytes:
    return struct.pack(">i", round(value * 65_536))


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes], device: bytes = b"mntr") -> bytes:
    """Put tags together to an ICC version 2 profile."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + _s15(0.9642) + _s15(1.0) + _s15(0.8249),
        **tags,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"test", 0x02400000, device, space, connection)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += _s15(0.9642) + _s15(1.0) + _s15(0.8249)
    return head.ljust(128, b"\0") + table + body


def display_p3() -> bytes:
    """Make the profile of an iPhone's photographs: Display P3 with a gamma of 2.2."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    colours = {b"rXYZ": (0.51512, 0.24120, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189)}
    colours[b"bXYZ"] = (0.15710, 0.06657, 0.78407)
    tags = {name: b"XYZ \0\0\0\0" + b"".join(_s15(v) for v in values) for name, values in colours.items()}
    return _profile(b"RGB ", b"XYZ ", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def cmyk_of_green() -> bytes:
    """Make a CMYK profile that sees every ink as a middle green, so that its use cannot be overlooked."""
    identity = b"".join(_s15(float(row == column)) for row in range(3) for column in range(3))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity
    table += bytes(range(256)) * 4  # Input curves.
    table += bytes([140, 70, 180]) * 16  # L*, a*, b* at each corner of the grid.
    table += bytes(range(256)) * 3  # Output curves.
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table, b"A2B1": table}, device=b"prtr")


def srgb_profile() -> bytes:
    """Return the bytes of an ordinary sRGB profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def cut(data: bytes, share: float) -> bytes:
    """Keep the first part of a file."""
    return data[: int(len(data) * share)]
