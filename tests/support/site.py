"""The whole product as real processes from a copy of the checkout: the `site` fixture, one a session."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import requests

from scripts.processes import LOOPBACK
from scripts.procfile import command_line, process_env, read_procfile
from tests.support.checkout import migrate, offline_env
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.server import Server


class SiteProcess(Server):
    """One line of the Procfile, running."""

    # A worker that is told to stop first finishes its order.
    stop_seconds = 30.0

    def __init__(self, name: str, line: str, checkout: Path, env: Mapping[str, str], logs: Path) -> None:
        self.name = name
        super().__init__(logs)
        self._line, self._checkout, self._env = line, checkout, env

    def command(self) -> Sequence[str | Path]:
        words = command_line(self._line, self._env)
        return [self._checkout / ".venv/bin" / words[0], *words[1:]]

    def env(self) -> Mapping[str, str]:
        return self._env

    def cwd(self) -> Path:
        return self._checkout

    def answers(self) -> bool:
        if self.name != "web":
            return True
        try:
            return requests.get(f"http://{self._env['HOST']}:{self._env['PORT']}/health", timeout=5).ok
        except requests.RequestException:
            return False


class Site:
    """Web, workers and scheduler with a Redis of their own, which is not emptied between tests.

    `site.url` is its address, `site.logs` the folder with a log for each process, `site["worker"]` one
    process that a test may stop, kill or pause: `mend()` has everything running again before the next test.
    """

    def __init__(self, checkout: Path, folder: Path, *, database_url: str, gradio_url: str, **settings: str) -> None:
        self.checkout = checkout
        self.instance_dir = folder / "instance"
        self.logs = folder / "logs"
        self.redis = RedisServer(folder / "redis")
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        temporary = folder / "tmp"
        temporary.mkdir()
        self.env = process_env(
            offline_env(
                HOST=LOOPBACK,
                PORT=str(self.port),
                DATABASE_URL=database_url,
                REDIS_URL=self.redis.url,
                GRADIO_URL=gradio_url,
                INSTANCE_DIR=str(self.instance_dir),
                GUEST_DAILY_LIMIT="10000",
                GUEST_DAILY_LIMIT_PER_ADDRESS="10000",
                ORDERS_PER_MINUTE="0",
                TMPDIR=str(temporary),
                **settings,
            ),
            self.checkout,
        )
        lines = read_procfile(self.checkout)
        self._processes = {
            name: SiteProcess(name, lines[name], self.checkout, self.env, self.logs)
            for name in ("web", "worker", "maintenance", "scheduler")
        }

    def __getitem__(self, name: str) -> SiteProcess:
        return self._processes[name]

    def start(self) -> None:
        """Start everything: Redis, the migrations, then all processes; waits until the web answers."""
        self.redis.start()
        migrate(self.checkout, self.env)
        self.mend()

    def mend(self) -> None:
        """Have every process running and none paused."""
        self.redis.resume()
        self.redis.start()
        for process in self._processes.values():
            process.resume()
            process.launch()
        for process in self._processes.values():
            process.wait()

    def stop(self) -> None:
        """Stop everything, Redis last."""
        for name in ("scheduler", "maintenance", "worker", "web"):
            self._processes[name].stop()
        self.redis.stop()
