"""A task's page when things do not go straight: handed back, stopped, given back, returned as it was, wished for."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import update

from ghibli_flask.database import transaction
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.wish import Wish
from ghibli_flask.services import payers, progress, repair
from ghibli_flask.services import runs as running
from ghibli_flask.task_states import Outcome
from tests.browser.conftest import order, order_from_words
from tests.browser.photos import ANIMAL, LANDSCAPE
from tests.support import runs

LetGo = Callable[[], None]
OpenBrowser = Callable[..., BrowserContext]
SCREENS = [(360, True), (1280, True), (360, False), (1280, False)]
BEYOND_THE_PROMISE = "25:00"


@pytest.fixture(autouse=True)
def _nobody_paints(held_painter: LetGo) -> None:
    """The worker is held: what happens to a task here is done by the test."""


def change(backstage: Flask, task_id: str, **values: object) -> None:
    """Write into a task's row."""
    with backstage.app_context():
        mine = update(ImageTask).where(ImageTask.public_id == task_id)
        transaction(lambda session: session.execute(mine.values(**values)))


def end_wish(backstage: Flask, task_id: str, outcome: str, kept_as: str | None = None) -> None:
    """Write what the sweep writes when a wish has come to its end."""
    with backstage.app_context():
        task = progress.look_up(task_id).id
        new = progress.look_up(kept_as).id if kept_as else None
        mine = update(Wish).where(Wish.task_id == task)
        ended = mine.values(done_at=datetime.now(UTC), outcome=outcome, kept_as=new)
        transaction(lambda session: session.execute(ended))


