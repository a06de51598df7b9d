"""Jobs for the tests of the worker: they wait at gates that a test opens, in the same process."""

import threading
from collections import defaultdict

from jobs.concurrent_worker import stop_is_wanted

GATES: dict[str, threading.Event] = defaultdict(threading.Event)
STARTED: list[str] = []
PATIENCE_S = 20.0

_lock = threading.Lock()
_present = 0
MOST_PRESENT = [0]


def wait_at(gate: str) -> str:
    """Wait until the test opens this gate, or until somebody asks RQ to stop this job."""
    global _present
    with _lock:
        STARTED.append(gate)
        _present += 1
        MOST_PRESENT[0] = max(MOST_PRESENT[0], _present)
    try:
        for _ in range(int(PATIENCE_S / 0.01)):
            if GATES[gate].wait(0.01) or stop_is_wanted():
                return gate
        raise TimeoutError(f"Nobody opened {gate}.")
    finally:
        with _lock:
            _present -= 1


def meet(barrier: str, parties: int) -> None:
    """Return when so many of these jobs are here at the same time."""
    with _lock:
        meeting = BARRIERS.setdefault(barrier, threading.Barrier(parties))
    meeting.wait(PATIENCE_S)


BARRIERS: dict[str, threading.Barrier] = {}


def break_down() -> None:
    """Fail."""
    raise RuntimeError("on purpose")


def forget() -> None:
    """Begin the next test with closed gates."""
    GATES.clear()
    STARTED.clear()
    BARRIERS.clear()
    MOST_PRESENT[0] = 0
