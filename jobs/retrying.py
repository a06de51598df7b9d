"""How often and after which pauses an engine that says "busy" is asked again. Called by `jobs.chain`."""

from __future__ import annotations

import time
from collections.abc import Callable

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential_jitter,
)
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from ghibli_flask.settings import Settings
from jobs.engines.base import Deadline, EngineBusy, PaintingCancelled

LONGEST_PAUSE_S = 30.0
TICK_S = 0.25


def busy_retries(settings: Settings, deadline: Deadline, is_cancelled: Callable[[], bool]) -> Retrying:
    """Tries with growing, jittered pauses inside one deadline; MAX_RETRY_ATTEMPTS, RETRY_DELAY and the engine's word.

    The last refusal is raised as it is. A pause ends with PaintingCancelled when the order is cancelled.
    """
    return Retrying(
        retry=retry_if_exception_type(EngineBusy),
        stop=StopWhenEngineSays(deadline)
        | stop_after_attempt(settings.max_retry_attempts)
        | stop_after_delay(deadline.remaining()),
        wait=WaitAsEngineSays(settings.retry_delay / 1000, deadline),
        sleep=lambda seconds: pause(seconds, is_cancelled),
        reraise=True,
    )


class StopWhenEngineSays(stop_base):
    """Stop after as many repeats as the refusal itself calls sensible, or when it names a time beyond the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, state: RetryCallState) -> bool:
        """Whether this refusal leaves nothing to wait for: the next engine may have the time that is left."""
        refusal = _refusal(state)
        if refusal is None:
            return False
        used_up = refusal.retries is not None and state.attempt_number > refusal.retries
        too_late = refusal.retry_after is not None and refusal.retry_after >= self._deadline.remaining()
        return used_up or too_late


class WaitAsEngineSays(wait_base):
    """Exponential pauses with jitter, longer when the refusal names a time, never past the deadline."""

    def __init__(self, first_s: float, deadline: Deadline) -> None:
        self._growing = wait_exponential_jitter(multiplier=first_s, max=LONGEST_PAUSE_S)
        self._deadline = deadline

    def __call__(self, state: RetryCallState) -> float:
        """Seconds until the next try."""
        refusal = _refusal(state)
        named = refusal.retry_after if refusal and refusal.retry_after else 0.0
        return min(max(self._growing(state), named), self._deadline.remaining())


def pause(seconds: float, is_cancelled: Callable[[], bool]) -> None:
    """Sleep in short steps; raises PaintingCancelled as soon as the order is cancelled."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        if is_cancelled():
            raise PaintingCancelled("stopped between two tries")
        time.sleep(min(TICK_S, left))


def _refusal(state: RetryCallState) -> EngineBusy | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, EngineBusy) else None
