"""What the tests of the bad day share: a visitor, workers in this process and outside it, Spaces that misbehave."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from PIL import Image
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from ghibli_flask import queueing
from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading, transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models import Allowance, DiscardedFile, ImageTask
from ghibli_flask.services import files, repair, runs
from ghibli_flask.services.repair import SweepReport
from ghibli_flask.services.runs import Run
from ghibli_flask.task_states import TaskState
from jobs.worker import PaintingWorker
from scripts.processes import wait_until
from tests.engines.conftest import RunningSpace, listening_stranger, start_space
from tests.support.checkout import offline_env
from tests.support.redis_server import RedisServer
from tests.support.server import Server

MOODS = Path(__file__).parent / "spaces/moods.py"
NOBODY = "http://127.0.0.1:1"
TOKEN_LIKE = ("hf_secretsecret", "hf_abcdefghijklmnop")


def photo(number: int = 0) -> bytes:
    """A small picture; each number gives another one."""
    file = BytesIO()
    Image.new("RGB", (320, 256), (number, 40, 90)).save(file, "PNG")
    return file.getvalue()


class Visitor:
    """A browser with the guest cookie; `fields` of an order are the API's own."""

    def __init__(self, app: Flask, like: "Visitor | None" = None) -> None:
        self._client = app.test_client()
        if like is None:
            self.token = self._client.get("/api/csrf").json["csrfToken"]
            return
        self.token = like.token
        for name in ("guest", "session"):
            self._client.set_cookie(name, like._client.get_cookie(name).value)

    def _headers(self, **more: str) -> dict[str, str]:
        return {"X-CSRFToken": self.token, **more}

    def try_to_order(self, number: int = 0, key: str | None = None, **fields: Any) -> TestResponse:
        """Order a painting of photo(number) and give the answer, whatever it is."""
        headers = self._headers(**({"Idempotency-Key": key} if key else {}))
        data = {"image": (BytesIO(photo(number)), "photo.png"), **fields}
        return self._client.post("/api/generate-image", data=data, headers=headers)

    def order(self, number: int = 0, **fields: Any) -> str:
        """Order a painting that must be accepted; gives the task's id."""
        answer = self.try_to_order(number, **fields)
        assert answer.status_code == 202, answer.text
        return answer.json["taskId"]

    def poll(self, task_id: str) -> dict[str, Any]:
        """What the page is told."""
        return self._client.get(f"/api/poll-task?taskId={task_id}").json

    def get(self, path: str) -> TestResponse:
        """Any address."""
        return self._client.get(path)

    def cancel(self, task_id: str) -> TestResponse:
        """Stop an order."""
        return self._client.post(f"/api/tasks/{task_id}/cancel", headers=self._headers())

    def delete(self, task_id: str) -> TestResponse:
        """Delete an order."""
        return self._client.delete(f"/api/tasks/{task_id}", headers=self._headers())


@pytest.fixture
def clock() -> FixedClock:
    """The clock of the applications of this process; it moves when a test moves it."""
    return FixedClock(datetime.now(UTC))


