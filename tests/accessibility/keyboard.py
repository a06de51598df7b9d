"""Going through a page with the keyboard alone: each stop is looked at, so that nobody loses the place."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

MOST_STOPS = 80

SHOWS_FOCUS = """() => {
  const focused = document.activeElement;
  const beside = [...(focused.labels ?? []), ...focused.parentElement.querySelectorAll(":scope > *")];
  const bearers = [focused, ...beside, ...beside.flatMap((one) => [...one.querySelectorAll("svg")])];
  const hasOutline = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const isSeen = (one) => getComputedStyle(one).opacity !== "0" && one.getBoundingClientRect().width > 1;
  const outlined = bearers.filter((one) =>
    ["", "::before", "::after"].some((part) => hasOutline(getComputedStyle(one, part || null))) && isSeen(one));
  const isOnScreen = (one) => {
    const box = one.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  };
  return outlined.some(isOnScreen);
}"""
"""Whether an outline of 2 px or more is seen on the focused element or on what stands for it: the label of a control
that is drawn by its label, the brush of the slider."""


def stop(page: Page) -> str:
    """Assert that the focus is on something and can be seen; gives the element's first words of markup."""
    name: str = page.evaluate("document.activeElement.outerHTML.slice(0, 160)")
    assert not name.startswith("<body"), "nothing has the focus"
    assert page.evaluate(SHOWS_FOCUS), f"the focus is not seen on {name}"
    return name


def tab_to(page: Page, target: Locator) -> list[str]:
    """Press Tab until the target has the focus; gives the stops on the way."""
    expect(target).to_have_count(1)
    stops = []
    for _press in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stops.append(stop(page))
        if target.evaluate("element => element === document.activeElement"):
            return stops
    raise AssertionError(f"Tab does not come to {target}; it came to\n" + "\n".join(stops))


def press_on(page: Page, target: Locator, key: str = "Enter") -> None:
    """Tab to something and press a key on it."""
    tab_to(page, target)
    page.keyboard.press(key)
