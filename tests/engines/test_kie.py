"""The kie engine against a stand-in for KIE AI: both modes, every model, every code, and what goes wrong on the way."""

import json
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.engines import http, kie
from jobs.engines.base import (
    CONNECTING,
    DOWNLOADING,
    PAINTING,
    WAITING_FOR_GPU,
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
from jobs.engines.http import NotReached
from jobs.engines.kie import KieEngine
from jobs.engines.kie_answers import InputNotFetched
from jobs.engines.kie_models import MODELS
from tests.engines.conftest import AT_ONCE_S, REQUEST, listening_stranger, paint
from tests.engines.paid import failure, nothing_is_left  # noqa: F401  # A fixture.
from tests.support.ports import free_port
from tests.support.standins.kie import (
    CREATE,
    CREATE_4O,
    CREATE_FLUX,
    CREDITS,
    KEY,
    MESSAGES,
    PICTURE,
    RECORD,
    RECORD_4O,
    RECORD_FLUX,
    UPLOAD,
    KieStandIn,
    code,
    legacy_record,
    market_record,
)
from tests.support.standins.server import Reply, json_reply

WORDS: dict[str, Any] = {"mode": "text-to-image", "image": None, "width": 1024, "height": 768}
REDRAW = (
    "Redraw this photograph as a painting. Keep the composition, the people and everything in it where it is. "
    "Paint it in this style: Ghibli Studio style"
)
POLICY = "Your content was flagged by OpenAI as violating content policies"


@pytest.fixture(scope="module")
def server() -> Iterator[KieStandIn]:
    """One stand-in for the module."""
    with KieStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(server: KieStandIn) -> KieStandIn:
    """The stand-in, behaving well."""
    server.reset()
    return server


def engine(stand_in: KieStandIn, model: str = "google/nano-banana-edit", **options: Any) -> KieEngine:
    """An engine that looks at its tasks a hundred times a second."""
    options = {"polling_plan": ((math.inf, 0.01),), **options}
    return KieEngine(model, stand_in.url, stand_in.url, **options)


def fails(stand_in: KieStandIn, kind: type[EngineError], **options: Any) -> Any:
    """Paint and give the error."""
    return failure(engine(stand_in), kind, credential=KEY, **options)


def test_a_photograph_is_painted(stand_in: KieStandIn) -> None:
    """The photograph is uploaded as a form, the task names its address there, and the picture's bytes come back."""
    news: list[News] = []
    stand_in.next(RECORD, market_record("waiting"), market_record("queuing"), market_record("generating"))
    assert paint(engine(stand_in), credential=KEY, news=news) == stand_in.picture
    [upload], [create] = stand_in.asked(UPLOAD), stand_in.asked(CREATE)
    fields, files = upload.form()
    assert fields == {"uploadPath": "photographs"}
    assert list(files) == ["file"]
    assert (files["file"].read(), files["file"].mimetype) == (REQUEST.image, "image/jpeg")
    name = files["file"].filename
    assert create.headers["Content-Type"] == "application/json"
    assert create.json() == {
        "model": "google/nano-banana-edit",
        "input": {
            "prompt": REDRAW,
            "image_urls": [f"{stand_in.url}/up/{name}"],
            "image_size": "auto",
            "output_format": "jpeg",
        },
    }
    assert [look.query for look in stand_in.asked(RECORD)] == [{"taskId": "task-1"}] * 4
    assert [item.stage for item in news] == [CONNECTING, WAITING_FOR_GPU, PAINTING, DOWNLOADING]


def test_a_picture_from_words(stand_in: KieStandIn) -> None:
    """Without a photograph nothing is uploaded, and the same setting names the model's sibling for words."""
    assert paint(engine(stand_in), credential=KEY, **WORDS) == stand_in.picture
    assert not stand_in.asked(UPLOAD)
    assert stand_in.asked(CREATE)[0].json() == {
        "model": "google/nano-banana",
        "input": {"prompt": "Ghibli Studio style", "image_size": "4:3", "output_format": "jpeg"},
    }


def test_who_asks(stand_in: KieStandIn) -> None:
    """Every request tells our name and asks for unpacked bytes; the key goes to the API and not with the download."""
    paint(engine(stand_in), credential=KEY)
    for heard in stand_in.heard:
        assert heard.headers["User-Agent"] == "ghibli-flask"
        assert heard.headers["Accept-Encoding"] == "identity"
        assert heard.headers["Authorization"] == (None if heard.path == PICTURE else f"Bearer {KEY}")


def test_uploads_never_overwrite_each_other(stand_in: KieStandIn) -> None:
    """Two photographs have two names at KIE, where a file of the same name would take the other's place."""
    for _ in range(2):
        paint(engine(stand_in), credential=KEY)
    first, second = (heard.form()[1]["file"].filename for heard in stand_in.asked(UPLOAD))
    assert first != second
    assert len(first) == len("0" * 32 + ".jpg")


@pytest.mark.parametrize(
    ("model", "edit", "words"),
    [
        ("google/nano-banana", ("google/nano-banana-edit", "image_urls", {"image_size": "auto"}), "google/nano-banana"),
        ("nano-banana-pro", ("nano-banana-pro", "image_input", {"aspect_ratio": "auto"}), "nano-banana-pro"),
        ("nano-banana-2", ("nano-banana-2", "image_input", {"aspect_ratio": "auto"}), "nano-banana-2"),
        (
            "gpt-image-2-text-to-image",
            ("gpt-image-2-image-to-image", "input_urls", {"aspect_ratio": "auto"}),
            "gpt-image-2-text-to-image",
        ),
    ],
)
def test_models_of_the_market(
    stand_in: KieStandIn, model: str, edit: tuple[str, str, dict[str, str]], words: str
) -> None:
    """Each model gets its photograph and its shape under its own names, and no field that it does not know."""
    name, image_field, shape = edit
    paint(engine(stand_in, model), credential=KEY)
    paint(engine(stand_in, model), credential=KEY, **WORDS)
    edited, written = (heard.json() for heard in stand_in.asked(CREATE))
    assert edited["model"] == name
    assert len(edited["input"][image_field]) == 1
    assert shape.items() <= edited["input"].items()
    assert written["model"] == words
    assert image_field not in written["input"]
    assert "4:3" in written["input"].values()


def test_the_4o_family(stand_in: KieStandIn) -> None:
    """KIE_MODEL=gpt4o-image speaks the older interface: flat fields, one of three sizes, progress as text."""
    news: list[News] = []
    stand_in.next(RECORD_4O, legacy_record(0, progress="0.00"), legacy_record(0, progress="0.45"))
    painter = engine(stand_in, "gpt4o-image", polling_plan=((math.inf, 0.26),))
    assert paint(painter, credential=KEY, news=news, width=256, height=320) == stand_in.picture
    body = stand_in.asked(CREATE_4O)[0].json()
    assert set(body) == {"prompt", "filesUrl", "size"}
    assert (len(body["filesUrl"]), body["size"]) == (1, "2:3")
    assert [item.fraction for item in news if item.stage == PAINTING] == [0.0, 0.45]


def test_the_flux_kontext_family(stand_in: KieStandIn) -> None:
    """KIE_MODEL=flux-kontext-pro keeps the photograph's shape by naming none, and names one for words."""
    paint(engine(stand_in, "flux-kontext-pro"), credential=KEY)
    paint(engine(stand_in, "flux-kontext-max"), credential=KEY, **WORDS)
    edit, words = (heard.json() for heard in stand_in.asked(CREATE_FLUX))
    common = {"outputFormat": "jpeg", "enableTranslation": True}
    assert edit == {"model": "flux-kontext-pro", "prompt": REDRAW, "inputImage": edit["inputImage"], **common}
    assert edit["inputImage"].startswith(stand_in.url)
    assert words == {"model": "flux-kontext-max", "prompt": "Ghibli Studio style", "aspectRatio": "4:3", **common}
    assert len(stand_in.asked(RECORD_FLUX)) == 2


@pytest.mark.parametrize("model", MODELS)
def test_every_model_serves_both_modes(stand_in: KieStandIn, model: str) -> None:
    """Whatever KIE_MODEL names, a photograph and words alone both give a picture."""
    assert paint(engine(stand_in, model), credential=KEY) == stand_in.picture
    assert paint(engine(stand_in, model), credential=KEY, **WORDS) == stand_in.picture


def test_an_unknown_model(stand_in: KieStandIn) -> None:
    """A KIE_MODEL that is not in the table is named in the log, with those that are, before anything is sent."""
    error = failure(engine(stand_in, "nano-banana-edit"), EngineBroken, credential=KEY)
    assert "KIE_MODEL 'nano-banana-edit' is unknown" in error.safe_text
    assert "google/nano-banana-edit" in error.safe_text
    assert not stand_in.heard


def test_a_mode_without_its_photograph(stand_in: KieStandIn) -> None:
    """An image-to-image order without an image is rejected before anything is sent."""
    fails(stand_in, RequestRejected, image=None)
    assert not stand_in.heard


@pytest.mark.parametrize("credential", ["", "kie key", "kie-ключ", "kie-key\nX-Injected: yes"])
def test_a_key_that_cannot_be_one(stand_in: KieStandIn, credential: str) -> None:
    """A key that does not fit into a header is refused, unsent, and without being repeated in the error."""
    with pytest.raises(CredentialRejected) as caught:
        paint(engine(stand_in), credential=credential)
    assert caught.value.safe_text == "KIE_AI_API_KEY is missing, or holds characters that no key has."
    assert not stand_in.heard


CODES: dict[int, tuple[type[EngineError], float | None]] = {
    400: (EngineBroken, None),
    401: (CredentialRejected, None),
    402: (QuotaExhausted, 3600.0),
    404: (EngineBroken, None),
    408: (EngineBusy, None),
    422: (EngineBroken, None),
    429: (EngineBusy, 10.0),
    433: (QuotaExhausted, 3600.0),
    451: (InputNotFetched, None),
    455: (EngineBroken, None),
    500: (EngineBroken, None),
    501: (EngineBroken, None),
    505: (EngineBroken, None),
    550: (EngineBusy, None),
}


def test_every_documented_code_is_tested() -> None:
    """The table of this test and the stand-in's are the same codes."""
    assert CODES.keys() == MESSAGES.keys()


@pytest.mark.parametrize("number", CODES)
def test_codes_when_ordering(stand_in: KieStandIn, number: int) -> None:
    """Each code in answer to an order asks for the right thing; its text is in the error, a key in it is not."""
    kind, retry_after = CODES[number]
    stand_in.next(CREATE, *[code(number, f"{MESSAGES[number]} {KEY}")] * 2)
    error = fails(stand_in, kind)
    assert MESSAGES[number] in error.safe_text
    assert getattr(error, "retry_after", None) == retry_after
    assert stand_in.tasks == 0
    assert len(stand_in.asked(CREATE)) == (2 if number == 451 else 1)


@pytest.mark.parametrize("number", [number for number in CODES if number not in {401, 451}])
def test_codes_of_a_failed_task(stand_in: KieStandIn, number: int) -> None:
    """Each code as the end of a task asks for the same, and no second task is made by the engine."""
    stand_in.next(RECORD, market_record("fail", failCode=str(number), failMsg=MESSAGES[number]))
    error = fails(stand_in, CODES[number][0])
    assert MESSAGES[number] in error.safe_text
    assert stand_in.tasks == 1


def test_a_failed_task_says_nothing_of_the_key(stand_in: KieStandIn) -> None:
    """A 401 that the model's maker gave KIE does not disable a key that was good enough to order."""
    stand_in.next(RECORD, market_record("fail", failCode="401", failMsg="upstream auth"))
    fails(stand_in, EngineBroken)


def test_a_wrong_key(stand_in: KieStandIn) -> None:
    """A key that KIE does not know is rejected at the upload, and nothing is ordered."""
    failure(engine(stand_in), CredentialRejected, credential="kie-another-key-altogether")
    assert not stand_in.asked(CREATE)


@pytest.mark.parametrize("number", [400, 422, 500, 501])
@pytest.mark.parametrize("text", [POLICY, "PROHIBITED_CONTENT", "The input may contain sensitive information"])
def test_moderation(stand_in: KieStandIn, number: int, text: str) -> None:
    """A refusal of the content is one for the visitor, whether it comes at once or ends a task."""
    stand_in.next(CREATE, code(number, text))
    assert fails(stand_in, RequestRejected).reason == "moderation"
    stand_in.next(RECORD, market_record("fail", failCode=number, failMsg=text))
    assert fails(stand_in, RequestRejected).reason == "moderation"


@pytest.mark.parametrize("flag", [2, 3])
def test_failures_of_the_older_families(stand_in: KieStandIn, flag: int) -> None:
    """Every flag from 2 on is a failure, with its code under the older name."""
    stand_in.next(RECORD_4O, legacy_record(flag, errorCode=400, errorMessage=POLICY))
    assert failure(engine(stand_in, "gpt4o-image"), RequestRejected, credential=KEY).reason == "moderation"
    stand_in.next(RECORD_FLUX, legacy_record(flag, errorCode=501, errorMessage="no"))
    failure(engine(stand_in, "flux-kontext-pro"), EngineBroken, credential=KEY)


def test_a_photograph_that_kie_cannot_fetch(stand_in: KieStandIn) -> None:
    """Code 451 uploads the photograph again, once, whether it came at once or ended the task."""
    stand_in.next(CREATE, code(451))
    assert paint(engine(stand_in), credential=KEY) == stand_in.picture
    stand_in.next(RECORD, market_record("fail", failCode="451", failMsg=MESSAGES[451]))
    assert paint(engine(stand_in), credential=KEY) == stand_in.picture
    assert (len(stand_in.asked(UPLOAD)), len(stand_in.asked(CREATE))) == (4, 4)


def test_an_error_that_names_a_task(stand_in: KieStandIn) -> None:
    """A 500 with a task's id is followed by its record instead of a second, billed task."""
    stand_in.next(CREATE, json_reply({"code": 500, "msg": "Server exception", "data": {"taskId": "task-9"}}))
    assert paint(engine(stand_in), credential=KEY) == stand_in.picture
    assert [look.query for look in stand_in.asked(RECORD)] == [{"taskId": "task-9"}]
    assert len(stand_in.asked(CREATE)) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(manner="hang_up"),
        Reply(b'{"code":200}', manner="half"),
        Reply(b"<html>502 Bad Gateway</html>", 502, "text/html"),
        Reply(b"<html>504 Gateway Timeout</html>", 504, "text/html"),
        json_reply({"code": 200, "msg": "success", "data": None}),
        Reply(b"not json"),
    ],
    ids=["cut before", "cut within", "502", "504", "no task", "no JSON"],
)
def test_an_order_with_an_unclear_end(stand_in: KieStandIn, reply: Reply) -> None:
    """When it is unclear whether a task was made, none is made again, and no caller is told to try again."""
    stand_in.next(CREATE, reply)
    with pytest.raises(EngineBroken):
        paint(engine(stand_in), credential=KEY)
    assert len(stand_in.asked(CREATE)) == 1


