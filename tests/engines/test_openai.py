"""The openai engine against a stand-in for OpenAI's API: both modes, every error, and no second bill."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jobs.engines.base import (
    CONNECTING,
    PAINTING,
    CredentialRejected,
    Deadline,
    DeadlinePassed,
    EngineBroken,
    EngineBusy,
    EngineError,
    News,
    PaintingCancelled,
    QuotaExhausted,
    RequestRejected,
)
from jobs.engines.http import AnswerLost, NotReached
from jobs.engines.openai import OpenAIEngine, size_for
from tests.engines.conftest import AT_ONCE_S, REQUEST, paint
from tests.engines.paid import failure, nothing_is_left  # noqa: F401  # A fixture.
from tests.support.ports import free_port
from tests.support.standins.openai import (
    EDITS,
    GENERATIONS,
    KEY,
    MODEL_GONE,
    MODERATION,
    NO_CREDIT,
    NOT_VERIFIED,
    OVERLOADED,
    RATE_LIMIT,
    SERVER_ERROR,
    TOO_LARGE,
    OpenAIStandIn,
    error,
)
from tests.support.standins.server import Reply, json_reply

WORDS: dict[str, Any] = {"mode": "text-to-image", "image": None, "width": 1024, "height": 768}
REDRAW = (
    "Redraw this photograph as a painting. Keep the composition, the people and everything in it where it is. "
    "Paint it in this style: Ghibli Studio style"
)


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIStandIn]:
    """One stand-in for the module."""
    with OpenAIStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(server: OpenAIStandIn) -> OpenAIStandIn:
    """The stand-in, behaving well."""
    server.reset()
    return server


def engine(stand_in: OpenAIStandIn, model: str = "gpt-image-2", **options: Any) -> OpenAIEngine:
    """An engine that calls the stand-in."""
    return OpenAIEngine(model, stand_in.api_url, **options)


def fails(stand_in: OpenAIStandIn, kind: type[EngineError], **options: Any) -> Any:
    """Paint and give the error; whatever it was, one picture was ordered and no second one."""
    caught = failure(engine(stand_in), kind, credential=KEY, **options)
    assert stand_in.orders == 1
    return caught


def test_a_photograph_is_painted(stand_in: OpenAIStandIn) -> None:
    """An edit is one form with the photograph, the model, the size and the instruction to keep what is in it."""
    news: list[News] = []
    assert paint(engine(stand_in), credential=KEY, news=news, width=1024, height=768) == stand_in.picture
    [heard] = stand_in.heard
    assert (heard.method, heard.path) == ("POST", EDITS)
    fields, files = heard.form()
    assert fields == {"model": "gpt-image-2", "prompt": REDRAW, "size": "1024x768", "output_format": "jpeg"}
    assert list(files) == ["image"]
    assert (files["image"].read(), files["image"].mimetype) == (REQUEST.image, "image/jpeg")
    assert (heard.headers["Authorization"], heard.headers["User-Agent"]) == (f"Bearer {KEY}", "ghibli-flask")
    assert [item.stage for item in news] == [CONNECTING, PAINTING]


def test_a_picture_from_words(stand_in: OpenAIStandIn) -> None:
    """A generation is one JSON object with the prompt as it is."""
    assert paint(engine(stand_in), credential=KEY, **WORDS) == stand_in.picture
    [heard] = stand_in.heard
    assert (heard.method, heard.path) == ("POST", GENERATIONS)
    assert heard.json() == {
        "model": "gpt-image-2",
        "prompt": "Ghibli Studio style",
        "size": "1024x768",
        "output_format": "jpeg",
    }


@pytest.mark.parametrize("model", ["gpt-image-2", "gpt-image-2-2026-04-21", "gpt-image-2.6-flare", "gpt-image-1.5"])
def test_the_model_is_a_setting(stand_in: OpenAIStandIn, model: str) -> None:
    """Every model is asked for a size that it allows, in both modes."""
    assert paint(engine(stand_in, model), credential=KEY) == stand_in.picture
    assert paint(engine(stand_in, model), credential=KEY, **WORDS) == stand_in.picture


def test_sizes_of_newer_models() -> None:
    """Of every shape that an order can have, the size keeps the model's rules and the shape within three per cent."""
    for width in range(352, 1025, 16):
        for height in range(352, 1025, 16):
            across, down = size_for("gpt-image-2", width, height)
            assert across % 16 == down % 16 == 0
            assert max(across, down) <= 3 * min(across, down)
            assert across * down >= 655_360
            assert abs(across / down * height / width - 1) < 0.03


@pytest.mark.parametrize(
    ("model", "sides", "size"),
    [
        ("gpt-image-2", (1024, 1024), (1024, 1024)),
        ("gpt-image-2", (1024, 256), (1408, 480)),
        ("gpt-image-2", (256, 1024), (480, 1408)),
        ("gpt-image-1.5", (1024, 896), (1024, 1024)),
        ("gpt-image-1.5", (1024, 768), (1536, 1024)),
        ("gpt-image-1.5", (512, 1024), (1024, 1536)),
    ],
)
def test_sizes(model: str, sides: tuple[int, int], size: tuple[int, int]) -> None:
    """Newer models get the order's own size where they allow it; older ones the nearest of their three."""
    assert size_for(model, *sides) == size


