"""Paints the example pictures of the website; run by hand after the painter changed.

It needs the Space's own environment, because it paints with the Space's painter:

    space/.venv/bin/python scripts/make_examples.py

From docs/photographs/ it makes, in static/img/examples/, one small picture for each style (style-….webp) and the
before/after pairs of the home page (example-1-before.webp, example-1-after.webp, …).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np  # type: ignore[import-not-found]  # Only in the Space's environment.
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "space"))

# The painter is found through the line above, and only there.
from painter.paint import paint  # type: ignore[import-not-found]  # noqa: E402
from painter.photo import to_srgb  # type: ignore[import-not-found]  # noqa: E402

PHOTOGRAPHS = ROOT / "docs" / "photographs"
EXAMPLES = ROOT / "static" / "img" / "examples"
STYLE_PHOTOGRAPH = "china.jpg"
STYLES = {"ghibli": "meadow", "golden": "golden", "night": "night", "watercolour": "watercolour"}
PAIRS = (("china.jpg", "meadow"), ("chelsea.png", "meadow"), ("astronaut.png", "watercolour"))
STYLE_SIDE, PAIR_SIDE = 480, 1024
STYLE_BYTES, PAIR_BYTES = 40_000, 120_000
SEED = 42


def painted(name: str, look: str) -> tuple[Image.Image, Image.Image]:
    """The photograph as the painter receives it (long side PAIR_SIDE) and its painting."""
    with Image.open(PHOTOGRAPHS / name) as opened:
        photo = to_srgb(opened)
    scale = PAIR_SIDE / max(photo.size)
    size = tuple(round(side * scale / 16) * 16 for side in photo.size)
    photo = photo.resize(size, Image.Resampling.LANCZOS)
    return photo, Image.fromarray(paint(np.asarray(photo), look, SEED))


def save(picture: Image.Image, name: str, most_bytes: int) -> None:
    """Write a WebP at the highest quality that stays below `most_bytes`."""
    target = EXAMPLES / name
    for quality in range(90, 30, -4):
        picture.save(target, quality=quality, method=6)
        if target.stat().st_size < most_bytes:
            break
    print(f"{target.relative_to(ROOT)}: {picture.width} x {picture.height}, {target.stat().st_size} bytes")


def main() -> None:
    """Make every example."""
    EXAMPLES.mkdir(parents=True, exist_ok=True)
    for style, look in STYLES.items():
        _, painting = painted(STYLE_PHOTOGRAPH, look)
        painting.thumbnail((STYLE_SIDE, STYLE_SIDE), Image.Resampling.LANCZOS)
        save(painting, f"style-{style}.webp", STYLE_BYTES)
    for number, (name, look) in enumerate(PAIRS, start=1):
        photo, painting = painted(name, look)
        save(photo, f"example-{number}-before.webp", PAIR_BYTES)
        save(painting, f"example-{number}-after.webp", PAIR_BYTES)


if __name__ == "__main__":
    main()
