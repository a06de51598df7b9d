"""Many orders in one worker process beside a process for each: time, memory and processor per order.

    make bench-workers                  or    .venv/bin/python -m bench.worker_concurrency
        [--many 200] [--few 10] [--delay 20] [--database URL] [--json FILE]

Starts what it needs: a Redis, a Gradio server that takes --delay seconds for every call, and the workers. All orders
are accepted while RQ is suspended and begin together. The database is a SQLite file unless a migrated one is named;
its orders are left in it. Memory is the proportional set size of all worker processes together, at its highest.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import redis
from PIL import Image
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job
from sqlalchemy import select

from ghibli_flask import queueing
from ghibli_flask.database import db, reading
from ghibli_flask.factory import create_app
from ghibli_flask.models import ImageTask
from ghibli_flask.settings import load_settings
from jobs.process import PaintingProcess
from scripts.embedded_redis import find_redis_program, redis_answers, redis_command
from scripts.processes import LOOPBACK, free_port, start_process, wait_until
from scripts.procfile import ROOT
from scripts.space_check import space_answers

PHOTO = ROOT / "docs/photographs/china.jpg"
PYTHON = ROOT / ".venv/bin/python"
SUSPENDED = "rq:suspended"
PATIENCE_S = 600.0


class WorkerOfOneOrder(Worker):
    """RQ's own worker: a process is forked for every job, and connects by itself."""

    app = None

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """What the forked process does."""
        with self.app.app_context():
            db.engine.dispose(close=False)
        PaintingProcess(self.app, self.name, slots=1)
        super().main_work_horse(job, queue)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run the job in the application."""
        with self.app.app_context():
            return super().perform_job(job, queue, execution)


def work_forking() -> None:
    """Be one worker that forks; the measurement starts this program again for it."""
    WorkerOfOneOrder.app = create_app(for_worker=True)
    with WorkerOfOneOrder.app.app_context():
        queue = queueing.paint_queue()
    WorkerOfOneOrder([queue], name=f"forking-{os.getpid()}", connection=queue.connection).work(logging_level="WARNING")


@contextmanager
def running(command: list[str | Path], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block lasts."""
    with log.open("ab") as output:
        process = start_process(command, env=env, cwd=ROOT, output=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(90)


def photo(number: int) -> bytes:
    """A photograph of 0.8 megapixels; the comment makes each one's bytes its own."""
    out = BytesIO()
    with Image.open(PHOTO) as image:
        image.convert("RGB").resize((1024, 768)).save(out, "JPEG", quality=88, comment=f"{time.time()} {number}")
    return out.getvalue()


def accept(app, count: int) -> list[str]:
    """Accept so many orders; gives their ids."""
    client = app.test_client()
    accepted = []
    for number in range(count):
        data = {"image": (BytesIO(photo(number)), "photo.jpg")}
        answer = client.post("/api/generate-image", data=data)
        if answer.status_code != 202:
            raise SystemExit(f"an order was refused: {answer.text}")
        accepted.append(answer.json["taskId"])
    return accepted


def rows(app, ids: list[str]) -> list[ImageTask]:
    """The rows of these orders."""
    with app.app_context(), reading() as session:
        return list(session.scalars(select(ImageTask).where(ImageTask.public_id.in_(ids))))


def family(pids: list[int]) -> list[int]:
    """These processes and all that descend from them."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = list(pids)
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    return found


def memory_mb(pids: list[int]) -> float:
    """The proportional set size of these processes and their children."""
    kilobytes = 0
    for pid in family(pids):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


def threads_and_files(pids: list[int]) -> tuple[int, int]:
    """How many threads these processes have, and how many files are open."""
    threads = files = 0
    for pid in family(pids):
        try:
            threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
            files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except OSError:
            continue
    return threads, files


def processor_s(pids: list[int]) -> float:
    """The processor time of these processes, with the children that have ended."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(app, client: redis.Redis, env: dict[str, str], folder: Path, *, kind: str, at_once: int, delay: float):
    """Have `at_once` orders painted together by one process, or by so many that fork."""
    command = [PYTHON, "worker.py"] if kind == "one process" else [PYTHON, "-m", "bench.worker_concurrency", "--fork"]
    count = 1 if kind == "one process" else at_once
    client.flushall()
    client.set(SUSPENDED, 1)
    with ExitStack() as stack:
        env = {**env, "WORKER_CONCURRENCY": str(at_once)}
        workers = [stack.enter_context(running(command, env, folder / "workers.log")) for _ in range(count)]
        pids = [worker.pid for worker in workers]
        ready = wait_until(lambda: client.scard("rq:workers") == count, 120)
        if not ready:
            raise SystemExit(f"The workers did not start; see {folder / 'workers.log'}.")
        idle_mb, began_cpu = memory_mb(pids), processor_s(pids)
        ids = accept(app, at_once)
        client.delete(SUSPENDED)
        began_at, peak_mb, most_in_hand, threads, files = time.monotonic(), 0.0, 0, 0, 0
        while True:
            states = [row.status for row in rows(app, ids)]
            most_in_hand = max(most_in_hand, states.count("processing"))
            peak_mb = max(peak_mb, memory_mb(pids))
            threads, files = map(max, zip((threads, files), threads_and_files(pids), strict=True))
            if not {"queued", "processing"} & set(states):
                break
            if time.monotonic() - began_at > PATIENCE_S:
                raise SystemExit(f"The orders did not end; see {folder / 'workers.log'}.")
            time.sleep(0.5)
        seconds = time.monotonic() - began_at
        used_cpu = processor_s(pids) - began_cpu
    ended = rows(app, ids)
    if any(row.status != "completed" for row in ended):
        raise SystemExit(
            f"Orders failed: {[(row.status, row.error_code) for row in ended if row.status != 'completed']}"
        )
    extra = sorted((row.finished_at - row.started_at).total_seconds() - delay for row in ended)
    return {
        "workers": kind,
        "orders at once": at_once,
        "most in hand": most_in_hand,
        "seconds in all": round(seconds, 1),
        "seconds beside the delay (median)": round(statistics.median(extra), 2),
        "(slowest)": round(extra[-1], 2),
        "idle MB": round(idle_mb),
        "peak MB": round(peak_mb),
        "KB an order": round((peak_mb - idle_mb) * 1024 / at_once),
        "CPU ms an order": round(1000 * used_cpu / at_once),
        "threads": threads,
        "files": files,
    }


def main() -> None:
    """Start the servers, measure in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=int, default=200)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--delay", type=float, default=20.0)
    parser.add_argument("--database")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fork", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fork:
        work_forking()
        return
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        results = run_all(options, Path(name), stack)
    for label in results[0]:
        print(f"{label:<36}" + "".join(f"{result[label]:>20}" for result in results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def run_all(options: argparse.Namespace, folder: Path, stack: ExitStack) -> list[dict[str, object]]:
    """The three measurements, with their servers."""
    redis_port, space_port = free_port(), free_port()
    env = {
        **os.environ,
        "DATABASE_URL": options.database or f"sqlite:///{folder / 'bench.sqlite3'}",
        "REDIS_URL": f"redis://{LOOPBACK}:{redis_port}/0",
        "GRADIO_URL": f"http://{LOOPBACK}:{space_port}",
        "GRADIO_API_NAME": "/paint",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(folder / "gradio"),
        "INSTANCE_DIR": str(folder / "instance"),
        "TMPDIR": str(folder),
        "GUEST_DAILY_LIMIT": "1000000",
        "GUEST_DAILY_LIMIT_PER_ADDRESS": "1000000",
        "ORDERS_PER_MINUTE": "0",
        "LOG_LEVEL": "WARNING",
    }
    (folder / "instance").mkdir()
    stack.enter_context(
        running(redis_command(find_redis_program(), redis_port, folder / "instance"), env, folder / "redis.log")
    )
    space = [ROOT / "space/.venv/bin/python", ROOT / "bench/delayed_space.py", str(space_port), str(options.delay)]
    stack.enter_context(running(space, env, folder / "space.log"))
    subprocess.run([ROOT / ".venv/bin/flask", "--app", "wsgi", "db", "upgrade"], cwd=ROOT, env=env, check=True)
    wait_until(lambda: redis_answers(env["REDIS_URL"]) and space_answers(env["GRADIO_URL"]), 120)
    os.environ.update(env)
    app = create_app(load_settings())
    client = redis.Redis.from_url(env["REDIS_URL"])
    stack.callback(client.close)
    turns = [("one process", options.few), ("a process each", options.few), ("one process", options.many)]
    return [
        measure(app, client, env, folder, kind=kind, at_once=at_once, delay=options.delay) for kind, at_once in turns
    ]


if __name__ == "__main__":
    main()