def test_a_mode_without_its_photograph(stand_in: OpenAIStandIn) -> None:
    """An image-to-image order without an image is rejected before anything is sent."""
    failure(engine(stand_in), RequestRejected, credential=KEY, image=None)
    assert not stand_in.heard


@pytest.mark.parametrize("credential", [None, "", "sk-key\r\nX-Injected: yes"])
def test_a_key_that_cannot_be_one(stand_in: OpenAIStandIn, credential: str | None) -> None:
    """A key that does not fit into a header is refused, unsent, and without being repeated in the error."""
    with pytest.raises(CredentialRejected) as caught:
        paint(engine(stand_in), credential=credential)
    assert caught.value.safe_text == "OPENAI_API_KEY is missing, or holds characters that no key has."
    assert not stand_in.heard


def test_a_wrong_key(stand_in: OpenAIStandIn) -> None:
    """A key that OpenAI does not know is rejected, without the part of it that OpenAI repeats."""
    wrong = "sk-wrong-key-of-somebody-else"
    caught = failure(engine(stand_in), CredentialRejected, credential=wrong)
    assert caught.safe_text == "OpenAI answered 401 (invalid_api_key)."


@pytest.mark.parametrize(
    "reply",
    [
        MODERATION,
        error(400, "content_policy_violation", "invalid_request_error", "Not allowed."),
        error(400, None, "image_generation_user_error", "Your request was rejected by the safety system."),
    ],
)
def test_moderation(stand_in: OpenAIStandIn, reply: Reply) -> None:
    """A refusal of the content, in each of its forms, is one for the visitor."""
    stand_in.next(EDITS, reply)
    assert fails(stand_in, RequestRejected).reason == "moderation"


@pytest.mark.parametrize(
    "kind_code",
    [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    ],
)
def test_no_credit(stand_in: OpenAIStandIn, kind_code: str) -> None:
    """Of the two families of 429, the one about money rests the key for an hour."""
    stand_in.next(EDITS, error(429, kind_code, "insufficient_quota", "You exceeded your current quota."))
    assert fails(stand_in, QuotaExhausted).retry_after == 3600.0


def test_no_credit_without_a_code(stand_in: OpenAIStandIn) -> None:
    """The type alone tells that family too, and the older hard limit came as 400."""
    stand_in.next(EDITS, NO_CREDIT)
    fails(stand_in, QuotaExhausted)
    stand_in.reset()
    stand_in.next(EDITS, error(400, "billing_hard_limit_reached", "invalid_request_error", "Limit reached."))
    fails(stand_in, QuotaExhausted)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12.0),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"Retry-After": "Sun, 22 Nov 2026 08:00:00 GMT"}, None),
        ({"Retry-After": "-3"}, None),
    ],
)
@pytest.mark.parametrize("reply", [RATE_LIMIT, SERVER_ERROR, OVERLOADED], ids=["429", "500", "503"])
def test_a_refusal_that_may_be_repeated(
    stand_in: OpenAIStandIn, reply: Reply, headers: dict[str, str], seconds: float | None
) -> None:
    """An explicit 429, 500 or 503 means that nothing was painted: busy, for as long as a header names."""
    stand_in.next(EDITS, Reply(reply.body, reply.status, headers=headers))
    assert fails(stand_in, EngineBusy).retry_after == seconds


def test_a_refusal_that_must_not_be_repeated(stand_in: OpenAIStandIn) -> None:
    """When OpenAI says that trying again is no use, the next engine is asked."""
    stand_in.next(EDITS, Reply(SERVER_ERROR.body, 500, headers={"x-should-retry": "false"}))
    fails(stand_in, EngineBroken)


@pytest.mark.parametrize(
    "reply",
    [NOT_VERIFIED, MODEL_GONE, TOO_LARGE, error(400, "invalid_value", "invalid_request_error", "Invalid size")],
    ids=["403", "404", "413", "400"],
)
def test_what_another_engine_may_do(stand_in: OpenAIStandIn, reply: Reply) -> None:
    """A region, an organisation that is not verified, a model that is gone, a wrong field: the next engine is asked."""
    stand_in.next(EDITS, reply)
    assert json.loads(reply.body)["error"]["message"] in fails(stand_in, EngineBroken).safe_text


@pytest.mark.parametrize("status", [302, 408, 409, 500, 502, 503, 504, 524])
def test_a_gateway_that_answers(stand_in: OpenAIStandIn, status: int) -> None:
    """A page that is not OpenAI's says nothing about the order behind it, so the order is not repeated."""
    page = Reply(b"<html>Bad gateway</html>", status, "text/html", {"Location": "https://example.org/"})
    stand_in.next(EDITS, page)
    fails(stand_in, EngineBroken)


