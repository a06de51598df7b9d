"""A Redis of the tests' own: the `redis_server` fixture, which tests may stop, kill, pause and start."""

from collections.abc import Sequence
from pathlib import Path

import redis

from scripts.processes import LOOPBACK
from tests.support.ports import free_port
from tests.support.server import Server, find_program


class RedisServer(Server):
    """A real redis-server or valkey-server on a free loopback port; it keeps nothing on disk."""

    name = "redis"

    def __init__(self, folder: Path, host: str = LOOPBACK) -> None:
        super().__init__(folder)
        self.host, self.port = host, free_port()
        self.url = f"redis://{host}:{self.port}/0"

    def command(self) -> Sequence[str | Path]:
        program = find_program("redis-server", "valkey-server", package="redis-server")
        return [
            program, "--port", str(self.port), "--bind", self.host, "--protected-mode", "no", "--dir", self.folder,
            "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """Give a client that answers with text. To be closed, or used in a `with` block."""
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=5, retry=None)

    def empty(self) -> None:
        """Forget everything, and be up again in case a test stopped or paused the server."""
        self.resume()
        self.start()
        with self.client() as client:
            client.flushall()
