"""What scripts move on their own is left alone for a visitor who wants no motion."""

from __future__ import annotations

import pytest

from tests.accessibility.conftest import Open

PLACES_OF_BRUSH = """async () => {
  const frame = document.querySelector("[data-sways] .compare__pictures");
  frame.scrollIntoView({ block: "center" });
  const seen = new Set();
  const until = performance.now() + 800;
  while (performance.now() < until) {
    seen.add(getComputedStyle(frame).getPropertyValue("--split"));
    await new Promise(requestAnimationFrame);
  }
  return [...seen];
}"""


@pytest.mark.parametrize(("wish", "moves"), [("reduce", False), ("no-preference", True)])
def test_the_brush_shows_itself_only_to_those_who_do_not_mind(browser_of: Open, wish: str, moves: bool) -> None:
    """The brush of the first page sways once by itself, and with reduced motion it stays where it is."""
    page = browser_of(reduced_motion=wish).new_page()
    page.goto("/")
    assert (len(page.evaluate(PLACES_OF_BRUSH)) > 1) is moves
