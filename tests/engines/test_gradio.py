"""The gradio engine against real Gradio servers: what it sends, what it tells, and what it takes for a picture."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ghibli_flask.token_hosts import may_carry_token
from jobs.engines.base import (
    WAITING_FOR_GPU,
    Deadline,
    DeadlinePassed,
    EngineBroken,
    EngineBusy,
    News,
    PaintingCancelled,
    QuotaExhausted,
    RequestRejected,
)
from jobs.engines.gradio_messages import UNCOUNTED_REST_S
from tests.engines.conftest import (
    AT_ONCE_S,
    MakeEngine,
    RunningSpace,
    calls,
    eventually,
    heard_by_the_space,
    listening_stranger,
    paint,
    stands_still,
)


def test_one_connection_for_many_calls(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """Forty calls at once share one connection and one thread of the engine's, and each gets its own picture."""
    before = set(threading.enumerate())
    engine = engine_for(gallery.url)
    paint(engine)
    with ThreadPoolExecutor(40) as pool:
        pictures = list(pool.map(lambda number: paint(engine, seed=number), range(40)))
        threads = [thread.name for thread in set(threading.enumerate()) - before if "ThreadPool" not in thread.name]
    assert [heard_by_the_space(picture)[3] for picture in pictures] == list(range(40))
    assert len(engine._connections._futures) == 1
    assert threads == ["engine-streams"]


def test_the_first_of_several_pictures(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """From an endpoint that returns a gallery, its first picture is taken."""
    assert heard_by_the_space(paint(engine_for(gallery.url, "/several"))) == ["Ghibli Studio style"]


def test_a_check(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A check names the version and the form of the endpoint, and raises what a painting would."""
    checked = engine_for(gallery.url, "/eight").check(credential=None, deadline=Deadline(10))
    assert checked == "Gradio 6.31.0, /eight with 8 parameters"
    with pytest.raises(EngineBroken, match="strength"):
        engine_for(gallery.url, "/demanding").check(credential=None, deadline=Deadline(10))
    with listening_stranger() as silent, pytest.raises(DeadlinePassed):
        engine_for(f"http://127.0.0.1:{silent.port}").check(credential=None, deadline=Deadline(0.4))


def test_closing_in_the_middle(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """Closing the engine ends a call that still runs, here and in the Space."""
    engine = engine_for(gallery.url, "/patient")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(paint, engine, prompt="closed", seed=300)
        assert eventually(lambda: "closed" in calls(gallery)["started"])
        engine.close()
        with pytest.raises(EngineBroken):
            call.result()
    assert eventually(lambda: stands_still(gallery, "closed"))


def test_a_mode_that_it_cannot_paint(engine_for: MakeEngine) -> None:
    """A picture from words alone is rejected before anything is sent."""
    with pytest.raises(RequestRejected):
        paint(engine_for("http://127.0.0.1:9"), mode="text-to-image", image=None)


def test_notices_of_zerogpu(gallery: RunningSpace, engine_for: MakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    """`Waiting for a GPU` becomes a stage, and a token that did not take becomes a warning without the token."""
    news: list[News] = []
    with caplog.at_level(logging.WARNING):
        paint(engine_for(gallery.url, "/notice"), news=news)
    assert WAITING_FOR_GPU in [item.stage for item in news]
    assert "did not accept the token" in caplog.text
    assert "hf_secretsecret" not in caplog.text


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


def test_a_value_out_of_range(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """What the Space's own checks refuse is rejected."""
    with pytest.raises(RequestRejected):
        paint(engine_for(gallery.url), width=4096)


@pytest.mark.parametrize(
    "api_name",
    [
        "/text",
        "/base64",
        "/very_long",
        "/nothing",
        "/html",
        "/drawing",
        "/data",
        "/address",
        "/elsewhere",
    ],
)
def test_an_answer_that_is_no_picture(gallery: RunningSpace, engine_for: MakeEngine, api_name: str) -> None:
    """A sentence, nothing, a page, a drawing that may hold a script, another host's address: the Space is broken."""
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
        paint(engine_for(gallery.url, "/slow"), seed=150, seconds=1.0)
    assert time.monotonic() - began_at < 1.0 + 2 * AT_ONCE_S


def test_a_cancel_while_painting(gallery: RunningSpace, engine_for: MakeEngine) -> None:
    """A cancelled call ends at once, and other calls of the same engine go on undisturbed."""
    engine = engine_for(gallery.url, "/slow")
    cancelled = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(paint, engine, seed=25, prompt="the other")
        mine = pool.submit(paint, engine, seed=100, prompt="mine", is_cancelled=cancelled.is_set)
        assert eventually(lambda: {"the other", "mine"} <= set(calls(gallery)["started"]))
        cancelled.set()
        asked_at = time.monotonic()
        with pytest.raises(PaintingCancelled):
            mine.result()
        assert time.monotonic() - asked_at < AT_ONCE_S
        assert other.result()


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
    """An answer meant for unknown callers has the token rest for an hour at most; it is not in the error's text."""
    said = {"message": "GPU quota exceeded for hf_one1. Create a free account", "title": "x"}
    engine = engine_for(gallery.url, "/refuse", token_hosts=("127.0.0.1",))
    with pytest.raises(QuotaExhausted) as caught:
        paint(engine, credential="hf_one1", prompt=json.dumps(said))
    assert 0 < caught.value.retry_after <= UNCOUNTED_REST_S
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