@pytest.fixture
def web(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """The web side; no painter is reachable through it."""
    return app_factory(clock=clock)


@pytest.fixture
def visitor(web: Flask) -> Visitor:
    """A visitor of `web`."""
    return Visitor(web)


# --- Painting in this process ---


class BurstWorker(PaintingWorker):
    """The painting worker, able to run in any thread until the queue is empty: it leaves the signals alone."""

    def _install_signal_handlers(self) -> None:
        """The tests' own signal handlers stay."""


def paint_waiting(app: Flask, most: int | None = None) -> None:
    """Paint what waits, as a worker process does, and end when the queue is empty or `most` orders were taken."""
    with app.app_context():
        queue = queueing.paint_queue()
    BurstWorker(app, queue, f"burst-{threading.get_ident()}").work(burst=True, logging_level="WARNING", max_jobs=most)


@pytest.fixture
def painter(app_factory: Callable[..., Flask], clock: FixedClock) -> Callable[..., Flask]:
    """Make the application of a worker for a Space, with quick retries; settings can be overridden by name."""

    def make(space: RunningSpace | str = NOBODY, api_name: str = "/six", **overrides: Any) -> Flask:
        url = space if isinstance(space, str) else space.url
        quick = {"retry_delay": 10, **overrides}
        return app_factory(clock=clock, for_worker=True, gradio_url=url, gradio_api_name=api_name, **quick)

    return make


# --- Painting in processes that may be killed ---


class WorkerProcess(Server):
    """`python worker.py` from a copy of the checkout."""

    name = "worker"

    def __init__(
        self, folder: Path, checkout: Path, redis_server: RedisServer, env: dict[str, str], preface: str = ""
    ) -> None:
        super().__init__(folder)
        self._checkout, self._redis, self._env = checkout, redis_server, env
        self._words = ["-c", f"{preface}\nimport worker\nworker.main([])"] if preface else ["worker.py"]

    def command(self) -> Sequence[str | Path]:
        return [self._checkout / ".venv/bin/python", *self._words]

    def cwd(self) -> Path:
        return self._checkout

    def env(self) -> dict[str, str]:
        return self._env

    def answers(self) -> bool:
        with self._redis.client() as client:
            return any(name.endswith(f"-{self.pid}") for name in client.hkeys("ghibli:workers"))

    def wait_for_end(self) -> int:
        """Wait until it ends by itself, or by its own hand, and give the exit code."""
        process, self._process = self._process, None
        return process.wait(30)

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def terminate(self) -> int:
        """Ask for a warm stop, wait for it and give the exit code."""
        self.ask_to_stop()
        return self.wait_for_end()


@pytest.fixture
def worker_process(
    web: Flask, checkout: Path, redis_server: RedisServer, database_url: str, tmp_path: Path
) -> Iterator[Callable[..., WorkerProcess]]:
    """Start real painting workers for `web`'s orders; whatever a test did to them, they are gone after it.

    Settings can be given by name; `preface` is Python that runs before the worker.
    """
    settings = web.extensions["ghibli_runtime"].settings
    made: list[WorkerProcess] = []

    def start(space: RunningSpace, api_name: str, preface: str = "", **more: str) -> WorkerProcess:
        folder = tmp_path / f"worker-{len(made)}"
        temporary = folder / "tmp"
        temporary.mkdir(parents=True)
        env = offline_env(
            DATABASE_URL=database_url,
            REDIS_URL=redis_server.url,
            INSTANCE_DIR=str(settings.instance_dir),
            GRADIO_URL=space.url,
            GRADIO_API_NAME=api_name,
            TMPDIR=str(temporary),
            **more,
        )
        made.append(WorkerProcess(folder, checkout, redis_server, env, preface))
        made[-1].start()
        return made[-1]

    yield start
    for worker in made:
        worker.kill()


# --- Spaces ---


@pytest.fixture(scope="session")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningSpace]]:
    """The Spaces of these tests, started side by side; nobody may follow the gallery's redirect."""
    with ExitStack() as stack:
        stranger = stack.enter_context(listening_stranger())
        running = {}
        for name, script in (("gallery", "gallery.py"), ("moods", str(MOODS))):
            folder = tmp_path_factory.mktemp(name)
            running[name] = start_space(folder, script, ELSEWHERE=f"http://127.0.0.1:{stranger.port}/")
            stack.callback(running[name].kill)
        for space in running.values():
            space.wait_until_ready()
        yield running
        assert stranger.visits == 0, "Somebody followed the address to another host."


@pytest.fixture
def gallery(spaces: dict[str, RunningSpace]) -> RunningSpace:
    """The engine tests' Space: /six paints at once, /slow as many tenths of a second as the seed says."""
    return spaces["gallery"]


@pytest.fixture
def moods(spaces: dict[str, RunningSpace]) -> RunningSpace:
    """The Space of spaces/moods.py."""
    return spaces["moods"]


