"""One walk through every place in one language, looking at each with axe-core and with a ruler."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Page

from tests.accessibility.conftest import Open
from tests.accessibility.open_site import OpenSite
from tests.accessibility.places import PLACES, Place

PATIENCE_MS = 10_000
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DESKTOP, PHONE, NARROWEST = (1280, 800), (360, 740), (320, 640)
"""Looked at in light, looked at in dark, and measured: 320 px are 1280 px at 400 %."""
SMALLEST_TARGET = 24
"""CSS pixels in both directions, WCAG 2.5.8."""

PLAIN_GROUNDS = """
*, *::before, *::after { background-image: none !important; }
.sky { display: none !important; }
"""
"""axe-core does not judge text over pictures, and the grain of the paper is one, as is the sky: without them it can
compute. The colours of the sky are judged by `test_colours.py`."""

SMALL_TARGETS = """(smallest) => {
  const things = document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button], [tabindex="0"]');
  const isShown = (box) => box.width > 1 && box.height > 1;
  const around = (element) => {
    const boxes = [element, ...(element.labels ?? [])].map((one) => one.getBoundingClientRect()).filter(isShown);
    return boxes.length && [
      Math.max(...boxes.map((box) => box.right)) - Math.min(...boxes.map((box) => box.left)),
      Math.max(...boxes.map((box) => box.bottom)) - Math.min(...boxes.map((box) => box.top)),
    ];
  };
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true });
  const isInSentence = (element) =>
    getComputedStyle(element).display === "inline" && element.closest("p, li, dd, td, figcaption, label, cite")
      ?.textContent.trim().length > element.textContent.trim().length;
  return [...things]
    .filter((element) => isSeen(element) && !element.closest("[aria-hidden=true]"))
    .filter((element) => !element.matches(".skip, .compare__range, [tabindex='-1']") && !isInSentence(element))
    .map((element) => [element, around(element)])
    .filter(([, size]) => size && Math.min(...size) < smallest)
    .map(([element, size]) => `${element.outerHTML.slice(0, 120)} ${size.map(Math.round).join(" x ")}`);
}"""

MOVING = """() => [...document.querySelectorAll("*")].flatMap((element) =>
  [null, "::before", "::after"].map((part) => getComputedStyle(element, part))
    .filter((style) => style.animationName !== "none" || style.scrollBehavior === "smooth"
      || style.transitionDuration.split(", ").some((time) => time !== "0s"))
    .map(() => element.outerHTML.slice(0, 120)))"""
"""What would still move although the visitor wants no motion."""


@dataclass
class Finding:
    """What was found at one place: a line for each problem of each kind."""

    place: Place
    status: int | None = None
    language: str = ""
    axe: list[str] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    small: list[str] = field(default_factory=list)
    moving: list[str] = field(default_factory=list)
    sideways: list[str] = field(default_factory=list)


@cache
def axe_source() -> str:
    """The script of axe-core, as the package brings it."""
    return Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")


def walk(site: OpenSite, open_browser: Open, language: str) -> list[Finding]:
    """Go to every place in this language; each person has one browser for it."""
    site.speak(language)
    pages: dict[str, Page] = {}
    found = []
    for place in PLACES:
        if place.who not in pages:
            context = open_browser(place.who, language, bypass_csp=True)
            context.set_default_timeout(PATIENCE_MS)
            context.add_init_script(axe_source())
            pages[place.who] = context.new_page()
        with place.during(site) if place.during else nullcontext():
            found.append(_look_at(pages[place.who], place, site))
    return found


def _look_at(page: Page, place: Place, site: OpenSite) -> Finding:
    finding = Finding(place)
    _show(page, "light", DESKTOP)
    answer = page.goto(place.address(site))
    finding.status = answer.status if answer else None
    if place.arrive:
        place.arrive(page)
    finding.language = page.locator("html").get_attribute("lang") or ""
    judge(page, finding)
    return finding


def judge(page: Page, finding: Finding) -> None:
    """Look at the page that is open, which was opened in light on a desktop."""
    page.add_style_tag(content=PLAIN_GROUNDS)
    _ask_axe(page, "light", finding)
    _show(page, "dark", PHONE)
    _ask_axe(page, "dark", finding)
    finding.small = page.evaluate(SMALL_TARGETS, SMALLEST_TARGET)
    finding.moving = page.evaluate(MOVING)
    _show(page, "light", NARROWEST)
    _measure(page, "at 320 px", finding)
    _show(page, "light", DESKTOP)
    page.add_style_tag(content="html { font-size: 200%; }")
    _measure(page, "with words at 200 %", finding)


def _measure(page: Page, how: str, finding: Finding) -> None:
    over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if over > 0:
        finding.sideways.append(f"{over} px too wide {how}")


def _show(page: Page, theme: Any, size: tuple[int, int]) -> None:
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": size[0], "height": size[1]})


def _ask_axe(page: Page, theme: str, finding: Finding) -> None:
    options = {"runOnly": RULES, "resultTypes": ["violations", "incomplete"], "preload": False}
    answer = page.evaluate("(options) => axe.run(document, options)", options)
    for kind, lines in (("violations", finding.axe), ("incomplete", finding.unjudged)):
        for rule in answer[kind]:
            for node in rule["nodes"]:
                why = [check["message"] for check in node["any"] + node["all"] + node["none"]]
                lines.append(f"{theme}: {rule['id']}: {json.dumps(node['target'])} {why[:1]}")
