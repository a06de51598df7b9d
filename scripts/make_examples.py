"""Paints the example pictures of the website; run by hand after the painter changed.

It needs the Space's own environment, because it paints with the Space's painter:

    space/.venv/bin/python scripts/make_examples.py

From docs/photographs/ it makes, in static/img/examples/, one small picture for each style (style-….webp) and the
before/after pairs of the home page (example-1-before.webp, example-1-after.webp, …), each in two sizes
(example-1-before-480.webp) and also as AVIF (example-1-before.avif) for browsers that can show it.
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
STYLE_SIDES, PAIR_SIDES = (480, 240), (1024, 480)
WEBP_BYTES, WEBP_BYTES_A_PIXEL = 120_000, 0.17
"""The most that a WebP may have, and for each pixel."""
AVIF_BYTES = 0.7
"""The most that an AVIF may have, as a part of the WebP: above that, it would not be worth its place."""
SEED = 42


def painted(name: str, look: str) -> tuple[Image.Image, Image.Image]:
    """The photograph as the painter receives it, at the largest size that is shown, and its painting."""
    with Image.open(PHOTOGRAPHS / name) as opened:
        photo = to_srgb(opened)
    scale = PAIR_SIDES[0] / max(photo.size)
    size = tuple(round(side * scale / 16) * 16 for side in photo.size)
    photo = photo.resize(size, Image.Resampling.LANCZOS)
    return photo, Image.fromarray(paint(np.asarray(photo), look, SEED))


def save(picture: Image.Image, name: str, sides: tuple[int, ...]) -> None:
    """Write a picture at these long sides, the first under its plain name, each as WebP and as a smaller AVIF."""
    for side in sides:
        sized = picture.copy()
        sized.thumbnail((side, side), Image.Resampling.LANCZOS)
        stem = name if side == sides[0] else f"{name}-{side}"
        most = min(WEBP_BYTES, round(sized.width * sized.height * WEBP_BYTES_A_PIXEL))
        written = save_below(sized, f"{stem}.webp", most, 90, method=6)
        save_below(sized, f"{stem}.avif", round(written * AVIF_BYTES), 74, speed=6)


def save_below(picture: Image.Image, name: str, most_bytes: int, best: int, **options: int) -> int:
    """Write a picture at the highest quality, `best` or less, that stays below `most_bytes`; gives its bytes."""
    target = EXAMPLES / name
    for quality in range(best, 30, -4):
        picture.save(target, quality=quality, **options)
        if target.stat().st_size < most_bytes:
            break
    print(f"{target.relative_to(ROOT)}: {picture.width} x {picture.height}, {target.stat().st_size} bytes")
    return target.stat().st_size


def main() -> None:
    """Make every example."""
    EXAMPLES.mkdir(parents=True, exist_ok=True)
    for style, look in STYLES.items():
        _, painting = painted(STYLE_PHOTOGRAPH, look)
        save(painting, f"style-{style}", STYLE_SIDES)
    for number, (name, look) in enumerate(PAIRS, start=1):
        photo, painting = painted(name, look)
        save(photo, f"example-{number}-before", PAIR_SIDES)
        save(painting, f"example-{number}-after", PAIR_SIDES)


if __name__ == "__main__":
    main()
