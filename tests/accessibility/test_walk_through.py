"""docs/accessibility.md tells the main road as a screen reader meets it: here it is walked, and each block compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ghibli_flask.services import progress
from ghibli_flask.services import runs as running
from ghibli_flask.task_states import Outcome, Stage
from tests.accessibility.conftest import Open
from tests.accessibility.open_site import OpenSite, photograph
from tests.accessibility.test_keyboard import PATIENCE_MS, TELL_WHAT_IS_SAID
from tests.support import runs
from tests.support.checkout import ROOT

ROAD = (ROOT / "docs/accessibility.md").read_text(encoding="utf-8").split("\n## ")[1]
STEPS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", ROAD, re.MULTILINE | re.DOTALL))
"""What the document tells of each step, by its heading."""


def blocks(step: str, kind: str) -> list[str]:
    """The fenced blocks of this kind under a heading of the document."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", STEPS[step], re.MULTILINE | re.DOTALL)


class Walker:
    """A visitor on the main road; after each step the page is compared with what the document says of it."""

    def __init__(self, context: BrowserContext, site: OpenSite, photo: Path) -> None:
        context.add_init_script(TELL_WHAT_IS_SAID)
        context.set_default_timeout(PATIENCE_MS)
        self.page: Page = context.new_page()
        self.site, self.photo = site, photo
        self.heard = 0

    def open_first_page(self) -> None:
        self.page.goto("/")

    def choose(self) -> None:
        self.page.locator("#image").set_input_files(self.photo)

    def order(self) -> None:
        self.page.get_by_role("button", name="Paint my photo").click()
        self.page.wait_for_url("**/tasks/*")
        self.heard = 0
        self.task_id = self.page.url.rsplit("/", 1)[-1]

    def have_it_painted(self) -> None:
        run = runs.claim(self.site.app, self.task_id)
        for stage, percent in ((Stage.CONNECTING, 5), (Stage.PAINTING, 40), (Stage.PAINTING, 70), (Stage.SAVING, 95)):
            with self.site.app.app_context():
                assert running.beat(run, percent, stage, "gradio")
                progress.publish(progress.look_up(self.task_id))
            expect(self.page.locator("#bar")).to_have_js_property("value", percent)
        assert runs.settle(self.site.app, run, Outcome.PAINTED)
        expect(self.page.locator("#task.task--success")).to_be_visible()

    def look_closer(self) -> None:
        self.page.get_by_role("link", name="Look closer").click()

    def share(self) -> None:
        self.page.keyboard.press("Escape")
        self.page.get_by_role("button", name="Make a link").click()
        expect(self.page.locator("#share-link")).to_be_focused()

    def see_pictures(self) -> None:
        self.page.goto("/pictures")
        self.heard = 0

    def ask_to_delete(self) -> None:
        self.page.goto(f"/tasks/{self.task_id}")
        self.page.locator("summary", has_text="Delete").click()

    def said(self) -> list[str]:
        """What was said since this was last asked; a sentence that is written once more unchanged is not said again."""
        everything: list[str] = self.page.evaluate("window.said")
        news, self.heard = everything[self.heard :], len(everything)
        return [sentence for sentence, _same in groupby(news)]


ROAD_WALKED: dict[str, Callable[[Walker], None]] = {
    "The first page": Walker.open_first_page,
    "A photo on the easel": Walker.choose,
    "Waiting": Walker.order,
    "The picture": Walker.have_it_painted,
    "Up close": Walker.look_closer,
    "A link to it": Walker.share,
    "My pictures": Walker.see_pictures,
    "Deleting it": Walker.ask_to_delete,
}
SAID_BY = {"Waiting": "The picture"}
"""After which step the sentences under a heading have all been said, where that is not the step of the heading."""


@pytest.fixture
def walker(browser_of: Open, open_site: OpenSite, tmp_path: Path) -> Walker:
    """Somebody new, with a photograph."""
    (tmp_path / "lake.jpg").write_bytes(photograph())
    return Walker(browser_of(), open_site, tmp_path / "lake.jpg")


def test_the_document_tells_the_road_as_it_is(walker: Walker) -> None:
    """Every landmark, heading, control and spoken sentence of the document is on the page at its step, in its order."""
    assert list(STEPS) == list(ROAD_WALKED), "the document and the walk have the same steps"
    expected = {SAID_BY.get(step, step): blocks(step, "said") for step in STEPS if blocks(step, "said")}
    for step, walk in ROAD_WALKED.items():
        walk(walker)
        trees = blocks(step, "yaml")
        assert trees, f"{step} shows nothing of the tree"
        for tree in trees:
            expect(walker.page.locator("body")).to_match_aria_snapshot(tree)
        assert walker.said() == "".join(expected.get(step, [])).splitlines(), step