def test_an_upload_that_is_cut(stand_in: KieStandIn) -> None:
    """Before anything was ordered, a lost answer may be asked for again: the caller is told that the engine is busy."""
    stand_in.next(UPLOAD, Reply(manner="hang_up"))
    assert fails(stand_in, EngineBusy).retries == 1
    assert not stand_in.asked(CREATE)


@pytest.mark.parametrize(
    "reply",
    [
        json_reply({"success": False, "code": 500, "msg": "no"}),
        json_reply({"success": False, "code": 200, "msg": "no"}),
        json_reply({"success": True, "code": 200, "data": {}}),
    ],
)
def test_an_upload_that_is_refused(stand_in: KieStandIn, reply: Reply) -> None:
    """HTTP 200 is no success of an upload, and without an address nothing is ordered."""
    stand_in.next(UPLOAD, reply)
    fails(stand_in, EngineBroken)
    assert not stand_in.asked(CREATE)


def test_an_upload_address_under_its_older_name(stand_in: KieStandIn) -> None:
    """The quick start's `fileUrl` is read where `downloadUrl` is missing."""
    stand_in.next(UPLOAD, json_reply({"success": True, "code": 200, "data": {"fileUrl": "https://kie.example/1.jpg"}}))
    paint(engine(stand_in), credential=KEY)
    assert stand_in.asked(CREATE)[0].json()["input"]["image_urls"] == ["https://kie.example/1.jpg"]


