"""The bundled Space as a real Gradio server: the `space_server` fixture, one for the session, warm."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from scripts.processes import LOOPBACK
from scripts.space_check import space_answers, space_paints
from tests.support.checkout import ROOT, offline_env
from tests.support.ports import free_port
from tests.support.server import Server

# Compiled render code depends on nothing but the painter's own source, so test sessions share it.
NUMBA_CACHE = ROOT / "instance" / "numba-cache"


class SpaceServer(Server):
    """The Space of space/, in its own virtual environment, on a free loopback port."""

    name = "space"
    start_seconds = 120.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"

    def command(self) -> Sequence[str | Path]:
        python = ROOT / "space/.venv/bin/python"
        if not python.exists():
            pytest.fail("space/.venv is missing. Run: make setup-test", pytrace=False)
        return [python, "app.py"]

    def cwd(self) -> Path:
        return ROOT / "space"

    def env(self) -> Mapping[str, str]:
        temporary = self.folder / "tmp"
        (temporary / "gradio").mkdir(parents=True, exist_ok=True)
        return offline_env(
            GRADIO_SERVER_NAME=LOOPBACK,
            GRADIO_SERVER_PORT=str(self.port),
            GRADIO_ANALYTICS_ENABLED="False",
            GRADIO_TEMP_DIR=str(temporary / "gradio"),
            NUMBA_CACHE_DIR=str(NUMBA_CACHE),
            TMPDIR=str(temporary),
        )

    def answers(self) -> bool:
        return space_answers(self.url)

    def warm(self) -> None:
        """Have the Space paint a small picture, which waits for its warm-up: no test meets a cold Space."""
        if not space_paints(self.url, seconds=120):
            pytest.fail(f"The Space does not paint. The end of its log:\n{self.tail()}", pytrace=False)
