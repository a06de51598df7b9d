"""The whole product on loopback with a Space whose delay is set: what the cases of `make bench` measure.

Processes are started as on a server: the web by the command line of deploy/systemd, in production settings; Redis
writes every command down, MariaDB waits for the disk at every commit.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from bench.support import RoomyMariaDB
from scripts.processes import LOOPBACK, wait_until
from scripts.procfile import process_env, read_procfile
from scripts.space_check import space_answers
from tests.support.checkout import ROOT, copy_checkout, migrate
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.server import Server

HOST = "bench.example.org"
PAINT_WORKERS = "rq:workers:ghibli-paint"
WORKER_START_S = WEB_START_S = 60.0
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LD_LIBRARY_PATH")
"""All that the processes get of the caller's environment: anything else could be a setting."""


class LastingRedis(RedisServer):
    """A Redis that writes every command down at least every second, as deploy/redis has it."""

    def command(self) -> Sequence[str | Path]:
        words = list(super().command())
        words[words.index("--appendonly") + 1] = "yes"
        return [*words, "--appendfsync", "everysec"]


class DelayedSpace(Server):
    """The real Gradio server of `delayed_space.py`."""

    name = "space"
    start_seconds = 120.0

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._env = {**env, "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder / "gradio")}
        self.set_delay(0)

    def command(self) -> Sequence[str | Path]:
        return [
            ROOT / "space/.venv/bin/python",
            Path(__file__).with_name("delayed_space.py"),
            str(self.port),
            self.folder,
        ]

    def env(self) -> Mapping[str, str]:
        return self._env

    def answers(self) -> bool:
        return space_answers(self.url)

    def set_delay(self, seconds: float) -> None:
        """What every call takes from now on."""
        beside = self.folder / "delay.new"
        beside.write_text(str(seconds))
        beside.replace(self.folder / "delay")

    def calls(self) -> dict[str, list[tuple[float, float]]]:
        """When the calls of each order began and ended, by the order's mark; only those that have ended."""
        found: dict[str, list[tuple[float, float]]] = {}
        for line in (self.folder / "calls").read_text().splitlines():
            mark, began, ended = line.split()
            found.setdefault(mark, []).append((float(began), float(ended)))
        return found


class Program(Server):
    """One process of the product, or of something measured beside it."""

    stop_seconds = 30.0

    def __init__(self, name: str, words: Sequence[str | Path], site: "Site", **settings: str) -> None:
        self.name = name
        super().__init__(site.folder / "logs")
        self.settings = settings
        self._words, self._site, self._env = words, site, {**site.env, **settings}

    def command(self) -> Sequence[str | Path]:
        return [self._site.checkout / ".venv/bin" / str(self._words[0]), *self._words[1:]]

    def env(self) -> Mapping[str, str]:
        return self._env

    def cwd(self) -> Path:
        return self._site.checkout

    def answers(self) -> bool:
        return True


class Site:
    """Everything by name. `workers` are the painting workers, usually one; a case may ask for others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.checkout = copy_checkout(folder / "checkout")
        self.port = free_port()
        base = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        base |= {"TMPDIR": str(self.temporary), "PYTHONUNBUFFERED": "1"}
        self.redis = LastingRedis(folder / "redis")
        self.mariadb = RoomyMariaDB(folder / "mariadb")
        self.space = DelayedSpace(folder / "space", base)
        self.env = process_env({**base, **self._settings()}, self.checkout)
        self.web = Program("web", [*web_command(), "--bind", f"{LOOPBACK}:{self.port}", "--backlog", "2048"], self)
        lines = read_procfile(self.checkout)
        self.maintenance = Program("maintenance", lines["maintenance"].split(), self)
        self.scheduler = Program("scheduler", lines["scheduler"].split(), self)
        self.workers: list[Program] = []
        self._worker = lines["worker"].split()

    def _settings(self) -> dict[str, str]:
        return {
            "APP_ENV": "production",
            "APP_URL": f"https://{HOST}",
            "SECRET_KEY": secrets.token_hex(32),
            "TRUSTED_PROXIES": "1",
            "DATABASE_URL": self.mariadb.url_of("site"),
            "REDIS_URL": self.redis.url,
            "GRADIO_URL": self.space.url,
            "INSTANCE_DIR": str(self.folder / "instance"),
            "GUEST_DAILY_LIMIT": "1000000",
            "GUEST_DAILY_LIMIT_PER_ADDRESS": "1000000",
            "ORDERS_PER_MINUTE": "0",
        }

    @property
    def own_pids(self) -> list[int]:
        """The product's own processes: web, painting workers, maintenance worker and scheduler."""
        return [program.pid for program in (self.web, *self.workers, self.maintenance, self.scheduler)]

    @property
    def worker_pids(self) -> list[int]:
        """The painting workers."""
        return [worker.pid for worker in self.workers]

    @property
    def server_pids(self) -> list[int]:
        """Redis and MariaDB, which work for the product."""
        return [self.redis.pid, self.mariadb.pid]

    def start(self) -> None:
        """Start everything and wait until it serves."""
        for server in (self.mariadb, self.redis, self.space):
            server.launch()
        for server in (self.mariadb, self.redis):
            server.wait()
        migrate(self.checkout, self.env)
        for server in (self.web, self.maintenance, self.scheduler):
            server.launch()
        self.use_workers(self.program())
        self.space.wait()
        self._wait_for_web()

    def stop(self) -> None:
        """End everything at once: nothing of it is kept."""
        for server in (self.scheduler, *self.workers, self.maintenance, self.web, self.space, self.redis, self.mariadb):
            server.kill()

    def program(self, **settings: str) -> Program:
        """The product's painting worker, not started yet."""
        return Program("worker", self._worker, self, **settings)

    def use_workers(self, *workers: Program) -> None:
        """Let these paint in place of those that did; waits until they stand at the queue."""
        for worker in self.workers:
            worker.stop()
        with self.redis.client() as client:
            client.delete(PAINT_WORKERS)
            self.workers = list(workers)
            for worker in workers:
                worker.launch()
            if not wait_until(lambda: client.scard(PAINT_WORKERS) == len(workers), WORKER_START_S):
                raise SystemExit(f"The workers did not start. The end of {workers[0].log}:\n{workers[0].tail()}")

    def use_usual_worker(self) -> None:
        """Let one worker with usual settings paint, unless it is at it already."""
        if [worker.settings for worker in self.workers] != [{}] or self.workers[0].name != "worker":
            self.use_workers(self.program())

    def begin_anew(self, **settings: str) -> None:
        """New web processes and one new painting worker with these settings: what earlier rounds left is gone."""
        self.web.stop()
        self.web.launch()
        self.use_workers(self.program(**settings))
        self._wait_for_web()

    def states(self, ids: Sequence[str]) -> dict[str, str]:
        """The state of each of these tasks by the database; what it does not know is missing."""
        if not ids:
            return {}
        marks = ", ".join(["%s"] * len(ids))
        with self.mariadb.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT public_id, status FROM ghibli_site.image_tasks WHERE public_id IN ({marks})", ids)
            return dict(cursor.fetchall())

    def _wait_for_web(self) -> None:
        if not wait_until(self._web_answers, WEB_START_S):
            raise SystemExit(f"The web processes do not answer. The end of {self.web.log}:\n{self.web.tail()}")

    def _web_answers(self) -> bool:
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.get(f"http://{LOOPBACK}:{self.port}/health", timeout=5).ok
        except requests.RequestException:
            return False


def web_command() -> list[str]:
    """The command line of the web processes, as the unit of deploy/systemd has it; its socket comes from systemd."""
    unit = (ROOT / "deploy/systemd/ghibli-web.service").read_text()
    found = re.search(r"^ExecStart=\S*/(gunicorn .*)$", unit, re.MULTILINE)
    assert found, "deploy/systemd/ghibli-web.service starts no gunicorn"
    return found[1].split()


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """The site for as long as the block lasts; the copy of the checkout goes with it."""
    site = Site(folder)
    try:
        site.start()
        yield site
    finally:
        site.stop()
        shutil.rmtree(site.checkout, ignore_errors=True)