def test_a_name_that_cloudflare_refuses(stand_in: KieStandIn) -> None:
    """403 with `error code: 1010` is no word on the key: the engine is broken, the key stays."""
    stand_in.next(UPLOAD, Reply(b"error code: 1010", 403, "text/plain"))
    assert "error code: 1010" in fails(stand_in, EngineBroken).safe_text


def test_records_that_cannot_be_read(stand_in: KieStandIn) -> None:
    """Up to four looks in a row may fail in any way without the picture being lost."""
    page = Reply(b"<html>", 502, "text/html")
    stand_in.next(RECORD, code(500), page, Reply(manner="hang_up"), code(429), market_record("generating"))
    stand_in.next(RECORD, code(455), code(404), Reply(manner="half", body=b"{}"))
    assert paint(engine(stand_in), credential=KEY) == stand_in.picture
    assert stand_in.tasks == 1


def test_asking_too_often(stand_in: KieStandIn) -> None:
    """Being told to ask less often, however many times, costs no picture."""
    stand_in.next(RECORD, *[code(429)] * 20)
    assert paint(engine(stand_in), credential=KEY) == stand_in.picture


def test_a_task_that_is_lost_from_sight(stand_in: KieStandIn) -> None:
    """After five failed looks the task counts as lost; it may have been billed, so nobody is told to try again."""
    stand_in.next(RECORD, *[code(500)] * 5)
    error = fails(stand_in, EngineBroken)
    assert "task-1 was lost from sight" in error.safe_text
    assert stand_in.tasks == 1


