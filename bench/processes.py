"""What processes cost: memory, processor time, threads and files, read from /proc. Used by the measurements (Linux)."""

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
SAMPLE_EVERY_S = 0.25


def family(pids: Iterable[int]) -> list[int]:
    """These processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = list(pids)
    for pid in found:
        found += [child for child in children.get(pid, ()) if child not in found]
    return found


def memory_mb(pids: Iterable[int]) -> float:
    """MiB of these processes and their descendants: the proportional set size, in which shared pages count once."""
    kilobytes = 0
    for pid in family(pids):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


def processor_s(pids: Iterable[int]) -> float:
    """Seconds of processor time, user and system, of these processes and their descendants, the ended ones included."""
    ticks = 0
    for pid in family(pids):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS_A_SECOND


def threads_and_files(pids: Iterable[int]) -> tuple[int, int]:
    """How many threads these processes and their descendants have, and how many files are open."""
    threads = files = 0
    for pid in family(pids):
        try:
            threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
            files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except OSError:
            continue
    return threads, files


def machine_busy_s() -> float:
    """Seconds of processor time that this machine has spent on anything, or lost to its host, since it started."""
    name, *ticks = Path("/proc/stat").read_text().splitlines()[0].split()
    assert name == "cpu"
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, ticks[:8])
    return (user + nice + system + interrupts + soft_interrupts + stolen) / TICKS_A_SECOND


class MemoryWatch:
    """The highest memory of some processes while the block lasts, in MiB; threads and files at their highest too."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.idle_mb = self.peak_mb = 0.0
        self.threads = self.files = 0

    def __enter__(self) -> "MemoryWatch":
        self.idle_mb = memory_mb(self._pids)
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_EVERY_S):
            self._look()

    def _look(self) -> None:
        self.peak_mb = max(self.peak_mb, memory_mb(self._pids))
        threads, files = threads_and_files(self._pids)
        self.threads, self.files = max(self.threads, threads), max(self.files, files)