def calls(space: RunningSpace, kind: str, words: str) -> int:
    """How many calls of this kind ("started", "stopped", …) whose prompt ends with these words a Space has had."""
    prompts = requests.get(f"{space.url}/calls", timeout=5).json()[kind]
    return sum(prompt.endswith(words) for prompt in prompts)


def wait_for_call(space: RunningSpace, words: str, kind: str = "started") -> None:
    """Return as soon as a Space has had such a call."""
    assert wait_until(lambda: calls(space, kind, words) > 0, 20), f"No call with {words} {kind}."


# --- Moving on, and looking ---


def sweep(app: Flask) -> SweepReport:
    """One sweep, now."""
    with app.app_context():
        return repair.sweep()


def sweep_after_silence(app: Flask, clock: FixedClock) -> SweepReport:
    """The first sweep that may take the silence of a worker for its death."""
    clock.moment = max(clock.moment, datetime.now(UTC))
    sweep(app)
    clock.advance(seconds=50)
    return sweep(app)


def row(app: Flask, task_id: str) -> ImageTask:
    """The row of a task, deleted or not."""
    with app.app_context(), reading() as session:
        return session.scalars(select(ImageTask).where(ImageTask.public_id == task_id)).one()


def edit(app: Flask, task_id: str, **values: Any) -> None:
    """Change a row behind the application's back."""
    statement = update(ImageTask).where(ImageTask.public_id == task_id).values(**values)
    with app.app_context():
        transaction(lambda session: session.execute(statement))


def claim(app: Flask, task_id: str) -> Run | None:
    """Take an order off the queue and claim it, as a worker does; None when somebody else was first."""
    with app.app_context():
        queueing.unring(task_id, 1)
        return runs.claim(task_id)


def tries_used(app: Flask) -> list[int]:
    """What every browser and every address has used up."""
    with app.app_context(), reading() as session:
        return sorted(session.scalars(select(Allowance.used)))


def task_count(app: Flask) -> int:
    """How many orders there are."""
    with app.app_context(), reading() as session:
        return len(session.scalars(select(ImageTask.id)).all())


def stored_files(app: Flask) -> set[str]:
    """The keys of all files on disk."""
    folder = Path(app.instance_path) / "files"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def assert_nothing_left(app: Flask, clock: FixedClock) -> None:
    """After the cleanup: no file without a row, no row without its file, no ring without an order."""
    clock.moment = max(clock.moment, datetime.now(UTC))
    clock.advance(minutes=61)
    with app.app_context():
        files.drain()
        with reading() as session:
            waiting = [entry.key for entry in session.scalars(select(DiscardedFile))]
            tasks = session.scalars(select(ImageTask)).all()
        queue = queueing.paint_queue()
        redis = runtime().redis
        rings = redis.lrange(queue.key, 0, -1) + redis.lrange(queue.intermediate_queue_key, 0, -1)
    assert waiting == []
    owned = [key for task in tasks for key in (task.source_key, task.result_key, task.thumbnail_key) if key]
    assert sorted(owned) == sorted(stored_files(app))
    assert {ring.decode() for ring in rings} <= {
        queueing.job_id(task.public_id, task.ring) for task in tasks if task.status == TaskState.QUEUED
    }


def running_rings(app: Flask) -> list[str]:
    """The rings that Redis believes to be painted now."""
    with app.app_context():
        return list(queueing.paint_queue().started_job_registry.get_job_ids(cleanup=False))


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Run these in threads that start together; gives their answers in order, and raises the first error."""
    barrier = threading.Barrier(len(actions))
    answers: list[Any] = [None] * len(actions)
    errors: list[BaseException] = []

    def run(index: int, action: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            answers[index] = action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=item) for item in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return answers


@contextmanager
def meanwhile(action: Callable[[], Any]) -> Iterator[threading.Thread]:
    """Run this in a thread while the block goes on, and wait for its end."""
    thread = threading.Thread(target=action)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def seconds_of(action: Callable[[], Any]) -> tuple[float, Any]:
    """How long this took, and what it gave."""
    began_at = time.monotonic()
    answer = action()
    return time.monotonic() - began_at, answer
