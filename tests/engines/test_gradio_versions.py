"""What the gradio engine does on every major version of Gradio: each test here runs on 6, 5 and the oldest 4.

The oldest one speaks a protocol of its own, in which the event stream is the place in the queue.
"""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from jobs.engines.base import (
    CONNECTING,
    DOWNLOADING,
    PAINTING,
    WAITING_FOR_GPU,
    DeadlinePassed,
    EngineBroken,
    EngineBusy,
    News,
    PaintingCancelled,
    QuotaExhausted,
)
from tests.engines.conftest import (
    MakeEngine,
    RunningSpace,
    calls,
    eventually,
    heard_by_the_space,
    paint,
    stands_still,
    start_space,
)


def test_the_version(each_gallery: RunningSpace, version: str) -> None:
    """The server of these tests is of the version that it is taken for."""
    with urllib.request.urlopen(f"{each_gallery.url}/config", timeout=5) as response:
        assert json.load(response)["version"].startswith(f"{version}.")


def test_a_picture_comes_back(each_gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """The bytes that come back are what the Space made of the photograph, and the stages are told in order."""
    news: list[News] = []
    picture = Image.open(BytesIO(paint(engine_for(each_gallery.url), news=news)))
    assert picture.size == (320, 256)
    red, green, blue = picture.convert("RGB").getpixel((10, 10))
    assert (red < 70, green > 200, blue > 150) == (True, True, True)
    stages = list(dict.fromkeys(item.stage for item in news))
    assert stages[0] == CONNECTING
    assert stages[-2:] == [PAINTING, DOWNLOADING]


def test_the_form_of_six_parameters(each_gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """An older Space is sent its six parameters, and `Ghibli` for a look that it does not list."""
    assert heard_by_the_space(paint(engine_for(each_gallery.url, "/six"))) == [
        "Ghibli Studio style",
        256,
        320,
        42,
        "Ghibli",
    ]


def test_the_form_of_eight_parameters(each_gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A newer Space is sent all eight, and the look by name when it lists it."""
    assert heard_by_the_space(paint(engine_for(each_gallery.url, "/eight"))) == [
        "Ghibli Studio style",
        256,
        320,
        42,
        "night",
        False,
        1,
    ]


@pytest.mark.parametrize("api_name", ["/progress", "/steps"])
def test_true_progress(each_gallery: RunningSpace, engine_for: MakeEngine, api_name: str) -> None:
    """The fraction that the Space reports arrives, rising, in both of Gradio's ways to report it."""
    news: list[News] = []
    paint(engine_for(each_gallery.url, api_name), news=news)
    fractions = [item.fraction for item in news if item.fraction is not None]
    assert len(fractions) >= 2
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] <= 1


def test_rank_and_eta(each_gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A call that waits in the Space's queue is told its place, and the time left once the Space knows its pace."""
    engine = engine_for(each_gallery.url, "/one_by_one")
    paint(engine, seed=3)
    before: list[News] = []
    news: list[News] = []
    with ThreadPoolExecutor(2) as pool:
        pool.submit(paint, engine, seed=8, prompt="in work")
        assert eventually(lambda: "in work" in calls(each_gallery)["started"])
        pool.submit(paint, engine, seed=4, news=before)
        assert eventually(lambda: any(item.rank == 0 for item in before))
        paint(engine, seed=1, news=news)
    waiting = [item for item in news if item.stage == WAITING_FOR_GPU]
    assert (waiting[0].rank, waiting[-1].rank) == (1, 0)
    assert any(item.eta_seconds for item in waiting)
    assert any(item.eta_seconds for item in news if item.stage == PAINTING)


def test_a_quota_text_of_a_real_space(each_gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A refusal passes through Gradio with its message and title, and comes out as a rest in seconds."""
    said = {
        "message": "You have exceeded your free ZeroGPU quota (90s requested vs. 8s left). Try again in 1:00:00.",
        "title": "ZeroGPU quota exceeded",
    }
    with pytest.raises(QuotaExhausted) as caught:
        paint(engine_for(each_gallery.url, "/refuse"), prompt=json.dumps(said))
    assert caught.value.retry_after == 3600


def test_a_hidden_error(each_gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """An exception that the Space keeps to itself is a passing trouble without any text of the Space's."""
    with pytest.raises(EngineBusy) as caught:
        paint(engine_for(each_gallery.url, "/hidden"))
    assert "hf_secretsecret" not in caught.value.safe_text


def test_a_cancel_while_waiting(each_gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A call that is cancelled in the Space's queue is never painted."""
    engine = engine_for(each_gallery.url, "/one_by_one")
    news: list[News] = []
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(paint, engine, seed=20, prompt="the first")
        assert eventually(lambda: "the first" in calls(each_gallery)["started"])
        with pytest.raises(PaintingCancelled):
            paint(
                engine,
                prompt="given up",
                news=news,
                is_cancelled=lambda: any(item.rank is not None for item in news),
            )
        first.result()
    paint(engine, seed=0, prompt="the last")
    assert "given up" not in calls(each_gallery)["started"]


def test_a_full_queue(each_narrow: RunningSpace, engine_for: MakeEngine) -> None:
    """A Space that lets nobody wait is busy, and those whom it took are painted."""
    engine = engine_for(each_narrow.url, "/slow")
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


@pytest.mark.parametrize("reason", [PaintingCancelled, DeadlinePassed])
def test_the_space_is_told_to_stop(each_gallery: RunningSpace, engine_for: MakeEngine, reason: type[Exception]) -> None:
    """A painting that nobody waits for any more, by a cancel or by the deadline, is stopped in the Space too."""
    prompt = f"stop for {reason.__name__}"

    def is_cancelled() -> bool:
        return reason is PaintingCancelled and prompt in calls(each_gallery)["started"]

    with pytest.raises(reason):
        paint(
            engine_for(each_gallery.url, "/patient"),
            prompt=prompt,
            seed=300,
            seconds=20 if reason is PaintingCancelled else 1.5,
            is_cancelled=is_cancelled,
        )
    assert eventually(lambda: stands_still(each_gallery, prompt))


def test_parameters_without_names(old_spaces: dict[str, RunningSpace], engine_for: MakeEngine) -> None:
    """Gradio before 4.23 names no parameters: an endpoint whose components are of no known form is not guessed at."""
    with pytest.raises(EngineBroken, match="does not take spatial_img"):
        paint(engine_for(old_spaces["gallery 4"].url, "/demanding"))


def test_silence_of_the_oldest(
    old_spaces: dict[str, RunningSpace], engine_for: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first releases of Gradio 4 send one heartbeat and no other: a long painting is waited for all the same."""
    monkeypatch.setattr("jobs.engines.gradio.TIMEOUT", httpx.Timeout(0.5))
    assert paint(engine_for(old_spaces["gallery 4"].url, "/slow"), seed=12)


def test_a_cut_stream_of_the_oldest(tmp_path: Path, engine_for: MakeEngine) -> None:
    """A server of the oldest protocol that dies while it paints is a passing trouble."""
    space = start_space(tmp_path, "gallery.py", version="4", ELSEWHERE="")
    try:
        space.wait_until_ready()
        with ThreadPoolExecutor(1) as pool:
            painting = pool.submit(paint, engine_for(space.url, "/slow"), seed=100)
            assert eventually(lambda: bool(calls(space)["started"]))
            space.kill()
            with pytest.raises(EngineBusy, match="cut"):
                painting.result()
    finally:
        space.kill()
