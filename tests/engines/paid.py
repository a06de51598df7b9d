"""What the tests of the engines that cost money share: a painting that fails, and what must never be left."""

import logging
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.engines.base import EngineError
from tests.engines.conftest import paint


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test: no thread of the engine goes on, and no log of any library holds the module's KEY."""
    caplog.set_level(logging.DEBUG)
    yield
    ends_at = time.monotonic() + 2.0
    while (left := requests_under_way()) and time.monotonic() < ends_at:
        time.sleep(0.01)
    assert not left
    assert request.module.KEY not in caplog.text


def requests_under_way() -> list[threading.Thread]:
    """The threads in which engines wait for answers."""
    return [thread for thread in threading.enumerate() if thread.name == "engine-http"]


def failure(engine: Any, kind: type[EngineError], *, credential: str, **options: Any) -> Any:
    """Paint, and give the error, which is of exactly this kind and holds the key nowhere, nor do its causes."""
    with pytest.raises(kind) as caught:
        paint(engine, credential=credential, **options)
    assert type(caught.value) is kind
    assert credential not in "".join(traceback.format_exception(caught.value))
    return caught.value
