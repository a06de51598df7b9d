"""Files that ask for far more than they are: refused at once and in little memory, each in a process of its own."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from tests.images import pictures
from tests.images.pictures import corners, encoded, png

ROOT = Path(__file__).parents[2]

# The code under test is warmed with a small picture first, so that only what the file itself costs is counted.
CHILD = """
import json, sys, time
from ghibli_flask.errors import AppError
from ghibli_flask.images import normalise

def read(name):
    with open(name, "rb") as file:
        return file.read()

def peak():
    # Not getrusage: its figure starts from that of the process that started this one.
    return int(read("/proc/self/status").decode().split("VmHWM:")[1].split()[0]) / 1024

warm, data = read(sys.argv[1]), read(sys.argv[2])
normalise(warm)
before, started = peak(), time.monotonic()
try:
    kept = normalise(data)
    outcome = f"{kept.width}x{kept.height}"
except AppError as error:
    outcome = error.code
print(json.dumps([outcome, peak() - before, time.monotonic() - started]))
"""


def measured(data: bytes, folder: Path) -> tuple[str, float, float]:
    """Normalise in a fresh process: what came of it, the growth of its peak memory in MB, and the seconds."""
    warm, sent = folder / "warm.jpg", folder / "sent"
    warm.write_bytes(encoded(corners(), "JPEG"))
    sent.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, warm, sent], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    outcome, grown, seconds = json.loads(done.stdout)
    return outcome, grown, seconds


def png_of(width: int, height: int) -> bytes:
    """Make a black PNG of any size from a few bytes a row."""
    pack = zlib.compressobj(9)
    row = bytes(1 + width * 3)
    content = b"".join(pack.compress(row) for _row in range(min(height, 3000))) + pack.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", content), (b"IEND", b"")]
    return pictures.PNG_START + b"".join(pictures.png_chunk(*chunk) for chunk in chunks)


def text_bomb() -> bytes:
    """Make a small PNG with a hundred texts of a megabyte each, packed to a kilobyte."""
    text = b"Comment\0\1\0\0\0" + zlib.compress("\N{SNOWMAN}".encode() + b"a" * 1_040_000, 9)
    return png(64, 64, depth=8, colour=2, rows=bytes(193) * 64, extra=pictures.png_chunk(b"iTXt", text) * 100)


def gif_of(width: int, height: int) -> bytes:
    """Make a GIF whose canvas is announced far larger than its one frame."""
    data = bytearray(encoded(Image.new("P", (16, 16)), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def gif_with_a_large_frame() -> bytes:
    """Make a GIF whose frame is announced far larger than its canvas."""
    data = bytearray(encoded(Image.new("P", (16, 16)), "GIF"))
    frame = data.index(b",\0\0\0\0")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    return bytes(data)


def webp_of(width: int, height: int) -> bytes:
    """Make a WebP whose canvas is announced far larger than its picture."""
    simple = encoded(Image.new("RGB", (16, 16)), "WEBP")
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + simple[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


TIFF_RGB = [(258, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]


def tiff_of(width: int, height: int) -> bytes:
    """Make a TIFF that announces a huge grey picture in one packed strip."""
    content = zlib.compress(bytes(10_000_000), 9)
    entries = [*TIFF_RGB, (256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, 8), (278, 4, 1, height)]
    entries += [(273, 4, 1, 200), (279, 4, 1, len(content))]
    return pictures.tiff(entries).ljust(200, b"\0") + content


def tiff_with_a_large_tile() -> bytes:
    """Make a TIFF of 64 by 64 pixels in one tile of 30,000 by 30,000, which would be unpacked whole."""
    pack = zlib.compressobj(9)
    content = b"".join(pack.compress(bytes(30_000)) for _row in range(30_000)) + pack.flush()
    entries = [*TIFF_RGB, (256, 4, 1, 64), (257, 4, 1, 64), (259, 3, 1, 8), (322, 4, 1, 30_000), (323, 4, 1, 30_000)]
    entries += [(324, 4, 1, 200), (325, 4, 1, len(content))]
    return pictures.tiff(entries).ljust(200, b"\0") + content


def tiff_with_a_long_list() -> bytes:
    """Make a TIFF of 64 by 64 pixels that lists four million strips."""
    count = 4_000_000
    entries = [*TIFF_RGB, (256, 4, 1, 64), (257, 4, 1, 64), (259, 3, 1, 1), (278, 4, 1, 1)]
    entries += [(273, 4, count, 200), (279, 4, 1, 64)]
    return pictures.tiff(entries).ljust(200, b"\0") + struct.pack("<I", 8) * count


def with_sides(data: bytes, width: int, height: int) -> bytes:
    """Announce other sides in a HEIF or AVIF than it was coded with."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


