"""`make worker`, typed as on a server: the workers alone, beside web processes that somebody else started."""

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image

from scripts.processes import LOOPBACK, wait_until
from scripts.procfile import process_env, read_procfile
from tests.engines.conftest import RunningSpace, start_space
from tests.run.make_run import MakeRun, type_make
from tests.support.checkout import offline_env
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.site import SiteProcess

MOODS = Path(__file__).parents[1] / "faults/spaces/moods.py"
WORKERS = ("worker.py", "worker.py maintenance", "worker.py scheduler")
NOBODY = "http://127.0.0.1:1"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSpace]:
    """A Space that paints for as many tenths of a second as the seed says."""
    space = start_space(tmp_path_factory.mktemp("moods"), str(MOODS))
    space.wait_until_ready()
    yield space
    space.kill()


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path, moods: RunningSpace) -> dict[str, str]:
    """What web processes and workers have in common."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "INSTANCE_DIR": str(tmp_path / "instance"),
        "GRADIO_URL": moods.url,
        "GRADIO_API_NAME": "/patient",
    }


@pytest.fixture
def web(checkout: Path, tmp_path: Path, settings: dict[str, str]) -> Iterator[str]:
    """Web processes of their own; gives their address."""
    port = str(free_port())
    env = process_env(offline_env(HOST=LOOPBACK, PORT=port, **settings), checkout)
    process = SiteProcess("web", read_procfile(checkout)["web"], checkout, env, tmp_path / "web")
    process.start()
    yield f"http://{LOOPBACK}:{port}"
    process.stop()


def is_complete(run: MakeRun) -> bool:
    """Wait until both workers and the scheduler run."""
    return wait_until(lambda: sum("worker.py" in command for command in run.processes().values()) == 3, 60)


def order(web: str, seconds: int) -> str:
    """Order a painting that takes so long, as a program would; gives the task's id."""
    photo = io.BytesIO()
    Image.new("RGB", (320, 240), (seconds, 90, 40)).save(photo, "JPEG")
    answer = requests.post(
        f"{web}/api/generate-image",
        files={"image": ("photo.jpg", photo.getvalue())},
        data={"seed": str(10 * seconds)},
        timeout=10,
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["taskId"]


def state(web: str, task_id: str) -> str:
    """What the page is told."""
    return requests.get(f"{web}/api/poll-task", params={"taskId": task_id}, timeout=10).json()["status"]


def test_workers_beside_a_web_process(
    make_run: Callable[..., MakeRun], settings: dict[str, str], web: str, redis_server: RedisServer
) -> None:
    """`make worker` checks its neighbours, paints what the web side accepts, and on SIGTERM first finishes it."""
    run = make_run("worker", **settings)
    assert is_complete(run), run.output
    commands = list(run.processes().values())
    assert all(any(command.strip().endswith(part) for command in commands) for part in WORKERS)
    assert not any("gunicorn" in command or "app.py" in command for command in commands)
    database, redis = [line for line in run.output.splitlines() if "answers" in line]
    assert database.startswith("The database answers and is up to date (sqlite:///")
    assert redis == f"Redis answers ({redis_server.url})."

    quick, patient = order(web, 0), order(web, 4)
    assert wait_until(lambda: state(web, quick) == "SUCCESS", 60), run.output
    assert wait_until(lambda: state(web, patient) == "PROCESSING", 60), run.output
    os.kill(run.process.pid, signal.SIGTERM)
    run.finish(90)
    assert state(web, patient) == "SUCCESS", run.output
    assert run.left_behind() == []
    assert "Traceback" not in run.output


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("REDIS_URL", "Nothing answers at REDIS_URL (redis://…@127.0.0.1:1/0)."),
        ("DATABASE_URL", "Nothing answers at the address of the database (mysql+pymysql://…@127.0.0.1:1/ghibli)."),
    ],
)
def test_a_neighbour_that_is_away(
    wrong: str, line: str, checkout: Path, tmp_path: Path, settings: dict[str, str]
) -> None:
    """Without its database or Redis `make worker` ends with a line that names it and hides the password."""
    address = {"REDIS_URL": "redis://:a-password@127.0.0.1:1/0"}.get(
        wrong, "mysql+pymysql://ghibli:a-password@127.0.0.1:1/ghibli"
    )
    code, output = type_make(checkout, tmp_path, "worker", **{**settings, wrong: address})
    assert code != 0
    assert line in output.splitlines()
    assert "Traceback" not in output
    assert "a-password" not in output


def test_a_database_without_its_tables(checkout: Path, tmp_path: Path, settings: dict[str, str]) -> None:
    """Before the migrations `make worker` says which command to run."""
    empty = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    code, output = type_make(checkout, tmp_path, "worker", **{**settings, "DATABASE_URL": empty})
    assert code != 0
    assert output.startswith(f"The database ({empty}) is not up to date. Run make migrate first.")


def test_make_worker_needs_a_redis(checkout: Path, tmp_path: Path) -> None:
    """Without a Redis in the settings `make worker` says what to do instead."""
    code, output = type_make(checkout, tmp_path, "worker")
    assert code != 0
    assert output.startswith("REDIS_URL is not set")


def test_python_worker_alone(
    checkout: Path, settings: dict[str, str], web: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """`python worker.py` needs no manager: it waits for a Redis that comes up after it, and paints."""
    env = process_env(offline_env(**settings), checkout)
    worker = SiteProcess("worker", "python worker.py", checkout, env, tmp_path / "alone")
    redis_server.stop()
    worker.start()
    try:
        assert wait_until(lambda: "Redis is away, the worker waits for it" in worker.tail(), 30)
        redis_server.start()
        task_id = order(web, 0)
        assert wait_until(lambda: state(web, task_id) == "SUCCESS", 30), worker.tail()
    finally:
        worker.stop()
