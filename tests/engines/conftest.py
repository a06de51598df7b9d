"""Real Gradio servers for the engines' tests, each a process of its own on a free loopback port."""

import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from jobs.engines.base import Deadline, News, PaintRequest
from jobs.engines.gradio import GradioEngine

ROOT = Path(__file__).resolve().parents[2]
SPACES = Path(__file__).parent / "spaces"
START_S = 60.0


def space_python() -> Path:
    """The interpreter that has Gradio. Without it these tests cannot prove anything, so they fail."""
    python = ROOT / "space" / ".venv" / "bin" / "python"
    if not python.exists():
        pytest.fail(f"{python} is missing: run `make test`, which sets it up.")
    return python


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class RunningSpace:
    """A Space's process and where it listens."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        """Return as soon as the Space answers; fail when it ended or takes too long."""
        ends_at = time.monotonic() + START_S
        while time.monotonic() < ends_at:
            assert self.process.poll() is None, "The Space ended while it started."
            try:
                with urllib.request.urlopen(f"{self.url}/config", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
        pytest.fail("The Space did not start in time.")

    def kill(self) -> None:
        """End it without a word, as a crash would."""
        self.process.kill()
        self.process.wait()


def start_space(folder: Path, script: str, *arguments: str, port: int = 0, **env: str) -> RunningSpace:
    """Start one of the scripts in `spaces`; it is not ready yet."""
    port = port or free_port()
    # The test's own environment without its proxies and tokens, which these Spaces have no use for.
    process = subprocess.Popen(
        [space_python(), SPACES / script, str(port), *arguments],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "SPACE_FOLDER": str(folder),
            "GRADIO_TEMP_DIR": str(folder),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            **env,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return RunningSpace(process, port)


@pytest.fixture(scope="session")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningSpace]]:
    """The Spaces that outlive a test, started side by side."""
    with ExitStack() as stack:
        strangers = stack.enter_context(listening_stranger())
        running = {}
        for name in ("gallery", "narrow"):
            folder = tmp_path_factory.mktemp(name)
            running[name] = start_space(folder, f"{name}.py", ELSEWHERE=f"http://127.0.0.1:{strangers.port}/")
            stack.callback(running[name].kill)
        for space in running.values():
            space.wait_until_ready()
        yield running
        assert strangers.visits == 0, "Somebody followed the address to another host."


@dataclass
class Stranger:
    """A host that accepts connections, counts them and never says anything."""

    port: int
    visits: int = 0
    heard: bytearray = field(default_factory=bytearray)


@contextmanager
def listening_stranger() -> Iterator[Stranger]:
    """Run a Stranger on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        stranger = Stranger(server.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                stranger.visits += 1
                stack.callback(connection.close)
                stranger.heard += connection.recv(65536)

        thread = threading.Thread(target=accept)
        thread.start()
        yield stranger
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def gallery(spaces: dict[str, RunningSpace]) -> RunningSpace:
    """The Space with an endpoint for every way in which an endpoint behaves."""
    return spaces["gallery"]


@pytest.fixture
def narrow(spaces: dict[str, RunningSpace]) -> RunningSpace:
    """The Space that lets nobody wait."""
    return spaces["narrow"]


@pytest.fixture
def temp_dir(tmp_path: Path) -> Iterator[Path]:
    """The engine's folder for files; whatever a test did, nothing may be left in it."""
    folder = tmp_path / "engine"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def engine_for(temp_dir: Path) -> Iterator[Callable[..., GradioEngine]]:
    """Makes engines, closes them, and proves that their threads end within two seconds."""
    before = set(threading.enumerate())
    made: list[GradioEngine] = []

    def make(
        url: str, api_name: str = "/six", token_hosts: tuple[str, ...] = (), max_result_bytes: int = 2**24
    ) -> GradioEngine:
        made.append(GradioEngine(url, api_name, token_hosts, temp_dir, max_result_bytes))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
    ends_at = time.monotonic() + 2.0
    while (left := set(threading.enumerate()) - before) and time.monotonic() < ends_at:
        time.sleep(0.02)
    assert not left


def photo(width: int = 320, height: int = 256) -> bytes:
    """A JPEG of one colour."""
    file = BytesIO()
    Image.new("RGB", (width, height), (200, 40, 90)).save(file, "JPEG")
    return file.getvalue()


REQUEST = PaintRequest(
    mode="image-to-image",
    image=photo(),
    width=320,
    height=256,
    prompt="Ghibli Studio style",
    look="night",
    seed=42,
)


def paint(
    engine: GradioEngine,
    *,
    seconds: float = 20.0,
    credential: str | None = None,
    news: list[News] | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
    **changes: object,
) -> bytes:
    """Paint REQUEST with these changes, and collect the news."""
    return engine.paint(
        replace(REQUEST, **changes),
        credential=credential,
        deadline=Deadline(seconds),
        on_news=(news if news is not None else []).append,
        is_cancelled=is_cancelled,
    )
