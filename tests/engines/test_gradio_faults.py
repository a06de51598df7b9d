"""The gradio engine against servers that die, freeze, lie or answer with anything but what was asked for."""

import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.engines.base import (
    CredentialRejected,
    DeadlinePassed,
    EngineBroken,
    EngineBusy,
    EngineError,
    News,
    PaintingCancelled,
    RequestRejected,
)
from tests.engines.conftest import (
    AT_ONCE_S,
    MakeEngine,
    RunningSpace,
    calls,
    eventually,
    free_port,
    heard_by_the_space,
    listening_stranger,
    paint,
    start_space,
)

Troubled = Callable[..., RunningSpace]


def test_nobody_listens(engine_for: MakeEngine) -> None:
    """A refused connection is known at once."""
    began_at = time.monotonic()
    with pytest.raises(EngineBroken):
        paint(engine_for(f"http://127.0.0.1:{free_port()}"))
    assert time.monotonic() - began_at < AT_ONCE_S


def test_a_space_that_never_answers(engine_for: MakeEngine) -> None:
    """A host that accepts and stays silent costs the deadline and not more, and a cancel is heard meanwhile."""
    with listening_stranger() as silent:
        engine = engine_for(f"http://127.0.0.1:{silent.port}")
        began_at = time.monotonic()
        with pytest.raises(DeadlinePassed):
            paint(engine, seconds=0.6)
        with pytest.raises(PaintingCancelled):
            paint(engine, is_cancelled=lambda: time.monotonic() > began_at + 1.0)
        assert time.monotonic() - began_at < 1.0 + AT_ONCE_S
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
        with pytest.raises(EngineBusy) as caught:
            call.result()
        assert caught.value.retries == 1
        assert time.monotonic() - killed_at < 2 * AT_ONCE_S
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
    assert time.monotonic() - began_at < 1.5 + 2 * AT_ONCE_S
    began_at = time.monotonic()
    with pytest.raises(DeadlinePassed):
        paint(engine, seconds=0.5)
    assert time.monotonic() - began_at < 0.5 + 2 * AT_ONCE_S


def test_rebuilt_with_other_functions(mortal: Mortal, engine_for: MakeEngine) -> None:
    """A Space that came back with its functions renumbered is read again, and the call is painted."""
    engine = engine_for(mortal.space.url, "/six")
    assert paint(engine)
    mortal.start_again("--rebuilt")
    assert paint(engine)


def seen(space: RunningSpace) -> list[str]:
    """The paths that were asked for since this Space was last told to go wrong."""
    with urllib.request.urlopen(f"{space.root}/seen", timeout=5) as response:
        found: list[str] = json.load(response)
        return found


def test_under_a_path(troubled: Troubled, engine_for: MakeEngine) -> None:
    """A Space that lies under a path is reached there with every request."""
    space = troubled()
    assert heard_by_the_space(paint(engine_for(space.url))) == ["Ghibli Studio style"]
    assert all(path.startswith("/studio/art/") for path in seen(space) if path != "/seen")


@pytest.mark.parametrize("route", ["config", "upload", "queue_join", "queue_data"])
@pytest.mark.parametrize(
    ("status", "error", "retry_after"),
    [
        ("429", EngineBusy, 7),
        ("502", EngineBusy, None),
        ("503", EngineBusy, 7),
        ("504", EngineBusy, None),
        ("500", EngineBroken, None),
        ("404", EngineBroken, None),
    ],
)
def test_a_status(
    troubled: Troubled,
    engine_for: MakeEngine,
    route: str,
    status: str,
    error: type[EngineError],
    retry_after: float | None,
) -> None:
    """A passing trouble of the server is tried again after the time that it names; a lasting one is left."""
    with pytest.raises(error) as caught:
        paint(engine_for(troubled(**{route: status}).url))
    assert type(caught.value) is error
    assert getattr(caught.value, "retry_after", None) == retry_after
    assert status in caught.value.safe_text


@pytest.mark.parametrize("route", ["config", "info", "upload", "queue_join", "queue_data"])
@pytest.mark.parametrize("status", ["401", "403"])
def test_a_revoked_token(troubled: Troubled, engine_for: MakeEngine, route: str, status: str) -> None:
    """A token that is refused anywhere is rejected, without its text; a call without one finds the Space broken."""
    space = troubled(**{route: status})
    with pytest.raises(CredentialRejected) as caught:
        paint(engine_for(space.url, token_hosts=("127.0.0.1",)), credential="hf_revoked1")
    assert "hf_revoked1" not in caught.value.safe_text
    with pytest.raises(EngineBroken):
        paint(engine_for(space.url))