def avif_that_lies() -> bytes:
    """Make an AVIF of 60 megapixels in two kilobytes that announces 100 by 100."""
    return with_sides(encoded(Image.new("L", (10_000, 6_000), 90), "AVIF", speed=10), 100, 100)


def heif_that_lies() -> bytes:
    """Make a HEIF of 16 megapixels that announces 100 by 100."""
    return with_sides(encoded(Image.new("L", (4_000, 4_000), 90), "HEIF"), 100, 100)


def heif_with_shared_metadata() -> bytes:
    """Make a HEIF of 300 pictures that all refer to the same megabyte of metadata."""
    heif = pillow_heif.from_pillow(Image.new("RGB", (64, 64)))
    for _picture in range(299):
        heif.add_from_pillow(Image.new("RGB", (64, 64)))
    out = BytesIO()
    heif.save(out, quality=10, exif=b"Exif\0\0" + bytes(1_000_000), save_all=True)
    data = out.getvalue()
    reference = data.index(b"cdsc") - 4
    item = data[reference + 8 : reference + 10]
    pictures_described = b"".join(struct.pack(">H", number) for number in range(1, 301))
    return grown_box(data, reference, pictures.box(b"cdsc", item + struct.pack(">H", 300) + pictures_described))


def grown_box(data: bytes, at: int, replacement: bytes) -> bytes:
    """Put a longer box in place of the one at `at`, and correct the boxes around it and the items' offsets."""
    (old,) = struct.unpack_from(">I", data, at)
    more = len(replacement) - old
    changed = bytearray(data[:at] + replacement + data[at + old :])
    for kind in (b"meta", b"iref"):
        start = data.index(kind) - 4
        struct.pack_into(">I", changed, start, struct.unpack_from(">I", data, start)[0] + more)
    return bytes(changed)


def endless_scans() -> bytes:
    """Make a progressive JPEG that goes over its 40 megapixels a thousand times in a few kilobytes."""
    data = encoded(Image.new("L", (8000, 5000), 128), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    return data[:scan] + data[scan:-2] * 1000 + b"\xff\xd9"


BOMBS = {
    "png": lambda: png_of(30_000, 30_000),
    "png texts": text_bomb,
    "gif canvas": lambda: gif_of(65_535, 65_535),
    "gif canvas that only warns": lambda: gif_of(10_000, 10_000),
    "gif frame": gif_with_a_large_frame,
    "webp": lambda: webp_of(16_000, 16_000),
    "tiff": lambda: tiff_of(100_000, 100_000),
    "tiff tile": tiff_with_a_large_tile,
    "tiff list": tiff_with_a_long_list,
    "heif": lambda: with_sides(encoded(corners(), "HEIF"), 30_000, 30_000),
    "avif": lambda: with_sides(encoded(corners(), "AVIF"), 30_000, 30_000),
    "avif that lies": avif_that_lies,
    "heif that lies": heif_that_lies,
    "heif metadata": heif_with_shared_metadata,
    "jpeg scans": endless_scans,
    "jpeg": lambda: encoded(Image.new("L", (20_000, 20_000)), "JPEG"),
}
HARMLESS = {"png texts": "64x64"}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(name: str, tmp_path: Path) -> None:
    """A file that would unpack to hundreds of megabytes is refused (or read without its text) under 100 MB."""
    outcome, grown, seconds = measured(BOMBS[name](), tmp_path)
    print(f"{name}: {outcome}, {grown:.0f} MB, {seconds * 1000:.0f} ms")
    assert outcome == HARMLESS.get(name, outcome)
    assert outcome in {"too_large", "not_a_picture", HARMLESS.get(name)}
    assert grown < 100
    assert seconds < 1


def test_a_48_megapixel_jpeg_in_little_memory(tmp_path: Path) -> None:
    """A phone's largest JPEG is decoded at a quarter of its size: a tenth of the memory that the whole would take."""
    data = encoded(corners(8064, 6048).effect_spread(3), "JPEG", quality=90)
    outcome, grown, seconds = measured(data, tmp_path)
    print(f"48 MP JPEG: {grown:.0f} MB, {seconds:.2f} s")
    assert outcome == "2016x1512"
    assert grown < 60


@pytest.mark.parametrize(
    ("format_name", "mode", "bound"), [("PNG", "RGBA", 330), ("PNG", "P", 150), ("TIFF", "I;16", 200)]
)
def test_large_pictures_never_exist_twice(format_name: str, mode: str, bound: int, tmp_path: Path) -> None:
    """The costliest pictures within the bound are converted in bands: little more memory than their pixels take."""
    outcome, grown, seconds = measured(encoded(Image.new(mode, (8000, 6000)), format_name), tmp_path)
    print(f"48 MP {format_name} {mode}: {grown:.0f} MB, {seconds:.2f} s")
    assert outcome == "2048x1536"
    assert grown < bound
