"""The life signs of one run: heartbeats to its row, progress to the live status, and the sign to stop.

`jobs.paint` opens a `Pulse` around the engine call. A thread beats while the call waits; it makes its own
application context, and nothing of the calling thread's session crosses over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from ghibli_flask import status
from ghibli_flask.clock import epoch_ms
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.services import runs
from ghibli_flask.services.runs import Run
from ghibli_flask.task_states import Stage, progress_of
from jobs.engines.base import News

log = logging.getLogger(__name__)

BEAT_EVERY_S = 15.0
PUBLISH_EVERY_S = 5.0
PUBLISH_AT_MOST_EVERY_S = 0.5
LOOK_EVERY_S = 1.0
TICK_S = 0.5
MOST_OF_A_GUESS = 0.95


class Pulse:
    """Life signs of a run, from `with` to its end; safe to call from the run's thread while its own thread beats."""

    def __init__(self, app: Flask, run: Run, usual_seconds: float | None, is_stopping: Callable[[], bool]) -> None:
        self._app, self._run = app, run
        self._usual_seconds, self._is_stopping = usual_seconds, is_stopping
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._lost = threading.Event()
        self._live = run.live
        self._painting_since: float | None = None
        self._last_beat = self._last_published = self._last_look = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name=f"pulse-{run.public_id[:8]}", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def is_lost(self) -> bool:
        """Whether the task is no longer this run's: cancelled, swept or given to another attempt."""
        return self._lost.is_set()

    def is_cancelled(self) -> bool:
        """Whether to end the call now; looks at the live status at most once a second."""
        if self._is_stopping() or self._lost.is_set():
            return True
        now = time.monotonic()
        if now - self._last_look >= LOOK_EVERY_S:
            self._last_look = now
            self._look()
        return self._lost.is_set()

    def tell(self, news: News, engine: str | None = None) -> None:
        """Pass on an engine's news: kept at once, published at most twice a second."""
        stage = Stage(news.stage)
        self._advance(stage, progress_of(stage, news.fraction), news, engine)

    def enter(self, stage: Stage, engine: str | None = None) -> None:
        """Say that a stage of our own begins."""
        self._advance(stage, progress_of(stage), None, engine)

    def _advance(self, stage: Stage, percent: float, news: News | None, engine: str | None) -> None:
        with self._lock:
            if stage is not Stage.PAINTING or news is None or news.fraction is not None:
                self._painting_since = None
            elif self._painting_since is None:
                self._painting_since = time.monotonic()
            is_new_stage = stage.value != self._live.stage
            self._live = replace(
                self._live,
                stage=stage.value,
                progress=max(self._live.progress, percent),
                engine=engine or self._live.engine,
                engine_rank=news.rank if news else None,
                engine_eta=news.eta_seconds if news else None,
            )
        if is_new_stage or time.monotonic() - self._last_published >= PUBLISH_AT_MOST_EVERY_S:
            self._publish()

    def _publish(self) -> None:
        with self._lock:
            self._last_published = time.monotonic()
            self._live = replace(self._live, updated_at=epoch_ms(runtime().clock.now()))
            live = self._live
        status.publish(self._run.public_id, live)

    def _look(self) -> None:
        """A live status that ended, or that belongs to another attempt, is the quick sign; the row has the say."""
        seen = status.read(self._run.public_id)
        moved_on = seen is None or seen.state.is_terminal or seen.attempt != self._run.attempt
        if not moved_on:
            return
        try:
            if not runs.is_mine(self._run):
                self._lost.set()
        except Unavailable:
            log.warning("The database is away; run %s of %s goes on", self._run.attempt, self._run.public_id)

    def _beat(self) -> None:
        with self._app.app_context():
            while not self._done.wait(TICK_S):
                now = time.monotonic()
                if now - self._last_beat >= BEAT_EVERY_S:
                    self._last_beat = now
                    self._write()
                if now - self._last_published >= PUBLISH_EVERY_S:
                    self._guess()
                    self._publish()

    def _write(self) -> None:
        with self._lock:
            live = self._live
        try:
            mine = runs.beat(self._run, live.progress, Stage(live.stage), live.engine)
        except (Unavailable, SQLAlchemyError) as error:
            log.warning("A heartbeat of %s could not be written: %s", self._run.public_id, error)
            return
        if not mine:
            self._lost.set()

    def _guess(self) -> None:
        """Where an engine tells no progress, move on by what recent paintings took."""
        with self._lock:
            if self._painting_since is None or not self._usual_seconds:
                return
            fraction = min(MOST_OF_A_GUESS, (time.monotonic() - self._painting_since) / self._usual_seconds)
            percent = progress_of(Stage.PAINTING, fraction)
            self._live = replace(self._live, progress=max(self._live.progress, percent))
