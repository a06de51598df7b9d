"""The photographs that the measurements send: made from one scene, each copy different by a comment in the file."""

from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image

SCENE = Path(__file__).resolve().parent.parent / "docs/photographs/china.jpg"
TWO_MEGAPIXELS = (1733, 1156)
TWELVE_MEGAPIXELS = (4032, 3024)
# With these the files weigh what such photographs do: 0.66 MB and 3.5 MB.
QUALITY = 90
GRAIN = 37
ORIENTATION, ROTATED = 0x0112, 6


@cache
def two_megapixels() -> bytes:
    """A photograph of 2 megapixels and about 0.66 MB."""
    return _jpeg(TWO_MEGAPIXELS)


@cache
def phone_photo() -> bytes:
    """A photograph of 12 megapixels as a phone keeps it: lying on its side, with a note how to turn it."""
    notes = Image.Exif()
    notes[ORIENTATION] = ROTATED
    return _jpeg(TWELVE_MEGAPIXELS, exif=notes)


def numbered(photo: bytes, number: int) -> bytes:
    """The same photograph as a file of its own: a JPEG comment holds the number."""
    words = str(number).encode()
    comment = b"\xff\xfe" + (len(words) + 2).to_bytes(2, "big") + words
    return photo[:2] + comment + photo[2:]


def _jpeg(size: tuple[int, int], **options: object) -> bytes:
    out = BytesIO()
    with Image.open(SCENE) as scene:
        large = scene.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    # An enlarged picture is smooth and small; the grain of a sensor makes it as heavy to decode as a real one.
    grain = Image.effect_noise(size, GRAIN).convert("RGB")
    Image.blend(large, grain, 0.15).save(out, "JPEG", quality=QUALITY, **options)
    return out.getvalue()