def test_a_key_that_is_revoked_meanwhile(stand_in: KieStandIn) -> None:
    """401 while waiting disables the key at once."""
    stand_in.next(RECORD, code(401))
    fails(stand_in, CredentialRejected)


@pytest.mark.parametrize(
    "result",
    [
        {"resultJson": '{"result_urls": ["URL"]}'},
        {"resultJson": "", "response": {"result_urls": ["URL"]}},
        {"resultJson": "{", "response": '{"resultUrls": ["URL"]}'},
    ],
)
def test_where_the_address_of_the_picture_stands(stand_in: KieStandIn, result: dict[str, Any]) -> None:
    """The picture is found under each of its documented names, in an object or in the text of one."""
    filled = json.loads(json.dumps(result).replace("URL", stand_in.picture_url))
    stand_in.next(RECORD, market_record("success", **filled))
    assert paint(engine(stand_in), credential=KEY) == stand_in.picture


@pytest.mark.parametrize("result", ["", "null", "[]", '{"resultUrls": []}', '{"resultUrls": [7]}', "[" * 100_000])
def test_a_success_without_a_picture(stand_in: KieStandIn, result: str) -> None:
    """A task that succeeded with nothing to show is an engine that is broken."""
    stand_in.next(RECORD, market_record("success", resultJson=result))
    assert "without a picture" in fails(stand_in, EngineBroken).safe_text


