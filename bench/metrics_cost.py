"""What counting costs a poll: the processor time of a poll on a finished task, with the counts and without, in turns.

`.venv/bin/python -m bench.metrics_cost`; needs redis-server. Prints the median of the rounds' ratios, and the same for
the line of the request log as production writes it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from flask.testing import FlaskClient

from ghibli_flask import metrics
from ghibli_flask.factory import create_app
from ghibli_flask.services import service_levels
from ghibli_flask.settings import Settings
from tests.support.checkout import ROOT, migrate, offline_env
from tests.support.redis_server import RedisServer
from tests.support.runs import paint
from tests.support.visitor import Visitor

ROUNDS = 150
POLLS = 40


@contextmanager
def without_counts() -> Iterator[None]:
    """Count nothing meanwhile."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(metrics, "observe", lambda *_: None))
        stack.enter_context(patch.object(service_levels, "answered", lambda *_: None))
        yield


@contextmanager
def without_lines() -> Iterator[None]:
    """Write no line for a request meanwhile."""
    with patch("ghibli_flask.request_log.log.isEnabledFor", lambda _level: False):
        yield


@contextmanager
def with_all() -> Iterator[None]:
    """Leave everything as it is."""
    yield


WAYS: dict[str, Callable[[], object]] = {"as it is": with_all, "no counts": without_counts, "no lines": without_lines}


def polls(client: FlaskClient, address: str) -> float:
    """Microseconds of processor time of a poll, the mean of some."""
    began = time.thread_time()
    for _ in range(POLLS):
        assert client.get(address).status_code == 200
    return (time.thread_time() - began) / POLLS * 1e6


def measure(folder: Path, redis: RedisServer) -> dict[str, list[float]]:
    """Each way's microseconds, round by round: in a round all meet the same mood of the machine."""
    database = f"sqlite:///{folder / 'bench.sqlite3'}"
    migrate(ROOT, offline_env(DATABASE_URL=database, INSTANCE_DIR=str(folder)))
    app = create_app(
        Settings(
            _env_file=None,
            instance_dir=folder,
            database_url=database,
            redis_url=redis.url,
            log_format="json",
            gradio_url="http://127.0.0.1:1",
        )
    )
    visitor = Visitor(app)
    task_id = visitor.ordered()
    paint(app, task_id)
    address = f"/api/poll-task?taskId={task_id}"
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(ROUNDS):
        for name in sorted(WAYS, reverse=bool(number % 2)):
            with WAYS[name]():
                taken[name].append(polls(visitor.client, address))
    metrics.close_metrics(app)
    return taken


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder) / "redis")
        redis.start()
        try:
            taken = measure(Path(folder), redis)
        finally:
            redis.stop()
    whole = taken["as it is"]
    print(f"a poll: {statistics.median(whole):.0f} µs of processor time, the test client's part included")
    for name in ("no counts", "no lines"):
        ratios = [all_of_it / less for all_of_it, less in zip(whole, taken[name], strict=True)]
        print(f"as it is / {name}: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
