"""What the runs of one painting process share: its engines, what it says of its load, and when it must stop.

Made by `jobs.worker`; `jobs.paint` asks for it with `painting_process()`.
"""

from __future__ import annotations

import logging
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from flask import Flask, current_app
from redis.exceptions import RedisError

from ghibli_flask import queueing, status
from ghibli_flask.extensions import runtime
from ghibli_flask.mailbox import Mailbox
from ghibli_flask.settings import Settings
from jobs.breaker import Breaker
from jobs.concurrent_worker import stop_is_wanted
from jobs.engines.base import Engine
from jobs.engines.registry import EngineOptions, build_engines

log = logging.getLogger(__name__)

PROCESS_KEY = "ghibli_painting_process"
NEWS_EVERY_S = 10.0


class PaintingProcess:
    """The shared part of a painting worker. Safe over threads."""

    def __init__(self, app: Flask, name: str, slots: int) -> None:
        self._app, self._name, self._slots = app, name, slots
        with app.app_context():
            settings, mailbox = runtime().settings, status.mailbox()
        self.engines: tuple[Engine, ...] = build_engines(settings.engines, engine_options(settings, mailbox))
        self.breakers = {engine.name: Breaker(engine.name) for engine in self.engines}
        self._busy = 0
        self._durations: deque[float] = deque(maxlen=queueing.LAST_DURATIONS)
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._must_stop_at = math.inf
        self._thread = threading.Thread(target=self._tell_news, name="worker-news", daemon=True)
        app.extensions[PROCESS_KEY] = self

    def open(self) -> None:
        """Begin to say how loaded this process is."""
        self._thread.start()

    def close(self) -> None:
        """Let go of the engines, and take back the news."""
        self._done.set()
        self._thread.join()
        for engine in self.engines:
            engine.close()
        with self._app.app_context():
            try:
                queueing.forget_worker(self._name)
            except RedisError:
                log.info("Redis is away; this worker's news expire by themselves.")

    def stop_within(self, seconds: float) -> None:
        """A stop was asked for: runs may finish within this time, then they are handed back."""
        self._must_stop_at = time.monotonic() + seconds

    def must_stop(self) -> bool:
        """Whether the run of this thread is to be handed back: the time is over, or somebody stopped its job in RQ."""
        return time.monotonic() >= self._must_stop_at or stop_is_wanted()

    @property
    def usual_seconds(self) -> float | None:
        """What recent paintings took, None before the first."""
        with self._lock:
            return statistics.median(self._durations) if self._durations else None

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count one run as going on."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def finished(self, seconds: float) -> None:
        """Remember how long a painting took, from claim to picture, and tell the first one at once."""
        with self._lock:
            self._durations.append(seconds)
            is_first = len(self._durations) == 1
        if is_first:
            self._tell()

    def _tell_news(self) -> None:
        with self._app.app_context():
            self._tell()
            while not self._done.wait(NEWS_EVERY_S):
                self._tell()

    def _tell(self) -> None:
        with self._lock:
            busy, durations = self._busy, list(self._durations)
        try:
            resting = [name for name, breaker in self.breakers.items() if breaker.is_open]
            queueing.tell_load(self._name, self._slots, busy, durations, resting)
        except RedisError as error:
            log.debug("The worker's news were not told: %s", error)


def painting_process() -> PaintingProcess:
    """The painting process of the current application."""
    return cast(PaintingProcess, current_app.extensions[PROCESS_KEY])


def engine_options(settings: Settings, mailbox: Mailbox | None) -> EngineOptions:
    """What the engines need to know of the settings."""
    return EngineOptions(
        gradio_url=settings.gradio_url or "",
        gradio_api_name=settings.gradio_api_name,
        gradio_token_hosts=settings.gradio_token_hosts,
        kie_model=settings.kie_model,
        kie_base_url=settings.kie_base_url,
        kie_upload_url=settings.kie_upload_url,
        openai_model=settings.openai_model,
        openai_base_url=settings.openai_base_url,
        processor_url=settings.processor_url or "",
        mailbox=mailbox,
    )