@pytest.mark.parametrize(("width", "script"), SCREENS)
def test_a_photo_that_came_back_can_be_wished_for_later(
    context_factory: OpenBrowser, backstage: Flask, width: int, script: bool
) -> None:
    """The original is labelled as not transformed and free; the wish is told in each of its states, then repeated."""
    page = context_factory(viewport={"width": width, "height": 740}, java_script_enabled=script).new_page()
    task_id = order(page, LANDSCAPE)
    runs.paint(backstage, task_id, Outcome.ORIGINAL, "quota")
    if not script:
        page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not painted this time")
    expect(page.locator(".tag--apricot")).to_have_text("Not transformed · free")
    expect(page.locator(".returned")).to_contain_text("Your try came back. Nothing was charged.")
    expect(page.get_by_alt_text("Your photograph, unchanged")).to_be_visible()
    expect(page.get_by_role("button", name="Paint it again")).to_be_visible()

    page.get_by_role("button", name="Paint it when the painter is back").click()
    expect(page.locator(".wish")).to_contain_text("We keep your photo on the desk")
    expect(page.locator(".wish time")).to_have_text(re.compile(r"^\d{1,2}:\d\d"))
    expect(page.get_by_role("button", name="Paint it when the painter is back")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    end_wish(backstage, task_id, "no_credit")
    page.reload()
    expect(page.locator(".wish")).to_contain_text("no picture was left to you")
    end_wish(backstage, task_id, "gone")
    page.reload()
    expect(page.locator(".wish")).to_contain_text("could not be painted any more")
    end_wish(backstage, task_id, "kept", task_id)
    page.reload()
    expect(page.get_by_role("link", name="See the new picture")).to_have_attribute("href", f"/tasks/{task_id}")


def test_words_that_failed_can_be_wished_for_and_repeated(page: Page, backstage: Flask) -> None:
    """A picture from words has no original to return: it fails for free, and its words are kept for later."""
    task_id = order_from_words(page, "a lamp in a window")
    runs.paint(backstage, task_id, Outcome.FAILED, "quota")
    expect(page.locator(".lead")).to_have_text("The painter's time is used up for the moment.")
    expect(page.locator(".returned")).to_contain_text("Your try came back")
    page.get_by_role("button", name="Paint it when the painter is back").click()
    expect(page.locator(".wish")).to_contain_text("Your words stay on the desk")
    page.get_by_role("button", name="Try it again").click()
    page.wait_for_url(lambda address: "/tasks/" in address and task_id not in address)
    expect(page.locator(".own-words")).to_have_text("a lamp in a window")


def test_what_the_painter_refused_is_not_kept_for_later(page: Page, backstage: Flask) -> None:
    """Waiting for the painter's return is offered where the painter was away, not where the picture was refused."""
    task_id = order(page, LANDSCAPE)
    runs.paint(backstage, task_id, Outcome.FAILED, "moderation")
    expect(page.locator(".lead")).to_contain_text("rules do not allow")
    expect(page.get_by_role("button", name="Try it again")).to_be_visible()
    expect(page.get_by_role("button", name="Paint it when the painter is back")).to_have_count(0)


def test_a_photo_that_is_gone_is_not_offered_again(page: Page, backstage: Flask) -> None:
    """When the photograph is no longer kept, the page says so in place of a button that could only refuse."""
    task_id = order(page, LANDSCAPE)
    runs.paint(backstage, task_id, Outcome.FAILED, "engine_unavailable")
    change(backstage, task_id, source_store=None, source_key=None)
    page.reload()
    expect(page.locator("#task")).to_contain_text("The photo is no longer kept")
    expect(page.get_by_role("button", name="Try it again")).to_have_count(0)
    expect(page.get_by_text("Try another look")).to_have_count(0)


def test_every_button_works_without_script(context_factory: OpenBrowser, backstage: Flask) -> None:
    """Forms alone stop a painting, try it again, try another look and delete; a refusal leads back to the picture."""
    page = context_factory(java_script_enabled=False).new_page()
    first = order(page, LANDSCAPE)
    page.get_by_role("button", name="Stop painting").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You stopped this one")
    expect(page.locator(".returned")).to_contain_text("Your try came back")
    assert page.url.endswith(f"/tasks/{first}")

    page.get_by_role("button", name="Try it again").click()
    second = page.url.rsplit("/", 1)[-1]
    assert second != first
    runs.paint(backstage, second, Outcome.FAILED, "engine_unavailable")
    page.reload()
    page.get_by_text("Try another look").click()
    page.get_by_label("Summer night").check()
    page.get_by_role("button", name="Paint it in this look").click()
    third = page.url.rsplit("/", 1)[-1]
    with backstage.app_context():
        assert progress.look_up(third).style == "night"

    stop = page.get_by_role("button", name="Stop painting")
    runs.paint(backstage, third)
    stop.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not possible any more")
    page.get_by_role("link", name="Back to the picture").click()
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete for good").click()
    assert "/tasks/" not in page.url
    answer = page.goto(f"/tasks/{third}")
    assert answer is not None
    assert answer.status == 404


def test_stopping_once_too_often_counts_and_is_told_before_and_after(page: Page, backstage: Flask) -> None:
    """After five paintings stopped half-way in a day the page warns, and the sixth is said not to come back and why."""
    for number in range(6):
        task_id = order_from_words(page, f"picture {number}")
        runs.claim(backstage, task_id)
        if number == 5:
            page.reload()
            expect(page.locator(".stop")).to_contain_text("one more counts as painted")
        page.get_by_role("button", name="Stop painting").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("You stopped this one")
        expect(page.locator(".returned")).to_have_count(0 if number == 5 else 1)
    expect(page.locator("#task")).to_contain_text("so this one counts as painted")


def test_an_interrupted_painting_is_told_while_it_waits_and_when_it_goes_on(page: Page, backstage: Flask) -> None:
    """Handed back to the queue, and taken up again, the page says in words that nothing is lost, without reloading."""
    task_id = order(page, LANDSCAPE)
    expect(page.locator("[data-attempt]")).to_be_hidden()
    run = runs.claim(backstage, task_id)
    with backstage.app_context():
        assert running.hand_back(run)
    expect(page.locator("[data-attempt]")).to_contain_text("waits for the next brush")
    page.reload()
    expect(page.locator("[data-attempt]")).to_contain_text("waits for the next brush")
    runs.claim(backstage, task_id)
    expect(page.locator("[data-attempt]")).to_contain_text("This is a new one")


def test_what_the_sweep_gives_back_is_seen_without_reloading(page: Page, backstage: Flask) -> None:
    """Even a page that stopped asking after four quiet minutes shows, at the promised time, what has come back."""
    page.clock.install()
    task_id = order(page, ANIMAL)
    expect(page.locator(".promise time")).to_have_text(re.compile(r"^\d{1,2}:\d\d"))
    page.evaluate("window.sameDocument = true")
    keep_watching = page.get_by_role("button", name="Keep watching")
    for _ in range(8):
        page.clock.fast_forward("04:01")
        page.wait_for_timeout(300)
        if keep_watching.is_visible():
            break
    expect(keep_watching).to_be_visible()

    change(backstage, task_id, deadline_at=datetime.now(UTC) - timedelta(minutes=5))
    with backstage.app_context():
        repair.sweep()
    page.clock.fast_forward(BEYOND_THE_PROMISE)
    expect(page.get_by_role("heading", level=1)).to_have_text("This one did not work out")
    expect(page.locator(".lead")).to_have_text("It was not done within the promised time.")
    expect(page.locator(".has-changed .returned")).to_contain_text("Your try came back")
    expect(page.locator("#announcer")).to_contain_text("Your try came back")
    assert page.evaluate("window.sameDocument")


def test_a_stranger_is_told_nothing_of_tries(page: Page, backstage: Flask, context_factory: OpenBrowser) -> None:
    """Who only holds the address sees that it did not work out, not what its owner got back, nor the owner's words."""
    task_id = order_from_words(page, "a secret garden")
    stranger = context_factory().new_page()
    stranger.goto(page.url)
    expect(stranger.locator(".promise")).to_have_count(0)
    runs.paint(backstage, task_id, Outcome.FAILED, "quota")
    stranger.reload()
    expect(stranger.get_by_role("heading", level=1)).to_have_text("This one did not work out")
    expect(stranger.locator(".returned")).to_have_count(0)
    assert "secret garden" not in stranger.content()
    assert payers.GUEST not in stranger.content()
