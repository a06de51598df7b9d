"""A circuit breaker for each engine: after failures in a row an engine is left alone, and a probe tries it again.

Held by `jobs.process` for all runs of a painting worker, used by `jobs.chain`. Each worker process learns by itself:
that costs a few calls more than a shared state, and spares every order a question to Redis.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 3
FIRST_REST_S = 15.0
LONGEST_REST_S = 300.0


class Breaker:
    """Whether an engine may be called. Safe over threads.

    Closed, it lets every call through. Open, it lets none through until its rest is over; then one caller probes while
    the others are still refused, and the probe closes it or lengthens the rest.
    """

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        """`now` gives seconds on a clock that never goes back."""
        self._name, self._now = name, now
        self._lock = threading.Lock()
        self._failures = 0
        self._rest = FIRST_REST_S
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused at present."""
        with self._lock:
            return self._open_until is not None

    def allows(self, probe: Callable[[], bool]) -> bool:
        """Whether to call the engine now. `probe` asks it cheaply, and is called by one caller at a time."""
        with self._lock:
            if self._open_until is None:
                return True
            if self._probing or self._now() < self._open_until:
                return False
            self._probing = True
        answers = False
        try:
            answers = probe()
        finally:
            self._end_of_probe(answers)
        return answers

    def succeeded(self) -> None:
        """The engine painted, or refused in a way that shows it alive."""
        with self._lock:
            if self._open_until is not None:
                log.info("engine %s answers again", self._name)
            self._close()

    def failed(self) -> None:
        """The engine could not be used."""
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES_IN_A_ROW and self._open_until is None:
                self._open(self._rest)

    def _end_of_probe(self, answers: bool) -> None:
        with self._lock:
            self._probing = False
            if answers:
                log.info("engine %s answers again", self._name)
                self._close()
            else:
                self._rest = min(self._rest * 2, LONGEST_REST_S)
                self._open(self._rest)

    def _open(self, seconds: float) -> None:
        log.warning("engine %s is left alone for %.0f s", self._name, seconds)
        self._open_until = self._now() + seconds

    def _close(self) -> None:
        self._failures, self._rest, self._open_until = 0, FIRST_REST_S, None
