"""The colours of both themes: every pair in which words or the edge of a control stand, the sky included."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.accessibility.conftest import Open

THEMES = ["light", "dark"]
GROUNDS = ("--paper", "--sheet", "--sky-top", "--sky-low", "--cloud-body", "--cloud-shade")
WORDS = [
    *(("--ink", ground) for ground in (*GROUNDS, "--mat", "--brick-soft")),
    *(("--ink-soft", ground) for ground in GROUNDS),
    *(("--brick", ground) for ground in ("--paper", "--sheet", "--brick-soft")),
    ("--apricot-ink", "--apricot-soft"),
    ("--on-go", "--go"),
    ("--on-go", "--go-deep"),
    ("--ground-ink", "--hill-near"),
]
"""Words and what they stand on; 4.5:1 (WCAG 1.4.3)."""
EDGES = [
    *(("--edge", ground) for ground in ("--paper", "--sheet")),
    *(("--focus", ground) for ground in (*GROUNDS, "--mat", "--apricot-soft")),
    ("--ground-ink", "--hill-near"),
    ("--go", "--sheet"),
    ("--brick", "--brick-soft"),
]
"""Edges of controls, marks of a choice and of the focus; 3:1 (WCAG 1.4.11)."""


@pytest.fixture(scope="module", params=THEMES)
def page(request: pytest.FixtureRequest, browser_of: Open) -> Page:
    """Any page of the site, in one theme."""
    page = browser_of(color_scheme=request.param).new_page()
    page.goto("/help")
    return page


def luminance(page: Page, token: str) -> float:
    """The relative luminance of a colour of the stylesheet, as WCAG defines it."""
    colour = page.evaluate("(name) => getComputedStyle(document.documentElement).getPropertyValue(name)", token).strip()
    digits = colour.lstrip("#")
    assert len(digits) == 6, f"{token} is {colour!r}"
    shares = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: Page, one: str, other: str) -> float:
    """The contrast of two colours of the stylesheet, from 1 to 21."""
    high, low = sorted((luminance(page, one), luminance(page, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("pairs", "least"), [(WORDS, 4.5), (EDGES, 3.0)], ids=["words", "edges"])
def test_contrasts_are_enough(page: Page, pairs: list[tuple[str, str]], least: float) -> None:
    """Every pair of colours that meet on a page differs as much as WCAG asks for."""
    poor = {f"{one} on {other}": round(contrast(page, one, other), 2) for one, other in pairs}
    assert {pair: figure for pair, figure in poor.items() if figure < least} == {}
