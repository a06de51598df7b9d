"""Several tokens, several engines: one after the other until somebody paints, and a free end when nobody does."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import requests
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import TASK_FAILURES
from ghibli_flask.services import flags, gpu_tokens
from jobs.breaker import FAILURES_IN_A_ROW, FIRST_REST_S, Breaker
from jobs.paint import paint
from jobs.process import PaintingProcess
from tests.engines.conftest import RunningSpace
from tests.faults.conftest import Visitor, assert_nothing_left, paint_waiting, photo, row, tries_used
from tests.support.standins import openai

Painter = Callable[..., Flask]

GOOD = "hf_good00000000000000000000000000000a"
OTHER = "hf_other0000000000000000000000000000b"
SPENT = "hf_spent0000000000000000000000000000c"
ALSO_SPENT = "hf_spent0000000000000000000000000000d"
REVOKED = "hf_revoked00000000000000000000000000e"
TOKENS = (GOOD, OTHER, SPENT, ALSO_SPENT, REVOKED)


@pytest.fixture
def openai_api() -> Iterator[openai.OpenAIStandIn]:
    """OpenAI's API, which gives a real picture for every order."""
    with openai.OpenAIStandIn() as api:
        api.picture = photo(200)
        yield api


@pytest.fixture
def with_openai(openai_api: openai.OpenAIStandIn) -> dict[str, str]:
    """The settings of an installation with OpenAI behind its Space."""
    return {"openai_api_key": openai.KEY, "openai_base_url": openai_api.api_url}


def with_tokens(*tokens: str) -> dict[str, object]:
    """The settings of an installation with these tokens; the Hub does not answer, so our own count decides."""
    return {
        "hugging_face_tokens": tokens,
        "gradio_token_hosts": ("127.0.0.1",),
        "hf_endpoint": "http://127.0.0.1:1",
    }


def tokens_used(space: RunningSpace) -> list[str]:
    """The tokens that the Space's endpoint has seen so far."""
    used: list[str] = requests.get(f"{space.url}/tokens", timeout=5).json()
    return used


def assert_unseen(caplog: pytest.LogCaptureFixture) -> None:
    """No log line holds a token or a key."""
    assert caplog.text
    assert not any(secret in caplog.text for secret in (*TOKENS, openai.KEY))