def result_at(url: str) -> Reply:
    """The record of a task whose picture is at this address."""
    return market_record("success", resultJson=json.dumps({"resultUrls": [url]}))


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/a.jpg",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/a.jpg",
        "https://[::ffff:10.0.0.1]/a.jpg",
        "http://example.org/a.jpg",
        "https://user:password@example.org/a.jpg",
        "file:///etc/passwd",
        "ftp://example.org/a.jpg",
        "https://example.org@127.0.0.1/a.jpg",
        r"https://127.0.0.1\@example.org/a.jpg",
        "https://[/a.jpg",
        "https://example.org:port/a.jpg",
        "https://",
        "no address",
    ],
)
def test_a_picture_at_a_bad_address(stand_in: KieStandIn, url: str) -> None:
    """An address that is not plain https on the public network is not visited, at once or by a redirect."""
    stand_in.next(RECORD, result_at(url))
    fails(stand_in, EngineBroken)
    if "://" in url:
        stand_in.next(PICTURE, Reply(status=302, headers={"Location": url}))
        fails(stand_in, EngineBroken)


def test_a_picture_on_another_port_of_this_machine(stand_in: KieStandIn) -> None:
    """A picture may come from KIE's own origin wherever that is, but from no other service beside it."""
    with listening_stranger() as stranger:
        stand_in.next(RECORD, result_at(f"http://127.0.0.1:{stranger.port}/a.jpg"))
        fails(stand_in, EngineBroken)
        stand_in.next(PICTURE, Reply(status=307, headers={"Location": f"https://127.0.0.1:{stranger.port}/a.jpg"}))
        fails(stand_in, EngineBroken)
        assert stranger.visits == 0


