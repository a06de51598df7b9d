"""Work that comes round again and again for every run in hand, on one thread for the whole process.

`jobs.pulse` has two of them: one writes the heartbeats to the database, one the live status to Redis. They are
apart so that neither waits when the other's server does not answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from flask import Flask

log = logging.getLogger(__name__)

TICK_S = 0.5

T = TypeVar("T")


class Rounds(Generic[T]):
    """Calls `work` with all members twice a second, in an application context; the thread lives while there are any."""

    def __init__(self, app: Flask, name: str, work: Callable[[Sequence[T]], None]) -> None:
        self._app, self._name, self._work = app, name, work
        self._members: dict[T, None] = {}
        self._lock = threading.Lock()
        self._is_going = False

    def join(self, member: T) -> None:
        """Include this one from the next round on."""
        with self._lock:
            self._members[member] = None
            if not self._is_going:
                self._is_going = True
                threading.Thread(target=self._go, name=self._name, daemon=True).start()

    def leave(self, member: T) -> None:
        """Leave this one out; a round that goes on may still include it once."""
        with self._lock:
            self._members.pop(member, None)

    def _go(self) -> None:
        with self._app.app_context():
            while members := self._present():
                try:
                    self._work(members)
                except Exception:
                    log.exception("A round of %s failed", self._name)
                time.sleep(TICK_S)

    def _present(self) -> tuple[T, ...]:
        with self._lock:
            self._is_going = bool(self._members)
            return tuple(self._members)
