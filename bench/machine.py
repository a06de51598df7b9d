"""Which machine measured, and how quiet it was: a fixed loop before and after, and what others used meanwhile."""

import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from bench.processes import machine_busy_s, processor_s

PACKAGES = ("Flask", "gunicorn", "rq", "redis", "SQLAlchemy", "Pillow", "gradio_client")
LOOPS = 5
STEPS = 1_000_000


@dataclass(frozen=True)
class Calibration:
    """How long the fixed loop took, in milliseconds: the median of five, and the slowest; more means a busy machine."""

    median_ms: float
    slowest_ms: float

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.median_ms:.0f} ms, slowest {self.slowest_ms:.0f} ms"


def calibrate() -> Calibration:
    """Run the fixed loop five times."""
    taken = []
    for _loop in range(LOOPS):
        began = time.perf_counter()
        total = 0
        for step in range(STEPS):
            total += step & 7
        taken.append((time.perf_counter() - began) * 1000)
    return Calibration(statistics.median(taken), max(taken))


class Neighbours:
    """How many cores others used while the block lasted: all that the machine spent, less what this program and its
    children did.
    """

    cores = 0.0

    def __enter__(self) -> "Neighbours":
        self._began = time.monotonic(), self._spent_by_others()
        return self

    def __exit__(self, *_error: object) -> None:
        seconds = time.monotonic() - self._began[0]
        self.cores = max(0.0, (self._spent_by_others() - self._began[1]) / seconds)

    def _spent_by_others(self) -> float:
        return machine_busy_s() - processor_s([os.getpid()])


@dataclass(frozen=True)
class Machine:
    """The machine and the versions."""

    processor: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    versions: dict[str, str]

    @property
    def lines(self) -> list[str]:
        """For people."""
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return [
            f"{self.processor}, {self.cores} cores, {self.memory_gb:.0f} GiB, Linux {self.kernel}",
            f"Python {self.python}, {versions}",
        ]

    def as_json(self) -> dict[str, object]:
        """The same as plain values."""
        return asdict(self)


def this_machine() -> Machine:
    """What can be said about this machine."""
    return Machine(
        processor=_value_of("/proc/cpuinfo", "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=int((_value_of("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 1024**2,
        kernel=platform.release(),
        python=platform.python_version(),
        versions={name: version(name) for name in PACKAGES},
    )


def _value_of(file: str, name: str) -> str | None:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
