"""Real Gradio servers for the engines' tests, each a process of its own on a free loopback port."""

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from jobs.engines.base import Deadline, News, PaintRequest
from jobs.engines.gradio import GradioEngine
from tests.support.checkout import ROOT
from tests.support.ports import free_port

SPACES = Path(__file__).parent / "spaces"
START_S = 60.0
AT_ONCE_S = 5.0
"""Five times the second that is wished, because the tests share their cores."""

ENVIRONMENTS = {
    "6": ROOT / "space/.venv",
    "5": ROOT / "tests/engines/old_gradio/5/.venv",
    "4": ROOT / "tests/engines/old_gradio/4/.venv",
}
"""The virtual environment of each major version of Gradio that the engine is tested against; of 4 the first."""

MakeEngine = Callable[..., GradioEngine]


def space_python(version: str = "6") -> Path:
    """The interpreter that has this Gradio. Without it these tests cannot prove anything, so they fail."""
    python = ENVIRONMENTS[version] / "bin/python"
    if not python.exists():
        pytest.fail(f"{python} is missing: run `make test`, which sets it up.")
    return python


@dataclass
class RunningSpace:
    """A Space's process and where it listens."""

    process: subprocess.Popen[bytes]
    port: int
    path: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def root(self) -> str:
        """Where the server's own routes are, outside Gradio."""
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


def start_space(
    folder: Path, script: str, *arguments: str, port: int = 0, version: str = "6", path: str = "", **env: str
) -> RunningSpace:
    """Start one of the scripts in `spaces` on this Gradio; it is not ready yet."""
    port = port or free_port()
    # The test's own environment without its proxies and tokens, which these Spaces have no use for.
    process = subprocess.Popen(
        [space_python(version), SPACES / script, str(port), *arguments],
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
    return RunningSpace(process, port, path)


@contextmanager
def running(
    tmp_path_factory: pytest.TempPathFactory, versions: Iterable[str], scripts: Iterable[str], path: str = ""
) -> Iterator[dict[str, RunningSpace]]:
    """These Spaces on these versions, started side by side, by names such as `gallery 6`; none may send us away."""
    with ExitStack() as stack:
        strangers = stack.enter_context(listening_stranger())
        found = {}
        for version in versions:
            for script in scripts:
                space = start_space(
                    tmp_path_factory.mktemp(script),
                    f"{script}.py",
                    version=version,
                    path=path,
                    ELSEWHERE=f"http://127.0.0.1:{strangers.port}/",
                )
                stack.callback(space.kill)
                found[f"{script} {version}"] = space
        for space in found.values():
            space.wait_until_ready()
        yield found
        assert strangers.visits == 0, "Somebody followed the address to another host."


@pytest.fixture(scope="session")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningSpace]]:
    """The Spaces on the Gradio of the bundled Space; they outlive a test."""
    with running(tmp_path_factory, "6", ("gallery", "narrow")) as found:
        yield found


@pytest.fixture(scope="session")
def old_spaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningSpace]]:
    """The same Spaces on older Gradios."""
    with running(tmp_path_factory, "54", ("gallery", "narrow")) as found:
        yield found


@pytest.fixture(scope="session")
def troubled_space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSpace]:
    """The Space whose server goes wrong on demand; tests ask for `troubled`."""
    with running(tmp_path_factory, "6", ("troubled",), "/studio/art") as found:
        yield found["troubled 6"]


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
        try:
            yield stranger
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def gallery(spaces: dict[str, RunningSpace]) -> RunningSpace:
    """The Space with an endpoint for every way in which an endpoint behaves."""
    return spaces["gallery 6"]


@pytest.fixture
def narrow(spaces: dict[str, RunningSpace]) -> RunningSpace:
    """The Space that lets nobody wait."""
    return spaces["narrow 6"]


@pytest.fixture(params=["6", "5", "4"], ids=lambda version: f"gradio{version}")
def version(request: pytest.FixtureRequest) -> str:
    """A major version of Gradio; a test that asks for it, or for a fixture below, runs on each."""
    return str(request.param)


@pytest.fixture
def spaces_of_version(request: pytest.FixtureRequest, version: str) -> dict[str, RunningSpace]:
    """The Spaces of this version by the names of their scripts."""
    found = request.getfixturevalue("spaces" if version == "6" else "old_spaces")
    return {script: found[f"{script} {version}"] for script in ("gallery", "narrow")}


@pytest.fixture
def each_gallery(spaces_of_version: dict[str, RunningSpace]) -> RunningSpace:
    """`gallery` on each version of Gradio."""
    return spaces_of_version["gallery"]


@pytest.fixture
def each_narrow(spaces_of_version: dict[str, RunningSpace]) -> RunningSpace:
    """`narrow` on each version of Gradio."""
    return spaces_of_version["narrow"]


@pytest.fixture
def troubled(troubled_space: RunningSpace) -> Iterator[Callable[..., RunningSpace]]:
    """Gives the Space after telling its server which routes go wrong and how; afterwards none does."""

    def go_wrong(**routes: str) -> RunningSpace:
        body = json.dumps({path.replace("_", "/"): how for path, how in routes.items()}).encode()
        asked = urllib.request.Request(
            f"{troubled_space.root}/trouble", body, {"content-type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(asked, timeout=5).close()
        return troubled_space

    yield go_wrong
    go_wrong()


@pytest.fixture
def temp_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This process' folder for temporary files; whatever a test did, nothing may be left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def engine_for(temp_dir: Path) -> Iterator[MakeEngine]:
    """Makes engines, closes them, and proves that their threads end and that they left no file."""
    before = set(threading.enumerate())
    made: list[GradioEngine] = []

    def make(
        url: str, api_name: str = "/six", token_hosts: tuple[str, ...] = (), max_result_bytes: int = 2**24
    ) -> GradioEngine:
        made.append(GradioEngine(url, api_name, token_hosts, max_result_bytes))
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


def heard_by_the_space(picture: bytes) -> list[object]:
    """What the Space was told, as it wrote it into its picture."""
    with Image.open(BytesIO(picture)) as image:
        image.load()
        heard: list[object] = json.loads(image.text["said"])
        return heard


def calls(space: RunningSpace) -> dict[str, list[str]]:
    """Which painters of this Space began, which ended, and their steps."""
    with urllib.request.urlopen(f"{space.root}/calls", timeout=5) as response:
        found: dict[str, list[str]] = json.load(response)
        return found


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether this comes true in time."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        if holds():
            return True
        time.sleep(0.05)
    return False


def stands_still(space: RunningSpace, prompt: str) -> bool:
    """Whether a patient painter makes no more steps, although it has many to go."""
    before = calls(space)["steps"].count(prompt)
    time.sleep(0.35)
    return calls(space)["steps"].count(prompt) == before < 200