def test_a_photograph_that_is_too_large(troubled: Troubled, engine_for: MakeEngine) -> None:
    """A Space that takes no photograph of this size rejects the order."""
    with pytest.raises(RequestRejected):
        paint(engine_for(troubled(upload="413").url))


@pytest.mark.parametrize("route", ["config", "upload", "queue_join", "queue_data"])
def test_a_redirect_to_another_host(troubled: Troubled, engine_for: MakeEngine, route: str) -> None:
    """No step of a call follows a redirect, so neither token nor photograph travels to another host."""
    with pytest.raises(EngineBroken, match="307"):
        paint(engine_for(troubled(**{route: "elsewhere"}).url))


@pytest.mark.parametrize("route", ["config", "info", "upload", "queue_join"])
def test_a_page_instead_of_an_answer(troubled: Troubled, engine_for: MakeEngine, route: str) -> None:
    """A page for people, as a Space that is being rebuilt shows it, means that the Space cannot serve."""
    with pytest.raises(EngineBroken):
        paint(engine_for(troubled(**{route: "not json"}).url))


@pytest.mark.parametrize("route", ["config", "info", "upload", "queue_join"])
def test_an_endless_answer(troubled: Troubled, engine_for: MakeEngine, route: str) -> None:
    """No answer may be larger than anything that a Space has to say, so that none fills the memory."""
    with pytest.raises(EngineBroken, match=r"The answer is larger than \d+ bytes"):
        paint(engine_for(troubled(**{route: "flood"}).url))


def test_a_packed_answer(troubled: Troubled, engine_for: MakeEngine) -> None:
    """Answers are asked for unpacked, and one that comes packed all the same is not unpacked."""
    with pytest.raises(EngineBroken, match="packed"):
        paint(engine_for(troubled(config="packed").url))


def test_gradio_3(troubled: Troubled, engine_for: MakeEngine) -> None:
    """A Space that is too old for the engine is named so."""
    with pytest.raises(EngineBroken, match="not Gradio 4, 5 or 6"):
        paint(engine_for(troubled(config="gradio 3").url))


@pytest.mark.parametrize("route", ["config", "upload", "queue_join", "queue_data"])
def test_a_hang(troubled: Troubled, engine_for: MakeEngine, route: str) -> None:
    """A step that never answers costs the deadline and not more, and a cancel is heard meanwhile."""
    space = troubled(**{route: "hang"})
    engine = engine_for(space.url)
    began_at = time.monotonic()
    with pytest.raises(DeadlinePassed):
        paint(engine, seconds=0.6)
    with pytest.raises(PaintingCancelled):
        paint(engine, is_cancelled=lambda: time.monotonic() > began_at + 1.0)
    assert time.monotonic() - began_at < 1.0 + AT_ONCE_S
    assert eventually(lambda: route != "queue_data" or "/studio/art/gradio_api/cancel" in seen(space))


@pytest.mark.parametrize(("how", "heard"), [("silent from the start", []), ("silent", [0])])
def test_silence(troubled: Troubled, engine_for: MakeEngine, how: str, heard: list[int]) -> None:
    """A stream that says nothing, from the start or after its first event, costs the deadline; the Space is told."""
    space = troubled(queue_data=how)
    news: list[News] = []
    with pytest.raises(DeadlinePassed):
        paint(engine_for(space.url), seconds=0.7, news=news)
    assert [item.rank for item in news if item.rank is not None] == heard
    assert eventually(lambda: "/studio/art/gradio_api/cancel" in seen(space))


@pytest.mark.parametrize(("how", "retries"), [("cut", 1), ("ends early", 1), ("stopped", None)])
def test_a_cut_stream(troubled: Troubled, engine_for: MakeEngine, how: str, retries: int | None) -> None:
    """A stream that breaks off or ends without a result is a passing trouble; the Space is told to stop."""
    space = troubled(queue_data=how)
    with pytest.raises(EngineBusy) as caught:
        paint(engine_for(space.url))
    assert caught.value.retries == retries
    assert eventually(lambda: "/studio/art/gradio_api/cancel" in seen(space))


@pytest.mark.parametrize("how", ["nonsense", "flood"])
def test_a_stream_of_nonsense(troubled: Troubled, engine_for: MakeEngine, how: str) -> None:
    """What is no event, or one without end, means that the Space is broken."""
    with pytest.raises(EngineBroken):
        paint(engine_for(troubled(queue_data=how).url))
