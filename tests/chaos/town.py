"""The whole product twice over, as processes that may be killed: two webs, two painting workers, and the rest."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from flask import Flask

from ghibli_flask.clock import Clock
from ghibli_flask.factory import create_app
from ghibli_flask.settings import Settings
from scripts.processes import LOOPBACK
from scripts.procfile import process_env, read_procfile
from tests.chaos.plan import Event
from tests.support.checkout import ROOT, migrate, offline_env
from tests.support.mariadb_server import MariaDBServer
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.server import Server
from tests.support.site import SiteProcess

STORE_MB = 96
STORE_KEY = "files"


class LastingRedis(RedisServer):
    """A Redis that writes every command down, as a queue's Redis should."""

    def command(self) -> Sequence[str | Path]:
        return [("yes" if before == "--appendonly" else word) for before, word in _pairs(super().command())]


class LastingMariaDB(MariaDBServer):
    """A MariaDB that waits for the disk at every commit, as a server's does."""

    def command(self) -> Sequence[str | Path]:
        lazy = "--innodb-flush-log-at-trx-commit=0"
        return [word for word in super().command() if word != lazy]


class FastSpace(Server):
    """The Space of this folder, with a set delay."""

    name = "space"
    start_seconds = 60.0

    def __init__(self, folder: Path, delay_s: float) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._delay_s = delay_s

    def command(self) -> Sequence[str | Path]:
        return [ROOT / "space/.venv/bin/python", Path(__file__).with_name("space.py"), str(self.port)]

    def env(self) -> Mapping[str, str]:
        quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return offline_env(DELAY_S=str(self._delay_s), GRADIO_TEMP_DIR=str(self.folder / "gradio"), **quiet)

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/config", timeout=5).ok
        except requests.RequestException:
            return False


class Town:
    """Everything, by name; `befall` carries out an event, `mend` has everything running again."""

    def __init__(self, checkout: Path, folder: Path, *, delay_s: float, stuck_after_s: int) -> None:
        self.checkout, self.folder = checkout, folder
        self.instance_dir = folder / "instance"
        self.store = self.instance_dir / STORE_KEY
        self.redis = LastingRedis(folder / "redis")
        self.mariadb = LastingMariaDB(folder / "mariadb")
        self.space = FastSpace(folder / "space", delay_s)
        self.ports = {"web-1": free_port(), "web-2": free_port()}
        self.env = self._environment(stuck_after_s)
        self.processes: dict[str, Server] = {"redis": self.redis, "mariadb": self.mariadb, "space": self.space}
        lines = read_procfile(checkout)
        for name in ("web-1", "web-2", "worker-1", "worker-2", "maintenance", "scheduler"):
            role = name.partition("-")[0]
            env = {**self.env, "PORT": str(self.ports[name])} if name in self.ports else self.env
            self.processes[name] = SiteProcess(role, lines[role], checkout, env, folder / "logs" / name)
        self.down: set[str] = set()
        self._launcher = ThreadPoolExecutor(1, "launcher")
        self._lock = threading.Lock()

    def _environment(self, stuck_after_s: int) -> dict[str, str]:
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True)
        settings = {
            "HOST": LOOPBACK,
            "DATABASE_URL": self.mariadb.url_of("site"),
            "REDIS_URL": self.redis.url,
            "GRADIO_URL": self.space.url,
            "INSTANCE_DIR": str(self.instance_dir),
            "GUEST_DAILY_LIMIT": "10000",
            "GUEST_DAILY_LIMIT_PER_ADDRESS": "100000",
            "MONTHLY_CREDITS": "10000",
            "ORDERS_PER_MINUTE": "0",
            "WORKER_CONCURRENCY": "16",
            "RETRY_DELAY": "200",
            "TASK_TIMEOUT_S": "60",
            "STUCK_AFTER_S": str(stuck_after_s),
            "TMPDIR": str(temporary),
        }
        return process_env(offline_env(**settings), self.checkout)

    def start(self) -> None:
        """Start everything, on a store of limited size where mounting is allowed."""
        self.store.mkdir(parents=True)
        self.can_fill_disk = self._mount()
        for server in (self.redis, self.mariadb, self.space):
            server.launch()
        for server in (self.redis, self.mariadb, self.space):
            server.wait()
        migrate(self.checkout, self.env)
        self.app = self.application()
        self.mend()

    def application(self, clock: Clock | None = None) -> Flask:
        """An application of this process on the town's database and store."""
        settings = Settings(
            _env_file=None,
            database_url=self.env["DATABASE_URL"],
            redis_url=self.redis.url,
            gradio_url=self.space.url,
            instance_dir=self.instance_dir,
            monthly_credits=10000,
        )
        return create_app(settings, clock=clock, for_worker=True)

    def urls(self) -> list[str]:
        """The addresses of the web processes that are up."""
        with self._lock:
            return [f"http://{LOOPBACK}:{port}" for name, port in self.ports.items() if name not in self.down]

    def befall(self, event: Event) -> float:
        """Carry out one event to its end; gives the seconds from the death until the target answered again."""
        began_at = time.monotonic()
        if event.kind == "fill":
            self._fill_disk(event.down_s)
            return time.monotonic() - began_at
        server = self.processes[event.target]
        with self._lock:
            self.down.add(event.target)
        if event.kind == "pause":
            server.pause()
            time.sleep(event.down_s)
            server.resume()
        else:
            server.kill()
            time.sleep(event.down_s)
            self._launch(server)
            server.wait()
        with self._lock:
            self.down.discard(event.target)
        return time.monotonic() - began_at

    def mend(self) -> None:
        """Have every process running and none paused."""
        for server in self.processes.values():
            server.resume()
            self._launch(server)
        for server in self.processes.values():
            server.wait()

    def stop(self) -> None:
        """Stop everything, the databases last, and give the store's mount back."""
        first = [name for name in self.processes if name not in {"redis", "mariadb"}]
        for name in (*first, "redis", "mariadb"):
            self.processes[name].stop()
        self._launcher.shutdown()
        if self.can_fill_disk:
            subprocess.run(["umount", "--lazy", self.store], check=False)

    def _launch(self, server: Server) -> None:
        """Start a process from the one thread that lives as long as the town: processes end with their thread."""
        self._launcher.submit(server.launch).result()

    def _mount(self) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={STORE_MB}m", "tmpfs", self.store]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _fill_disk(self, seconds: float) -> None:
        balloon = self.store / "balloon"
        with balloon.open("wb") as file:
            try:
                while True:
                    file.write(bytes(1024 * 1024))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                time.sleep(seconds)
        balloon.unlink()


def _pairs(words: Sequence[str | Path]) -> list[tuple[str | Path, str | Path]]:
    return list(zip(["", *words], words, strict=False))
