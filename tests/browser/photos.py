"""Photographs for the browser tests, made from the ones in docs/photographs."""

from io import BytesIO
from pathlib import Path

import pillow_heif
from PIL import Image

from tests.support.checkout import ROOT

PHOTOGRAPHS = ROOT / "docs" / "photographs"
LANDSCAPE = PHOTOGRAPHS / "china.jpg"
ANIMAL = PHOTOGRAPHS / "chelsea.png"

ORIENTATION = 0x0112
TURN_RIGHT_TO_SEE = 6


def large_rotated(folder: Path) -> Path:
    """A 12-megapixel JPEG as a phone writes it: lying on its side, with the turn in its EXIF data."""
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_RIGHT_TO_SEE
    target = folder / "phone.jpg"
    with Image.open(LANDSCAPE) as photo:
        photo.resize((4032, 3024), Image.Resampling.BICUBIC).save(target, quality=95, exif=exif)
    return target


def heic(folder: Path) -> Path:
    """A HEIC photograph, which Chromium cannot decode and the server can."""
    target = folder / "phone.heic"
    with Image.open(LANDSCAPE) as photo:
        pillow_heif.from_pillow(photo.convert("RGB")).save(target, quality=80)
    return target


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height of encoded bytes, in pixels."""
    with Image.open(BytesIO(picture)) as image:
        return image.size
