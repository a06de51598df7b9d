"""Draws the icons of the installed site from static/img/favicon.svg; run by `make icons` after that drawing changed.

In static/img/ it makes icon-192.png and icon-512.png as the drawing is, icon-maskable-192.png and -512.png with the
ground up to the edges and the drawing within the circle that every shape keeps, and apple-touch-icon.png.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parent.parent / "static" / "img"
SVG = "{http://www.w3.org/2000/svg}"
SAFE = 0.72
"""How large the drawing stands on a maskable icon: its corners lie inside of a circle of 80 % of the width."""
APPLE = 0.86
APPLE_SIZE = 180


def as_it_is() -> str:
    """The drawing with its rounded ground; what is outside stays clear."""
    return (IMAGES / "favicon.svg").read_text()


def to_the_edges(scale: float) -> str:
    """The drawing at this size in the middle of a ground without corners."""
    root = ElementTree.fromstring(as_it_is())  # noqa: S314  # Our own drawing.
    ground, *strokes = list(root)
    side = float(ground.attrib.pop("width"))
    ground.attrib.update(width=str(side), rx="0")
    group = ElementTree.SubElement(root, f"{SVG}g")
    shift = side * (1 - scale) / 2
    group.set("transform", f"translate({shift} {shift}) scale({scale})")
    for stroke in strokes:
        root.remove(stroke)
        group.append(stroke)
    return ElementTree.tostring(root, encoding="unicode")


def main() -> int:
    """Draw every icon with Chromium."""
    ElementTree.register_namespace("", SVG.strip("{}"))
    wanted = {"apple-touch-icon.png": (to_the_edges(APPLE), APPLE_SIZE)}
    for size in (192, 512):
        wanted[f"icon-{size}.png"] = (as_it_is(), size)
        wanted[f"icon-maskable-{size}.png"] = (to_the_edges(SAFE), size)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, (drawing, size) in wanted.items():
            page = browser.new_page(viewport={"width": size, "height": size})
            page.set_content(f"<style>*{{margin:0}}svg{{display:block;width:100vw}}</style>{drawing}")
            page.screenshot(path=IMAGES / name, omit_background=True)
            page.close()
            print(f"static/img/{name}: {(IMAGES / name).stat().st_size} bytes")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