def test_quota_on_the_first_token(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    moods: RunningSpace,
    clock: FixedClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A token without quota rests until the time that the message named, and the next one paints the same order."""
    task_id = visitor.order()
    app = painter(moods, "/by_token", **with_tokens(SPENT, GOOD))
    before = len(tokens_used(moods))
    paint_waiting(app)
    told = visitor.poll(task_id)
    assert (told["status"], told["refunded"], told["engine"]) == ("SUCCESS", False, "gradio")
    assert tries_used(web) == [1, 1]
    used = tokens_used(moods)[before:]
    assert used in ([SPENT, GOOD], [GOOD])
    if used[0] == GOOD:  # Which of two full tokens comes first is nobody's business; the second order meets the other.
        visitor.order(1)
        paint_waiting(app)
    with app.app_context():
        resting = next(status for status in gpu_tokens.statuses() if status.mask.endswith("000c"))
    assert resting.state == "resting"
    assert round((resting.cooling_until - clock.now()).total_seconds()) == pytest.approx(3 * 3600 + 21 * 60 + 7, abs=5)
    assert_unseen(caplog)
    assert_nothing_left(web, clock)


def test_quota_on_every_token(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    moods: RunningSpace,
    clock: FixedClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With every token used up the photograph comes back, free and labelled, and the next order asks nobody."""
    app = painter(moods, "/by_token", **with_tokens(SPENT, ALSO_SPENT))
    before = len(tokens_used(moods))
    first = visitor.order(1)
    paint_waiting(app)
    second = visitor.order(2)
    paint_waiting(app)
    assert sorted(tokens_used(moods)[before:]) == [SPENT, ALSO_SPENT], "A resting token is not handed out."
    for task_id in (first, second):
        told = visitor.poll(task_id)
        assert (told["status"], told["code"], told["refunded"]) == ("SUCCESS", "quota", True)
    assert tries_used(web) == [0, 0]
    assert_unseen(caplog)
    assert_nothing_left(web, clock)


def test_the_next_engine_paints_when_the_quota_is_used_up(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    moods: RunningSpace,
    clock: FixedClock,
    openai_api: openai.OpenAIStandIn,
    with_openai: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the last token comes the next engine of ENGINES, and what it paints is paid for."""
    task_id = visitor.order()
    paint_waiting(painter(moods, "/by_token", **with_tokens(SPENT), **with_openai))
    told = visitor.poll(task_id)
    assert (told["status"], told["engine"], told["refunded"]) == ("SUCCESS", "openai", False)
    assert openai_api.orders == 1
    assert tries_used(web) == [1, 1]
    assert_unseen(caplog)
    assert_nothing_left(web, clock)


def test_the_next_engine_paints_when_an_answer_is_no_picture(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    moods: RunningSpace,
    clock: FixedClock,
    openai_api: openai.OpenAIStandIn,
    with_openai: dict[str, str],
) -> None:
    """A web page that calls itself a picture is its engine's failure, and not yet the order's."""
    task_id = visitor.order()
    paint_waiting(painter(moods, "/blank", **with_openai))
    told = visitor.poll(task_id)
    assert (told["status"], told["engine"], told["refunded"]) == ("SUCCESS", "openai", False)
    assert openai_api.orders == 1
    assert_nothing_left(web, clock)


def test_engines_decides_who_is_first(
    visitor: Visitor, painter: Painter, moods: RunningSpace, openai_api: openai.OpenAIStandIn, with_openai: dict
) -> None:
    """ENGINES gives the order: with OpenAI first the Space is not called."""
    task_id = visitor.order()
    before = len(tokens_used(moods))
    paint_waiting(painter(moods, "/by_token", engine_order=("openai", "gradio"), **with_openai))
    assert visitor.poll(task_id)["engine"] == "openai"
    assert len(tokens_used(moods)) == before


def test_a_revoked_token(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    moods: RunningSpace,
    clock: FixedClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A token that is refused is disabled and told to the operator, and the order is painted with another."""
    app = painter(moods, "/by_token", **with_tokens(REVOKED, GOOD))
    orders = [visitor.order(number) for number in range(3)]
    paint_waiting(app)
    assert [visitor.poll(task_id)["status"] for task_id in orders] == ["SUCCESS"] * 3
    with app.app_context():
        states = {status.mask[-4:]: status.state for status in gpu_tokens.statuses()}
    assert states["000e"] == "disabled"
    assert any(record.levelname == "ERROR" and "000e" in record.getMessage() for record in caplog.records)
    assert_unseen(caplog)
    assert_nothing_left(web, clock)


def test_tokens_stay_at_home(visitor: Visitor, painter: Painter, moods: RunningSpace) -> None:
    """A Space whose host is not named in GRADIO_TOKEN_HOSTS never sees a token."""
    visitor.order()
    before = len(tokens_used(moods))
    paint_waiting(painter(moods, "/by_token", hugging_face_tokens=(GOOD,)))
    assert tokens_used(moods)[before:] == [""]


def test_an_engine_that_was_switched_off(
    app_factory: Callable[..., Flask], painter: Painter, gallery: RunningSpace, with_openai: dict
) -> None:
    """A flag takes an engine out at run time and brings it back, without a restart."""
    app, visitor = painter(gallery, **with_openai), Visitor(app_factory(**with_openai))
    with app.app_context():
        flags.switch("engine-gradio", "off", by="test")
    first = visitor.order(1)
    paint_waiting(app)
    with app.app_context():
        flags.switch("engine-gradio", None, by="test")
    second = visitor.order(2)
    paint_waiting(app)
    assert [visitor.poll(task_id)["engine"] for task_id in (first, second)] == ["openai", "gradio"]


def test_a_dead_engine_is_left_alone(
    web: Flask, visitor: Visitor, painter: Painter, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After three failures in a row the next order does not wait for the engine at all."""
    orders = [visitor.order(number) for number in range(3)]
    last = Visitor(web).order(4)
    paint_waiting(painter(worker_concurrency=1))
    assert [visitor.poll(task_id)["code"] for task_id in (*orders, last)] == ["engine_unavailable"] * 4
    assert "It failed several times in a row and is left alone for a while." in caplog.text
    assert set(tries_used(web)) == {0}
    assert_nothing_left(web, clock)


def test_an_engine_that_came_back(
    visitor: Visitor,
    app_factory: Callable[..., Flask],
    openai_api: openai.OpenAIStandIn,
    with_openai: dict,
) -> None:
    """When its rest is over an engine is probed with its own key, which spends nothing, and paints the same order."""
    app = app_factory(for_worker=True, engine_order=("openai",), **with_openai)
    process = PaintingProcess(app, "test-worker", slots=1)
    process.open()
    moments = itertools.chain([0.0], itertools.repeat(FIRST_REST_S))
    process.breakers["openai"] = breaker = Breaker("openai", lambda: next(moments))
    try:
        for _ in range(FAILURES_IN_A_ROW):
            breaker.failed()
        assert breaker.is_open
        task_id = visitor.order()
        with app.app_context():
            paint(task_id)
    finally:
        process.close()
    assert visitor.poll(task_id)["engine"] == "openai"
    assert openai_api.orders == 1
    assert not breaker.is_open


def test_an_order_against_the_rules(
    web: Flask,
    painter: Painter,
    clock: FixedClock,
    visitor: Visitor,
    openai_api: openai.OpenAIStandIn,
    with_openai: dict,
) -> None:
    """What an engine's rules forbid is not carried to the next engine; the visitor is told why, and pays nothing."""
    openai_api.next(openai.EDITS, openai.MODERATION)
    task_id = visitor.order()
    paint_waiting(painter(engine_order=("openai", "gradio"), **with_openai))
    told = visitor.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", "moderation", True)
    assert told["error"].startswith(TASK_FAILURES["moderation"])
    assert openai_api.orders == 1
    assert tries_used(web) == [0, 0]
    assert_nothing_left(web, clock)


def test_words_alone_go_to_an_engine_that_paints_them(
    app_factory: Callable[..., Flask],
    clock: FixedClock,
    painter: Painter,
    gallery: RunningSpace,
    openai_api: openai.OpenAIStandIn,
    with_openai: dict,
) -> None:
    """An order of words skips the Space, which cannot do it, and ends as a marked picture of the wished size."""
    web = app_factory(clock=clock, **with_openai)
    visitor = Visitor(web)
    client = web.test_client()
    order = {"prompt": "测试生成", "mode": "text-to-image", "width": 512, "height": 768}
    answer = client.post("/api/generate-image", json=order)
    assert answer.status_code == 202, answer.text
    task_id = answer.json["taskId"]
    paint_waiting(painter(gallery, **with_openai))
    told = visitor.poll(task_id)
    assert (told["status"], told["engine"]) == ("SUCCESS", "openai")
    asked = openai_api.asked(openai.GENERATIONS)[0].json()
    assert asked["prompt"].endswith("测试生成")
    assert row(web, task_id).mode == Mode.TEXT_TO_IMAGE
    assert row(web, task_id).source_key is None


def test_words_alone_are_refused_where_no_engine_paints_them(web: Flask) -> None:
    """Without such an engine the order is refused before anything is charged."""
    answer = web.test_client().post("/api/generate-image", json={"prompt": "a meadow", "mode": "text-to-image"})
    assert (answer.status_code, answer.json["code"]) == (422, "mode_unavailable")
    assert tries_used(web) == []


def test_orders_are_refused_when_no_engine_is_on(web: Flask, visitor: Visitor) -> None:
    """With the only engine switched off an order is refused before anything is charged or stored."""
    with web.app_context():
        flags.switch("engine-gradio", "off", by="test")
    answer = visitor.try_to_order()
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert tries_used(web) == []
