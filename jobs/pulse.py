"""The life signs of one run: heartbeats to its row, progress to the live status, and the sign to stop.

`jobs.paint` opens a `Pulse` around the engine call. While the call waits, two threads of the process beat for all
runs in hand; nothing of the calling thread's session crosses over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import cast

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from ghibli_flask import status
from ghibli_flask.clock import epoch_ms
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.services import runs
from ghibli_flask.services.runs import Beat, Run
from ghibli_flask.task_states import Stage, progress_of
from jobs.engines.base import News
from jobs.rounds import Rounds

log = logging.getLogger(__name__)

BEAT_EVERY_S = 15.0
PUBLISH_EVERY_S = 5.0
PUBLISH_AT_MOST_EVERY_S = 0.5
PUBLISHING_S = 1.0
LOOK_EVERY_S = 1.0
SLOW_S = 0.3
REST_S = 5.0
"""After an answer of Redis that took longer than SLOW_S, the painting does not ask again for so long."""
MOST_OF_A_GUESS = 0.95
PULSES_KEY = "ghibli_pulses"


class Pulse:
    """Life signs of a run, from `with` to its end; safe to call from the run's thread while others beat for it."""

    def __init__(self, app: Flask, run: Run, usual_seconds: float | None, is_stopping: Callable[[], bool]) -> None:
        self._pulses, self._run = _pulses_of(app), run
        self._usual_seconds, self._is_stopping = usual_seconds, is_stopping
        self._lock = threading.Lock()
        self._lost = threading.Event()
        self._live = run.live
        self._painting_since: float | None = None
        self._last_published = self._last_look = self._rests_until = time.monotonic()

    def __enter__(self) -> Pulse:
        self._pulses.heartbeats.join(self)
        self._pulses.news.join(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pulses.heartbeats.leave(self)
        self._pulses.news.leave(self)

    @property
    def is_lost(self) -> bool:
        """Whether the task is no longer this run's: cancelled, swept or given to another attempt."""
        return self._lost.is_set()

    def is_cancelled(self) -> bool:
        """Whether to end the call now; looks at the live status at most once a second."""
        if self._is_stopping() or self._lost.is_set():
            return True
        now = time.monotonic()
        if now - self._last_look >= LOOK_EVERY_S and now >= self._rests_until:
            self._last_look = now
            self._look()
            self._rest_when_slow(now)
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
        now = time.monotonic()
        is_time = is_new_stage or now - self._last_published >= PUBLISH_AT_MOST_EVERY_S
        if is_time and now >= self._rests_until:
            self._publish()
            self._rest_when_slow(now)

    def _rest_when_slow(self, asked_at: float) -> None:
        if time.monotonic() - asked_at > SLOW_S:
            self._rests_until = time.monotonic() + REST_S

    def _publish(self) -> None:
        with self._lock:
            self._last_published = time.monotonic()
            self._live = replace(self._live, updated_at=epoch_ms(runtime().clock.now()))
            live = self._live
        status.publish(self._run.known_as, live)

    def _look(self) -> None:
        """A live status that ended, or that belongs to another attempt, is the quick sign; the row has the say."""
        seen = status.read(self._run.known_as)
        moved_on = seen is None or seen.state.is_terminal or seen.attempt != self._run.attempt
        if not moved_on:
            return
        try:
            if not runs.is_mine(self._run):
                self._lost.set()
        except Unavailable:
            log.warning("The database is away; run %s of %s goes on", self._run.attempt, self._run.public_id)

    def beat(self) -> Beat:
        """What the heartbeat writes to the row."""
        with self._lock:
            return Beat(self._run, self._live.progress, Stage(self._live.stage), self._live.engine)

    def lose(self) -> None:
        """The heartbeat found the task in other hands."""
        self._lost.set()

    @property
    def news_are_due(self) -> bool:
        """Whether the live status was last published too long ago."""
        return time.monotonic() - self._last_published >= PUBLISH_EVERY_S

    def publish_again(self) -> None:
        """Publish the live status although nothing was told, so that it goes on being believed."""
        self._guess()
        self._publish()

    def _guess(self) -> None:
        """Where an engine tells no progress, move on by what recent paintings took."""
        with self._lock:
            if self._painting_since is None or not self._usual_seconds:
                return
            fraction = min(MOST_OF_A_GUESS, (time.monotonic() - self._painting_since) / self._usual_seconds)
            percent = progress_of(Stage.PAINTING, fraction)
            self._live = replace(self._live, progress=max(self._live.progress, percent))


@dataclass(frozen=True)
class _Pulses:
    """The two threads that beat for all runs of a process."""

    heartbeats: Rounds[Pulse]
    news: Rounds[Pulse]


def _pulses_of(app: Flask) -> _Pulses:
    made = _Pulses(Rounds(app, "heartbeats", _Heartbeats()), Rounds(app, "live-status", _publish_due))
    return cast(_Pulses, app.extensions.setdefault(PULSES_KEY, made))


class _Heartbeats:
    """Writes the heartbeats of all runs together every 15 s."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, pulses: Sequence[Pulse]) -> None:
        """One round."""
        if time.monotonic() - self._last < BEAT_EVERY_S:
            return
        self._last = time.monotonic()
        beats = {pulse.beat(): pulse for pulse in pulses}
        try:
            lost = runs.beat_all(list(beats))
        except (Unavailable, SQLAlchemyError) as error:
            log.warning("The heartbeats of %s runs could not be written: %s", len(pulses), error)
            return
        for beat in lost:
            beats[beat].lose()


def _publish_due(pulses: Sequence[Pulse]) -> None:
    """Publish what was not for a while; when Redis is slow, some wait for the next round."""
    ends_at = time.monotonic() + PUBLISHING_S
    for pulse in pulses:
        if pulse.news_are_due and time.monotonic() < ends_at:
            pulse.publish_again()
