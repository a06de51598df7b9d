"""The application's one runtime: settings, clock and Redis, and the Flask extensions that need an object.

The factory puts a `Runtime` into `app.extensions`; services, front doors and jobs ask for it with `runtime()`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

import redis
from flask import Flask, current_app
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ghibli_flask.clock import Clock
from ghibli_flask.settings import Settings

RUNTIME_KEY = "ghibli_runtime"
AWAY_MEMORY_S = 1.0

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)
"""What redis-py raises when the server cannot be reached; every caller treats these as "Redis is away"."""


class RedisAwayError(RedisConnectionError):
    """Raised without trying, for a moment after a connection failed, so that an outage costs nobody seconds."""


class WebRedis(redis.Redis):
    """A client for the web side: no retries, half-second timeouts, and a short memory that the server is away."""

    _away_until = 0.0

    def execute_command(self, *args: object, **options: object) -> object:
        """Run one command; raises one of REDIS_AWAY at once while the server is remembered as away."""
        self._refuse_while_away()
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except REDIS_AWAY:
            self._remember_away()
            raise

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> redis.client.Pipeline:
        """Open a pipeline; refused like a command while the server is remembered as away."""
        self._refuse_while_away()
        return super().pipeline(transaction, shard_hint)

    def _refuse_while_away(self) -> None:
        if time.monotonic() < self._away_until:
            raise RedisAwayError("Redis was away a moment ago")

    def _remember_away(self) -> None:
        self._away_until = time.monotonic() + AWAY_MEMORY_S


def web_redis(address: str) -> redis.Redis:
    """The client of the web processes, where nothing may wait long for a dead neighbour."""
    return WebRedis.from_url(
        address,
        socket_timeout=0.5,
        socket_connect_timeout=0.5,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


def worker_redis(address: str) -> redis.Redis:
    """The client of workers: reconnects after 50 ms growing to 2 s, three tries for a command."""
    return redis.Redis.from_url(
        address,
        socket_timeout=None,
        socket_connect_timeout=5,
        retry=Retry(ExponentialBackoff(cap=2.0, base=0.05), 3),
        retry_on_error=list(REDIS_AWAY),
        health_check_interval=30,
    )


@dataclass(frozen=True)
class Runtime:
    """What the whole application shares: read-only, made once by the factory."""

    settings: Settings
    clock: Clock
    redis: redis.Redis


def install_runtime(app: Flask, runtime: Runtime) -> None:
    """Hand the runtime to an application."""
    app.extensions[RUNTIME_KEY] = runtime


def runtime() -> Runtime:
    """The runtime of the current application."""
    return cast(Runtime, current_app.extensions[RUNTIME_KEY])
