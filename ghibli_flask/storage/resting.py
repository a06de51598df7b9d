"""Which stores are out of order for the moment. `storage.stores` asks before it gives a store a new file."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

FIRST_REST = timedelta(seconds=5)
LONGEST_REST = timedelta(minutes=5)


@dataclass
class _Rest:
    until: datetime
    length: timedelta
    is_probed: bool = False


class Resting:
    """A store that failed rests for 5 s, then for twice as long each time, at most for 5 minutes. Thread-safe."""

    def __init__(self) -> None:
        self._rests: dict[str, _Rest] = {}
        self._lock = threading.Lock()

    def may_try(self, name: str, now: datetime) -> bool:
        """Whether to ask this store. After a rest the first who comes tries it, and the others wait for the outcome."""
        with self._lock:
            rest = self._rests.get(name)
            if rest is None:
                return True
            if now < rest.until:
                return False
            rest.until, rest.is_probed = now + rest.length, True
            return True

    def begin(self, name: str, now: datetime) -> None:
        """The store failed. What was asked before the rest began, and fails now, does not make it longer."""
        with self._lock:
            rest = self._rests.get(name)
            if rest is None:
                self._rests[name] = _Rest(now + FIRST_REST, FIRST_REST)
            elif rest.is_probed:
                length = min(2 * rest.length, LONGEST_REST)
                self._rests[name] = _Rest(now + length, length)

    def end(self, name: str) -> None:
        """The store works."""
        with self._lock:
            self._rests.pop(name, None)

    def until(self, now: datetime) -> dict[str, datetime]:
        """The stores that rest, and until when."""
        with self._lock:
            return {name: rest.until for name, rest in self._rests.items() if rest.until > now}
