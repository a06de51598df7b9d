"""What the functions of this package hand out: encoded bytes and what they hold. Called by everything here."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from PIL import Image


@dataclass(frozen=True)
class Picture:
    """An encoded picture: its bytes, its sides in pixels and its media type such as `image/jpeg`."""

    data: bytes
    width: int
    height: int
    content_type: str


def encode_jpeg(image: Image.Image, *, quality: int) -> Picture:
    """Encode an RGB picture as JPEG of `quality` (1 to 95), without any metadata."""
    return _encode(image, "JPEG", "image/jpeg", quality=quality)


def encode_webp(image: Image.Image, *, quality: int) -> Picture:
    """Encode an RGB picture as lossy WebP of `quality` (0 to 100), without any metadata."""
    # Half the time of the encoder's default effort, for files that are two in a hundred larger.
    return _encode(image, "WEBP", "image/webp", quality=quality, method=2)


def _encode(image: Image.Image, format_name: str, content_type: str, **options: int) -> Picture:
    # Pillow copies comments and colour profiles from `info` into what it saves; nothing of that may travel on.
    image.info.clear()
    out = BytesIO()
    image.save(out, format_name, **options)
    return Picture(out.getvalue(), image.width, image.height, content_type)