def test_a_redirect_within_kie(stand_in: KieStandIn) -> None:
    """A redirect to a good address is followed, three times at most."""
    there = Reply(status=302, headers={"Location": PICTURE})
    stand_in.next(PICTURE, *[there] * 3)
    assert paint(engine(stand_in), credential=KEY) == stand_in.picture
    stand_in.next(PICTURE, *[there] * 4)
    assert "redirects too often" in fails(stand_in, EngineBroken).safe_text


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>the picture has expired</html>", kind="text/html"),
        Reply(status=404),
        Reply(b"packed", kind="image/jpeg", headers={"Content-Encoding": "gzip"}),
        Reply(b"x" * 100_001, kind="image/jpeg"),
    ],
    ids=["HTML", "404", "packed", "too large"],
)
def test_what_is_no_picture(stand_in: KieStandIn, reply: Reply) -> None:
    """A page, nothing, packed bytes and too many bytes are refused, and not asked for again."""
    stand_in.next(PICTURE, reply)
    failure(engine(stand_in, max_result_bytes=100_000), EngineBroken, credential=KEY)
    assert len(stand_in.asked(PICTURE)) == 1


def test_a_picture_that_comes_at_the_third_try(stand_in: KieStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that has been paid for is fetched up to three times, and no more often."""
    monkeypatch.setattr(http, "DOWNLOAD_PAUSE_S", 0.01)
    bad = (Reply(b"half a picture", kind="image/jpeg", manner="half"), Reply(status=503))
    stand_in.next(PICTURE, *bad)
    assert paint(engine(stand_in), credential=KEY) == stand_in.picture
    stand_in.next(PICTURE, *bad, Reply(manner="hang_up"))
    fails(stand_in, EngineBroken)
    assert (stand_in.tasks, len(stand_in.asked(PICTURE))) == (2, 6)


@pytest.mark.parametrize("path", [UPLOAD, CREATE, RECORD, PICTURE])
@pytest.mark.parametrize("manner", ["silence", "drip"])
def test_no_answer_by_the_deadline(stand_in: KieStandIn, path: str, manner: Any) -> None:
    """Whichever answer is missing, the call ends at its deadline, hangs up, and orders nothing more."""
    stand_in.next(path, Reply(b" " * 1000, kind="image/jpeg", manner=manner))
    began_at = time.monotonic()
    fails(stand_in, DeadlinePassed, seconds=0.3)
    assert time.monotonic() - began_at < AT_ONCE_S
    assert stand_in.client_left.wait(AT_ONCE_S)
    assert len(stand_in.asked(CREATE)) <= 1


@pytest.mark.parametrize("path", [UPLOAD, CREATE, RECORD, PICTURE])
def test_cancelled_while_an_answer_is_missing(stand_in: KieStandIn, path: str) -> None:
    """A cancel is seen within a second, and the connection is closed."""
    stand_in.next(path, Reply(manner="silence"))
    began_at = time.monotonic()
    fails(stand_in, PaintingCancelled, is_cancelled=lambda: bool(stand_in.asked(path)))
    assert time.monotonic() - began_at < AT_ONCE_S
    assert stand_in.client_left.wait(AT_ONCE_S)


def test_cancelled_between_two_looks(stand_in: KieStandIn) -> None:
    """A cancel does not wait for the next look at the task, and the caller is asked in its own thread."""
    asked_from: set[int] = set()

    def is_cancelled() -> bool:
        asked_from.add(threading.get_ident())
        return stand_in.tasks == 1

    began_at = time.monotonic()
    with pytest.raises(PaintingCancelled):
        paint(engine(stand_in, polling_plan=((math.inf, 60.0),)), credential=KEY, is_cancelled=is_cancelled)
    assert time.monotonic() - began_at < AT_ONCE_S
    assert asked_from == {threading.get_ident()}


def test_one_slow_look_is_not_waited_for(stand_in: KieStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that gets no answer is given up after a while and made again over a new connection."""
    monkeypatch.setattr(kie, "RECORD_S", 0.1)
    stand_in.next(RECORD, Reply(manner="silence"))
    assert paint(engine(stand_in), credential=KEY) == stand_in.picture
    assert len(stand_in.asked(RECORD)) == 2


def test_nobody_there(stand_in: KieStandIn) -> None:
    """When KIE cannot be reached nothing was sent: another try is allowed."""
    away = f"http://127.0.0.1:{free_port()}"
    error = failure(KieEngine("google/nano-banana-edit", away, away), NotReached, credential=KEY)
    assert isinstance(error, EngineBusy)
    assert error.safe_text == "127.0.0.1 could not be reached: ConnectionError, Connection refused."


@pytest.mark.parametrize(("seconds", "pause"), [(0, 2.5), (29.9, 2.5), (30, 7.0), (119, 7.0), (120, 15.0), (900, 15.0)])
def test_the_polling_plan(seconds: float, pause: float) -> None:
    """Looks are made every 2.5 s in the first half minute, 7 s until two minutes, then 15 s."""
    assert KieEngine("google/nano-banana-edit", "", "").pause_after(seconds) == pause


def test_the_check(stand_in: KieStandIn) -> None:
    """Asking whether the engine would answer tells the credits that are left, and orders nothing."""
    said = engine(stand_in).check(credential=KEY, deadline=Deadline(5))
    assert said == f"{stand_in.url} knows the key; 117.5 credits are left for google/nano-banana-edit"
    stand_in.next(CREDITS, json_reply({"code": 200, "msg": "success", "data": 0}))
    with pytest.raises(QuotaExhausted):
        engine(stand_in).check(credential=KEY, deadline=Deadline(5))
    with pytest.raises(CredentialRejected):
        engine(stand_in).check(credential="kie-wrong", deadline=Deadline(5))
    with pytest.raises(EngineBroken, match="KIE_MODEL"):
        engine(stand_in, "nano-banana-edit").check(credential=KEY, deadline=Deadline(5))
    assert stand_in.tasks == 0
