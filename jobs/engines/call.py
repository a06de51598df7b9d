"""One painting's clock and its line to the caller; the engines that speak HTTP by themselves make one for each call."""

from __future__ import annotations

import time
from collections.abc import Callable

from jobs.engines.base import Deadline, News, PaintingCancelled

TICK_S = 0.25
"""How often a waiting call looks whether it was cancelled; also the shortest time between two equal stages' news."""


class Call:
    """What `Engine.paint` was given beside the order. Used by the calling thread alone."""

    def __init__(self, deadline: Deadline, on_news: Callable[[News], None], is_cancelled: Callable[[], bool]) -> None:
        self.deadline = deadline
        self._on_news = on_news
        self._is_cancelled = is_cancelled
        self._last_look = 0.0
        self._last_news: News | None = None
        self._last_told = 0.0

    def check(self) -> None:
        """Raise when the call must not go on. The caller is asked at most once a tick: its answer may cost a query."""
        now = time.monotonic()
        if now - self._last_look >= TICK_S:
            self._last_look = now
            if self._is_cancelled():
                raise PaintingCancelled("The call was cancelled.")
        self.deadline.check()

    def tell(self, news: News) -> None:
        """Pass news on: a change of stage or rank at once, the rest at most once a tick."""
        now = time.monotonic()
        last = self._last_news
        moved = last is None or (news.stage, news.rank) != (last.stage, last.rank)
        if moved or (news != last and now - self._last_told >= TICK_S):
            self._last_news, self._last_told = news, now
            self._on_news(news)

    def tick(self) -> float:
        """Seconds to wait before looking again."""
        return min(TICK_S, self.deadline.remaining())

    def pause(self, seconds: float) -> None:
        """Wait; raises as soon as the call is cancelled or out of time."""
        ends_at = time.monotonic() + seconds
        self.check()
        while (left := ends_at - time.monotonic()) > 0:
            time.sleep(min(left, self.tick()))
            self.check()