def test_a_gateway_that_lets_nothing_through(stand_in: OpenAIStandIn) -> None:
    """429 means the same whoever says it."""
    stand_in.next(EDITS, Reply(b"Too many requests", 429, "text/plain"))
    fails(stand_in, EngineBusy)


@pytest.mark.parametrize("manner", ["hang_up", "half"])
def test_a_cut_connection(stand_in: OpenAIStandIn, manner: Any) -> None:
    """A lost answer may have been billed: the order is not repeated, and no caller is told to repeat it."""
    stand_in.next(EDITS, stand_in.picture_reply(manner=manner))
    caught = fails(stand_in, AnswerLost)
    assert isinstance(caught, EngineBroken)
    assert "127.0.0.1 did not answer" in caught.safe_text


@pytest.mark.parametrize("manner", ["silence", "drip"])
@pytest.mark.parametrize("mode", [{}, WORDS], ids=["edit", "words"])
def test_no_answer_by_the_deadline(stand_in: OpenAIStandIn, manner: Any, mode: dict[str, Any]) -> None:
    """The call ends at its deadline, hangs up, and does not order again."""
    stand_in.next(GENERATIONS if mode else EDITS, stand_in.picture_reply(manner=manner))
    began_at = time.monotonic()
    fails(stand_in, DeadlinePassed, seconds=0.3, **mode)
    assert time.monotonic() - began_at < AT_ONCE_S
    assert stand_in.client_left.wait(AT_ONCE_S)


def test_cancelled(stand_in: OpenAIStandIn) -> None:
    """A cancel while OpenAI paints is seen within a second, and the connection is closed."""
    stand_in.next(EDITS, Reply(manner="silence"))
    began_at = time.monotonic()
    fails(stand_in, PaintingCancelled, is_cancelled=lambda: stand_in.orders == 1)
    assert time.monotonic() - began_at < AT_ONCE_S
    assert stand_in.client_left.wait(AT_ONCE_S)


def test_cancelled_before(stand_in: OpenAIStandIn) -> None:
    """An order that is cancelled already is never sent."""
    failure(engine(stand_in), PaintingCancelled, credential=KEY, is_cancelled=lambda: True)
    assert not stand_in.heard


def test_what_the_caller_raises_passes_through(stand_in: OpenAIStandIn) -> None:
    """An exception of `is_cancelled` ends the call as it is, and the connection with it."""
    stand_in.next(EDITS, Reply(manner="silence"))

    def is_cancelled() -> bool:
        return bool(stand_in.orders and 1 / 0)

    with pytest.raises(ZeroDivisionError):
        paint(engine(stand_in), credential=KEY, is_cancelled=is_cancelled)
    assert stand_in.client_left.wait(AT_ONCE_S)


@pytest.mark.parametrize("size", [75_001, 200_000])
def test_a_picture_that_is_too_large(stand_in: OpenAIStandIn, size: int) -> None:
    """More bytes than allowed are refused, decoded or not."""
    stand_in.picture = b"x" * size
    caught = failure(engine(stand_in, max_result_bytes=75_000), EngineBroken, credential=KEY)
    assert "larger than" in caught.safe_text


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>hello</html>", kind="text/html"),
        json_reply({"data": []}),
        json_reply({"data": [{"url": "https://example.org/a.jpg"}]}),
        json_reply({"data": [{"b64_json": "not base64"}]}),
        json_reply({"data": [{"b64_json": "Æ"}]}),
        json_reply([]),
        Reply(b"packed", headers={"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_without_a_picture(stand_in: OpenAIStandIn, reply: Reply) -> None:
    """Whatever else comes with status 200 is an engine that is broken; no other address is visited."""
    stand_in.next(EDITS, reply)
    fails(stand_in, EngineBroken)


def test_nobody_there(stand_in: OpenAIStandIn) -> None:
    """When OpenAI cannot be reached nothing was sent: one more try is allowed."""
    away = OpenAIEngine("gpt-image-2", f"http://127.0.0.1:{free_port()}/v1")
    assert failure(away, NotReached, credential=KEY).retries == 1


def test_many_at_once(stand_in: OpenAIStandIn) -> None:
    """One engine serves many orders at the same time, each with its own answer and its own key."""
    painter = engine(stand_in)
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(lambda width: paint(painter, credential=KEY, width=width), range(512, 1024, 16)))
    assert pictures == [stand_in.picture] * 32
    assert stand_in.orders == 32


def test_the_check(stand_in: OpenAIStandIn) -> None:
    """Asking whether the engine would answer looks the model up with the key, and orders nothing."""
    said = engine(stand_in).check(credential=KEY, deadline=Deadline(5))
    assert said == f"{stand_in.api_url} knows the key and the model gpt-image-2"
    with pytest.raises(EngineBroken, match="does not exist"):
        engine(stand_in, "gpt-image-1").check(credential=KEY, deadline=Deadline(5))
    with pytest.raises(CredentialRejected):
        engine(stand_in).check(credential="sk-wrong", deadline=Deadline(5))
    assert stand_in.orders == 0
