"""Fixtures of the Space's tests: the photographs, and one real Space on a free port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

SPACE = Path(__file__).resolve().parent.parent
PHOTOGRAPHS = SPACE.parent / "docs" / "photographs"


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """gradio_client leaves an empty folder for every picture that it fetches; here they go with the session."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("client"))
    yield
    tempfile.tempdir = None


@pytest.fixture(scope="session")
def photograph() -> Callable[..., np.ndarray]:
    """Opens one of the project's photographs as uint8 RGB with the given long side in pixels."""

    def open_photograph(name: str, long_side: int = 1024) -> np.ndarray:
        bgr = cv2.imread(str(PHOTOGRAPHS / name))
        scale = long_side / max(bgr.shape[:2])
        size = tuple(round(side * scale) for side in bgr.shape[1::-1])
        return np.ascontiguousarray(cv2.resize(bgr, size, interpolation=cv2.INTER_CUBIC)[..., ::-1])

    return open_photograph


@dataclass
class RunningSpace:
    """A Space in a process of its own."""

    url: str
    process: subprocess.Popen
    temporary: Path
    log: Path


@pytest.fixture(scope="session")
def start_space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RunningSpace]]:
    """Starts a Space on a free port and waits until it answers; whatever still runs at the end is stopped."""
    started: list[RunningSpace] = []

    def start() -> RunningSpace:
        folder = tmp_path_factory.mktemp("space")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = os.environ | {
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_TEMP_DIR": str(folder / "temporary"),
        }
        log = folder / "log.txt"
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-u", str(SPACE / "app.py")], env=environment, stdout=output, stderr=output
            )
        space = RunningSpace(f"http://127.0.0.1:{port}", process, folder / "temporary", log)
        started.append(space)
        deadline = time.monotonic() + 60
        while not _answers(space.url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        return space

    yield start
    for space in started:
        space.process.terminate()
    for space in started:
        space.process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/config", timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def space(start_space: Callable[[], RunningSpace]) -> RunningSpace:
    """One Space for all tests that only call it."""
    return start_space()
