"""Whatever the Space's server answers instead: what the visitor sees, what the log says, and that nothing is owed."""

from collections.abc import Callable, Iterator

import pytest
import requests
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.errors import TASK_FAILURES
from tests.engines.conftest import RunningSpace, listening_stranger, start_space
from tests.faults.conftest import Visitor, assert_nothing_left, paint_waiting, running_rings, seconds_of, tries_used

Painter = Callable[..., Flask]
PATH = "/studio/art"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSpace]:
    """A Space behind a server that misbehaves as it is told; nobody may follow it to another host."""
    with listening_stranger() as stranger:
        folder, elsewhere = tmp_path_factory.mktemp("troubled"), f"http://127.0.0.1:{stranger.port}/"
        space = start_space(folder, "troubled.py", path=PATH, ELSEWHERE=elsewhere)
        space.wait_until_ready()
        yield space
        space.kill()
        assert stranger.visits == 0, "Somebody followed the address to another host."


@pytest.fixture
def troubled(server: RunningSpace) -> Iterator[Callable[[dict[str, str]], RunningSpace]]:
    """Have the server go wrong: the end of a path, and how."""

    def make(trouble: dict[str, str]) -> RunningSpace:
        requests.post(f"{server.root}/trouble", json=trouble, timeout=5).raise_for_status()
        return server

    yield make
    make({})


@pytest.mark.parametrize(
    ("trouble", "code", "at_most_s"),
    [
        # These two name a time beyond the deadline, so nobody waits for it.
        ({"/queue/join": "429"}, "engine_busy", 5),
        ({"/queue/join": "503"}, "engine_busy", 5),
        ({"/queue/join": "502"}, "engine_busy", 10),
        ({"/queue/join": "401"}, "engine_unavailable", 5),
        ({"/config": "503"}, "engine_busy", 5),
        ({"/config": "not json"}, "engine_unavailable", 5),
        ({"/config": "hang"}, "engine_timeout", 12),
        ({"/queue/data": "silent from the start"}, "engine_timeout", 12),
        ({"/queue/data": "silent"}, "engine_timeout", 12),
        ({"/queue/data": "cut"}, "engine_busy", 10),
        ({"/queue/data": "stopped"}, "engine_busy", 10),
        ({"/queue/data": "flood"}, "engine_unavailable", 12),
        ({"/upload": "elsewhere"}, "engine_unavailable", 5),
    ],
    ids=lambda value: " ".join(f"{path} {how}" for path, how in value.items()) if isinstance(value, dict) else "",
)
def test_trouble_ends_in_a_refund(
    web: Flask,
    visitor: Visitor,
    painter: Painter,
    troubled: Callable[[dict[str, str]], RunningSpace],
    clock: FixedClock,
    caplog: pytest.LogCaptureFixture,
    trouble: dict[str, str],
    code: str,
    at_most_s: float,
) -> None:
    """Each trouble ends in seconds: a sentence for the visitor, a line in the log, the try back, no file left."""
    task_id = visitor.order()
    app = painter(troubled(trouble), "/six", task_timeout_s=5, max_retry_attempts=2)
    seconds, _ = seconds_of(lambda: paint_waiting(app))
    told = visitor.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", code, True), caplog.text
    assert told["error"] == f"{TASK_FAILURES[code]} Your try has come back."
    assert seconds < at_most_s
    assert any(record.getMessage().startswith("engine gradio: ") for record in caplog.records)
    assert tries_used(web) == [0, 0]
    assert running_rings(web) == []
    assert_nothing_left(web, clock)


def test_a_space_that_comes_back(
    web: Flask, visitor: Visitor, painter: Painter, troubled: Callable[[dict[str, str]], RunningSpace]
) -> None:
    """After the trouble the same worker paints the next order."""
    first = visitor.order(1)
    app = painter(troubled({"/queue/join": "502"}), "/six", max_retry_attempts=1)
    paint_waiting(app)
    second = visitor.order(2)
    troubled({})
    paint_waiting(app)
    assert [visitor.poll(task_id)["status"] for task_id in (first, second)] == ["FAILED", "SUCCESS"]
    assert tries_used(web) == [1, 1]
