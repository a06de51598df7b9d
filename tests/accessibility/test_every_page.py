"""Every page in every state, both languages and both themes: judged by axe-core, and measured."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.accessibility.conftest import LANGUAGES, Open
from tests.accessibility.open_site import OpenSite
from tests.accessibility.places import NO_PAGES, PLACES
from tests.accessibility.walk import Finding, axe_source, judge, walk

pytestmark = pytest.mark.timeout(600)
"""A walk counts for the first test that asks for it, and a busy machine takes its time."""

LABEL_ON_A_PICTURE = re.compile(r": color-contrast: .*(\.tag|\.style__name)")

SPOIL = """() => {
  const add = (name, properties) => document.querySelector("main").append(
    Object.assign(document.createElement(name), properties));
  add("img", { src: "data:," });
  add("button", { textContent: "x", style: "inline-size: 9px; block-size: 9px; padding: 0; border: 0" });
  add("p", { textContent: "Hardly to be read", style: "color: #999; background: #aaa" });
  add("div", { style: "inline-size: 5000px; block-size: 9px" });
  add("p", { textContent: "Restless", style: "transition: opacity 3s !important" });
}"""
"""Puts one fault of each kind on a page."""


@pytest.fixture(scope="module", params=LANGUAGES)
def findings(request: pytest.FixtureRequest, open_site: OpenSite, browser_of: Open) -> list[Finding]:
    """What a walk through every place in one language found."""
    return walk(open_site, browser_of, request.param)


def told(findings: list[Finding], kind: str) -> str:
    """A line for each problem of this kind."""
    return "\n".join(f"{one.place.name}: {line}" for one in findings for line in getattr(one, kind))


def test_a_spoiled_page_is_found_out(browser_of: Open) -> None:
    """Axe-core and the rulers do find what is wrong, each kind of fault that they look for."""
    context = browser_of(bypass_csp=True)
    context.add_init_script(axe_source())
    page = context.new_page()
    page.goto("/help")
    page.evaluate(SPOIL)
    finding = Finding(PLACES[0])
    judge(page, finding)
    rules = {line.split(": ")[1] for line in finding.axe}
    assert {"image-alt", "color-contrast"} <= rules
    assert any("9 x 9" in line for line in finding.small)
    assert any("Restless" in line or "opacity 3s" in line for line in finding.moving)
    assert len(finding.sideways) == 2


def test_every_page_of_the_application_is_visited(open_site: OpenSite) -> None:
    """Each route that answers a GET with a page is in the list of places, and nothing is excused that is not there."""
    routes = {rule.endpoint: rule for rule in open_site.app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    is_page = {name for name, rule in routes.items() if not rule.rule.startswith("/api/") or name == "visitor.api_docs"}
    matcher = open_site.app.url_map.bind("127.0.0.1")
    visited = {matcher.match(urlsplit(place.address(open_site)).path, "GET")[0] for place in PLACES}
    assert is_page - visited - set(NO_PAGES) == set(), "add these to tests/accessibility/places.py"
    assert set(NO_PAGES) - set(routes) == set()


def test_every_place_is_what_it_says(findings: list[Finding]) -> None:
    """Each page answers with its status and in the visitor's language, so that nothing else was judged by mistake."""
    language = findings[0].language
    assert language in LANGUAGES
    for found in findings:
        assert (found.status, found.language) == (found.place.status, language), found.place.name


def test_axe_finds_nothing(findings: list[Finding]) -> None:
    """axe-core finds no violation anywhere, in light on a desktop and in dark on a phone."""
    assert not told(findings, "axe")


def test_axe_left_next_to_nothing_unjudged(findings: list[Finding]) -> None:
    """What axe-core could not judge is only the contrast of labels on pictures, whose colours test_colours.py knows."""
    lines = told(findings, "unjudged").splitlines()
    assert not [line for line in lines if not LABEL_ON_A_PICTURE.search(line)]


def test_nothing_scrolls_sideways(findings: list[Finding]) -> None:
    """At 320 px, which is 1280 px at 400 %, and at 1280 px with words at 200 %, no page is wider than its screen."""
    assert not told(findings, "sideways")


def test_targets_are_large_enough(findings: list[Finding]) -> None:
    """Whatever is pressed, links within a sentence apart, measures at least 24 by 24 px on a phone."""
    assert not told(findings, "small")


def test_nothing_moves_for_those_who_want_no_motion(findings: list[Finding]) -> None:
    """With reduced motion no element has an animation, a transition or smooth scrolling left."""
    assert not told(findings, "moving")
