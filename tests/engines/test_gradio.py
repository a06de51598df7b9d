"""The gradio engine against real Gradio servers: those that behave and those that do not."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from jobs.engines.base import (
    CONNECTING,
    DOWNLOADING,
    PAINTING,
    WAITING_FOR_GPU,
    CredentialRejected,
    DeadlinePassed,
    EngineBroken,
    EngineBusy,
    News,
    PaintingCancelled,
    QuotaExhausted,
    RequestRejected,
)
from jobs.engines.gradio import GradioEngine, may_carry_token
from tests.engines.conftest import RunningSpace, free_port, listening_stranger, paint, start_space

MakeEngine = Callable[..., GradioEngine]


def heard_by_the_space(picture: bytes) -> list[object]:
    """What the Space was told, as it wrote it into its picture."""
    with Image.open(BytesIO(picture)) as image:
        image.load()
        return json.loads(image.text["said"])


def calls(space: RunningSpace) -> dict[str, list[str]]:
    """Which painters of this Space began and which ended."""
    with urllib.request.urlopen(f"{space.url}/calls", timeout=5) as response:
        return json.load(response)


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether this comes true in time."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        if holds():
            return True
        time.sleep(0.05)
    return False


def test_a_picture_comes_back(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """The bytes that come back are what the Space made of the photograph, and the stages are told in order."""
    news: list[News] = []
    picture = Image.open(BytesIO(paint(engine_for(gallery.url), news=news)))
    assert picture.size == (320, 256)
    red, green, blue = picture.convert("RGB").getpixel((10, 10))
    assert (red < 70, green > 200, blue > 150) == (True, True, True)
    stages = list(dict.fromkeys(item.stage for item in news))
    assert stages[0] == CONNECTING
    assert stages[-2:] == [PAINTING, DOWNLOADING]


def test_the_form_of_six_parameters(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """An older Space is sent its six parameters, and `Ghibli` for a look that it does not list."""
    assert heard_by_the_space(paint(engine_for(gallery.url, "/six"))) == ["Ghibli Studio style", 256, 320, 42, "Ghibli"]


def test_the_form_of_eight_parameters(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A newer Space is sent all eight, and the look by name when it lists it."""
    assert heard_by_the_space(paint(engine_for(gallery.url, "/eight"))) == [
        "Ghibli Studio style",
        256,
        320,
        42,
        "night",
        False,
        1,
    ]


def test_one_connection_for_many_calls(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """Twelve calls at once share one connection and each gets its own picture."""
    engine = engine_for(gallery.url)
    with ThreadPoolExecutor(12) as pool:
        pictures = list(pool.map(lambda number: paint(engine, seed=number), range(12)))
    assert [heard_by_the_space(picture)[3] for picture in pictures] == list(range(12))
    assert len(engine._connections._futures) == 1


def test_a_mode_that_it_cannot_paint(engine_for: MakeEngine) -> None:
    """A picture from words alone is rejected before anything is sent."""
    with pytest.raises(RequestRejected):
        paint(engine_for("http://127.0.0.1:9"), mode="text-to-image", image=None)


@pytest.mark.parametrize("api_name", ["/progress", "/steps"])
def test_true_progress(gallery: RunningSpace, engine_for: MakeEngine, api_name: str) -> None:
    """The fraction that the Space reports arrives, rising, in both of Gradio's ways to report it."""
    news: list[News] = []
    paint(engine_for(gallery.url, api_name), news=news)
    fractions = [item.fraction for item in news if item.fraction is not None]
    assert len(fractions) >= 3
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] <= 1


def test_rank_and_eta(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A call that waits in the Space's queue is told its place, and the time left once the Space knows its pace."""
    engine = engine_for(gallery.url, "/one_by_one")
    paint(engine, seed=3)
    before: list[News] = []
    news: list[News] = []
    with ThreadPoolExecutor(2) as pool:
        pool.submit(paint, engine, seed=8, prompt="in work")
        assert eventually(lambda: "in work" in calls(gallery)["started"])
        pool.submit(paint, engine, seed=4, news=before)
        assert eventually(lambda: any(item.rank == 0 for item in before))
        paint(engine, seed=1, news=news)
    waiting = [item for item in news if item.stage == WAITING_FOR_GPU]
    assert (waiting[0].rank, waiting[-1].rank) == (1, 0)
    assert any(item.eta_seconds for item in waiting)
    assert any(item.eta_seconds for item in news if item.stage == PAINTING)


def test_notices_of_zerogpu(gallery: RunningSpace, engine_for: MakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    """`Waiting for a GPU` becomes a stage, and a token that did not take becomes a warning without the token."""
    news: list[News] = []
    with caplog.at_level(logging.WARNING):
        paint(engine_for(gallery.url, "/notice"), news=news)
    assert WAITING_FOR_GPU in [item.stage for item in news]
    assert "did not accept the token" in caplog.text
    assert "hf_secretsecret" not in caplog.text


def test_a_quota_text_of_a_real_space(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A refusal passes through Gradio with its message and title, and comes out as a rest in seconds."""
    said = {
        "message": "You have exceeded your free ZeroGPU quota (90s requested vs. 8s left). Try again in 1:00:00.",
        "title": "ZeroGPU quota exceeded",
    }
    with pytest.raises(QuotaExhausted) as caught:
        paint(engine_for(gallery.url, "/refuse"), prompt=json.dumps(said))
    assert caught.value.retry_after == 3600


def test_the_title_of_a_real_space(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """An unknown message is understood by its title, so the title travels too."""
    said = {"message": "A new wording", "title": "ZeroGPU queue timeout"}
    with pytest.raises(EngineBusy):
        paint(engine_for(gallery.url, "/refuse"), prompt=json.dumps(said))


def test_a_stale_connection_is_renewed_once(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A refusal that a fresh connection may cure is answered by one over an older connection, and only once."""
    engine = engine_for(gallery.url, "/refuse")
    said = json.dumps({"message": "Expired ZeroGPU proxy token", "title": "ZeroGPU client error"})
    for _ in range(2):
        with pytest.raises(EngineBusy) as caught:
            paint(engine, prompt=said)
        assert caught.value.retries == 1
    # The first call was on a fresh connection, which it dropped; so was the second.
    assert calls(gallery)["started"].count(said) == 2
    with pytest.raises(EngineBusy):
        paint(engine, prompt=json.dumps({"message": "GPU task aborted"}))
    with pytest.raises(EngineBusy):
        paint(engine, prompt=said)
    assert calls(gallery)["started"].count(said) == 4


def test_a_hidden_error(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """An exception that the Space keeps to itself is a passing trouble without any text of the Space's."""
    with pytest.raises(EngineBusy) as caught:
        paint(engine_for(gallery.url, "/hidden"))
    assert "hf_secretsecret" not in caught.value.safe_text


def test_a_value_out_of_range(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """What the Space's own checks refuse is rejected."""
    with pytest.raises(RequestRejected):
        paint(engine_for(gallery.url), width=4096)


@pytest.mark.parametrize("api_name", ["/text", "/nothing", "/html", "/elsewhere"])
def test_an_answer_that_is_no_picture(gallery: RunningSpace, engine_for: MakeEngine, api_name: str) -> None:
    """A sentence, nothing, a page or another host's address instead of a picture: the Space is broken."""
    with pytest.raises(EngineBroken):
        paint(engine_for(gallery.url, api_name))


def test_too_large_a_result(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """Forty megabytes are refused by their announced length, before they travel."""
    with pytest.raises(EngineBroken, match="larger than"):
        paint(engine_for(gallery.url, "/huge"))


def test_an_endless_result(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A download without announced length ends at the limit in bytes, or at the deadline."""
    with pytest.raises(EngineBroken, match="larger than 20 bytes"):
        paint(engine_for(gallery.url, "/endless", max_result_bytes=20))
    with pytest.raises(DeadlinePassed):
        paint(engine_for(gallery.url, "/endless"), seconds=1.5)


def test_an_endpoint_that_is_not_there(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A Space without the endpoint, or with one that asks for more than is known, is broken."""
    for api_name in ("/somewhere_else", "/demanding"):
        with pytest.raises(EngineBroken):
            paint(engine_for(gallery.url, api_name))


def test_the_deadline_while_painting(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A painting that takes too long ends at the deadline, within two seconds."""
    began_at = time.monotonic()
    with pytest.raises(DeadlinePassed):
        paint(engine_for(gallery.url, "/slow"), seed=40, seconds=1.0)
    assert time.monotonic() - began_at < 3.0


def test_a_cancel_while_painting(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A cancelled call ends at once, and other calls of the same engine go on undisturbed."""
    engine = engine_for(gallery.url, "/slow")
    cancelled = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(paint, engine, seed=25, prompt="the other")
        mine = pool.submit(paint, engine, seed=40, prompt="mine", is_cancelled=cancelled.is_set)
        assert eventually(lambda: {"the other", "mine"} <= set(calls(gallery)["started"]))
        cancelled.set()
        asked_at = time.monotonic()
        with pytest.raises(PaintingCancelled):
            mine.result()
        assert time.monotonic() - asked_at < 2.0
        assert other.result()


def test_a_cancel_while_waiting(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A call that is cancelled in the Space's queue is never painted."""
    engine = engine_for(gallery.url, "/one_by_one")
    news: list[News] = []
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(paint, engine, seed=20, prompt="the first")
        assert eventually(lambda: "the first" in calls(gallery)["started"])
        with pytest.raises(PaintingCancelled):
            paint(
                engine,
                prompt="given up",
                news=news,
                is_cancelled=lambda: any(item.rank is not None for item in news),
            )
        first.result()
    paint(engine, seed=0, prompt="the last")
    assert "given up" not in calls(gallery)["started"]


def test_cancelled_before_it_began(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A call that nobody wants any more sends nothing."""
    news: list[News] = []
    with pytest.raises(PaintingCancelled):
        paint(engine_for(gallery.url), news=news, is_cancelled=lambda: True)
    assert news == []


def test_an_error_of_the_callers_own(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """What the caller's own functions raise ends the call and is not taken for an error of the engine."""

    def no_longer_mine() -> bool:
        if "disowned" in calls(gallery)["started"]:
            raise KeyError("no longer mine")
        return False

    with pytest.raises(KeyError, match="no longer mine"):
        paint(engine_for(gallery.url, "/slow"), seed=20, prompt="disowned", is_cancelled=no_longer_mine)


def test_a_full_queue(narrow: RunningSpace, engine_for: MakeEngine) -> None:
    """A Space that lets nobody wait is busy, and those whom it took are painted."""
    engine = engine_for(narrow.url, "/slow")
    paint(engine, seed=0)

    def outcome(_: int) -> str:
        try:
            paint(engine, seed=10)
        except EngineBusy:
            return "busy"
        return "painted"

    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(outcome, range(5)))
    assert set(outcomes) == {"busy", "painted"}


def test_nobody_listens(engine_for: MakeEngine) -> None:
    """A refused connection is known at once."""
    began_at = time.monotonic()
    with pytest.raises(EngineBroken):
        paint(engine_for(f"http://127.0.0.1:{free_port()}"))
    assert time.monotonic() - began_at < 1.0


def test_a_space_that_never_answers(engine_for: MakeEngine) -> None:
    """A host that accepts and stays silent costs the deadline and not more, and a cancel is heard meanwhile."""
    with listening_stranger() as silent:
        engine = engine_for(f"http://127.0.0.1:{silent.port}")
        began_at = time.monotonic()
        with pytest.raises(DeadlinePassed):
            paint(engine, seconds=0.6)
        with pytest.raises(PaintingCancelled):
            paint(engine, is_cancelled=lambda: time.monotonic() > began_at + 1.0)
        assert time.monotonic() - began_at < 2.0
        assert silent.visits == 1


class Mortal:
    """A Space of the test's own, which may be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.space = start_space(folder, "gallery.py", ELSEWHERE="")
        self.space.wait_until_ready()

    def start_again(self, *arguments: str) -> None:
        """Kill what runs and start anew."""
        self.space.kill()
        self.space = start_space(self.folder, "gallery.py", *arguments, port=self.space.port, ELSEWHERE="")
        self.space.wait_until_ready()


@pytest.fixture
def mortal(tmp_path: Path, engine_for: MakeEngine) -> Iterator[Mortal]:
    """A Space that dies with the test, before the engines' threads are counted."""
    mortal = Mortal(tmp_path)
    yield mortal
    mortal.space.kill()


def test_killed_in_the_middle(mortal: Mortal, engine_for: MakeEngine) -> None:
    """A Space that dies while it paints is known within two seconds, and the same engine paints when it is back."""
    engine = engine_for(mortal.space.url, "/slow")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(paint, engine, seed=100)
        assert eventually(lambda: bool(calls(mortal.space)["started"]))
        mortal.space.kill()
        killed_at = time.monotonic()
        with pytest.raises(EngineBroken):
            call.result()
        assert time.monotonic() - killed_at < 2.0
    with pytest.raises(EngineBroken):
        paint(engine)
    mortal.start_again()
    assert paint(engine, seed=0)


def test_frozen_in_the_middle(mortal: Mortal, engine_for: MakeEngine) -> None:
    """A Space that falls silent, before the first event or after it, costs the deadline and two seconds at most."""
    engine = engine_for(mortal.space.url, "/slow")
    began_at = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(paint, engine, seed=100, seconds=1.5)
        assert eventually(lambda: bool(calls(mortal.space)["started"]))
        mortal.space.process.send_signal(signal.SIGSTOP)
        with pytest.raises(DeadlinePassed):
            call.result()
    assert time.monotonic() - began_at < 3.5
    began_at = time.monotonic()
    with pytest.raises(DeadlinePassed):
        paint(engine, seconds=0.5)
    assert time.monotonic() - began_at < 2.5


def test_rebuilt_with_other_functions(mortal: Mortal, engine_for: MakeEngine) -> None:
    """A Space that came back with its functions renumbered is read again, and the call is painted."""
    engine = engine_for(mortal.space.url, "/six")
    assert paint(engine)
    mortal.start_again("--rebuilt")
    assert paint(engine)


@pytest.mark.parametrize(
    ("url", "hosts", "allowed"),
    [
        ("https://name-space.hf.space", ("*.hf.space",), True),
        ("https://NAME-SPACE.HF.SPACE/", (" *.HF.space ",), True),
        ("http://name-space.hf.space", ("*.hf.space",), False),
        ("https://hf.space.example.org", ("*.hf.space",), False),
        ("https://example.org/?x=.hf.space", ("*.hf.space",), False),
        ("https://a.hf.space@example.org/", ("*.hf.space",), False),
        ("http://127.0.0.1:7860", ("127.0.0.1",), True),
        ("http://[::1]:7860", ("::1",), True),
        ("http://localhost:7860", ("localhost",), True),
        ("http://127.0.0.1:7860", ("*.hf.space",), False),
        ("http://10.0.0.1:7860", ("10.0.0.1",), False),
    ],
)
def test_where_a_token_may_go(url: str, hosts: tuple[str, ...], allowed: bool) -> None:
    """A token goes to named hosts over https, and over plain http only to a loopback host that is named."""
    assert may_carry_token(url, hosts) is allowed


@pytest.mark.parametrize(("hosts", "sent"), [(("127.0.0.1",), True), (("*.hf.space",), False)])
def test_the_token_on_the_wire(
    engine_for: MakeEngine, monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...], sent: bool
) -> None:
    """A host that is named hears the call's token, any other none at all, not even one from the environment."""
    monkeypatch.setenv("HF_TOKEN", "hf_fromtheenvironment")
    with listening_stranger() as host:
        engine = engine_for(f"http://127.0.0.1:{host.port}", token_hosts=hosts)
        with pytest.raises(DeadlinePassed):
            paint(engine, credential="hf_thecallstoken", seconds=0.5)
        assert (b"hf_thecallstoken" in host.heard) is sent
        assert b"hf_fromtheenvironment" not in host.heard
        assert b"GET /config" in host.heard


def test_a_token_of_its_own(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """Each token has a connection of its own, so that no call travels with another's token."""
    engine = engine_for(gallery.url, token_hosts=("127.0.0.1",))
    for credential in ("hf_one1", "hf_two2", None, "hf_one1"):
        paint(engine, credential=credential)
    assert set(engine._connections._futures) == {"hf_one1", "hf_two2", None}


def test_a_token_that_the_space_ignores(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """An answer meant for unknown callers rejects the token, and the token is not in the error's text."""
    said = {"message": "GPU quota exceeded for hf_one1. Create a free account", "title": "x"}
    engine = engine_for(gallery.url, "/refuse", token_hosts=("127.0.0.1",))
    with pytest.raises(CredentialRejected) as caught:
        paint(engine, credential="hf_one1", prompt=json.dumps(said))
    assert "hf_one1" not in caught.value.safe_text


def test_no_telemetry() -> None:
    """Importing the engine switches off gradio_client's and the Hub's reports before either could send one."""
    code = (
        "import jobs.engines.gradio, os, huggingface_hub.constants as c;"
        "assert c.HF_HUB_DISABLE_TELEMETRY; assert os.environ['GRADIO_ANALYTICS_ENABLED'] == 'False'"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "GRADIO_"))}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_sockets_are_closed(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """After many calls this process holds no more open files than before them."""
    engine = engine_for(gallery.url)
    paint(engine)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(5):
        paint(engine)
    assert eventually(lambda: len(list(descriptors.iterdir())) <= before)
