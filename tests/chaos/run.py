"""`make chaos`: hundreds of orders while everything dies in turn; ends with 1 when anything was lost.

`python -m tests.chaos.run --seed 1 --orders 500 --seconds 300`. tests/chaos/test_chaos.py runs a short one.
"""

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from ghibli_flask.clock import FixedClock
from ghibli_flask.errors import Unavailable
from tests.chaos.audit import complaints, files_in, unfinished
from tests.chaos.crowd import Asker, Told, Visitor
from tests.chaos.plan import Event, plan
from tests.chaos.town import Town
from tests.support.checkout import copy_checkout
from tests.support.member import confirmed_account

VISITORS = 8
MEMBERS = 3
AFTERWARDS_S = 180.0


@dataclass
class Report:
    """What came of a run."""

    lines: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    kills: list[str] = field(default_factory=list)


class Misfortune(threading.Thread):
    """One event, and how long it took until everything that it met had ended."""

    def __init__(self, town: Town, event: Event, begins_at: float) -> None:
        super().__init__(name=f"{event.kind}-{event.target}")
        self._town, self.event, self._begins_at = town, event, begins_at
        self.answered_s = self.repaired_s = float("nan")
        self.met = 0

    def run(self) -> None:
        """Wait for the moment, strike, and watch."""
        time.sleep(max(0.0, self._begins_at + self.event.at_s - time.monotonic()))
        struck_at = time.monotonic()
        met = self._unfinished()
        self.met = len(met)
        self.answered_s = self._town.befall(self.event)
        while met & self._unfinished(met):
            time.sleep(0.5)
        self.repaired_s = time.monotonic() - struck_at

    def _unfinished(self, otherwise: frozenset[int] | set[int] = frozenset()) -> set[int]:
        try:
            return unfinished(self._town.app)
        except Unavailable:
            return set(otherwise)  # The database is down, here or by another event.

    @property
    def line(self) -> str:
        """The event and its repair in words."""
        met = f", its {self.met} unfinished orders ended after {self.repaired_s:.0f} s" if self.met else ""
        return f"{self.event.line}; answers again after {self.answered_s:.1f} s{met}"


def run(folder: Path, *, seed: int, orders: int, seconds: float, pause_s: float, stuck_after_s: int) -> Report:
    """One run in this empty folder; everything that it starts is stopped again."""
    town = Town(copy_checkout(folder / "checkout"), folder, delay_s=1.0, stuck_after_s=stuck_after_s)
    try:
        town.start()
        return _run(town, seed, orders, seconds, pause_s, stuck_after_s)
    finally:
        town.stop()


def _run(town: Town, seed: int, orders: int, seconds: float, pause_s: float, stuck_after_s: int) -> Report:
    report = Report()
    events = plan(seed, seconds, pause_s=pause_s, fills_disk=town.can_fill_disk)
    report.kills = [event.line for event in events]
    emails = [f"member-{number}@example.org" for number in range(MEMBERS)]
    with town.app.app_context():
        for email in emails:
            confirmed_account(email)
    share = -(-orders // VISITORS)
    visitors = [
        Visitor(
            town, report.told, seed * 100 + number, share, seconds / share, emails[number] if number < MEMBERS else None
        )
        for number in range(VISITORS)
    ]
    asker = Asker(town, report.told)
    begins_at = time.monotonic()
    misfortunes = [Misfortune(town, event, begins_at) for event in events]
    for thread in (*visitors, asker, *misfortunes):
        thread.daemon = True
        thread.start()
    for visitor in visitors:
        visitor.join()
    ends_at = time.monotonic() + stuck_after_s + AFTERWARDS_S
    for misfortune in misfortunes:
        misfortune.join(max(1.0, ends_at - time.monotonic()))
    town.mend()
    app = town.application(FixedClock(datetime.now(UTC) + timedelta(minutes=65)))
    while unfinished(app) and time.monotonic() < ends_at:
        time.sleep(1)
    asker.done.set()
    asker.join()
    report.lines = [misfortune.line for misfortune in misfortunes]
    report.lines.append(_summary(report.told, time.monotonic() - begins_at))
    if not town.can_fill_disk:
        report.lines.append("The disk was not filled: mounting a small tmpfs is not allowed here.")
    _stop_writers(town)
    report.complaints = [*report.told.broken, *complaints(app, report.told, partial(files_in, town.store))]
    return report


def _summary(told: Told, seconds: float) -> str:
    refused = ", ".join(f"{code} {count}" for code, count in sorted(told.refused.items())) or "none"
    return (
        f"{len(told.accepted)} orders accepted, {len(told.given_up)} given up by their visitors, in {seconds:.0f} s; "
        f"{told.asked} answers, the slowest {told.slowest_s:.2f} s; refusals on the way: {refused}"
    )


def _stop_writers(town: Town) -> None:
    for name in ("web-1", "web-2", "scheduler", "worker-1", "worker-2", "maintenance"):
        town.processes[name].stop()


def main() -> int:
    """Run from the command line; the report goes to the terminal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=120)
    parser.add_argument("--stuck-after", type=int, default=300)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        report = run(
            Path(folder),
            seed=chosen.seed,
            orders=chosen.orders,
            seconds=chosen.seconds,
            pause_s=chosen.pause,
            stuck_after_s=chosen.stuck_after,
        )
    print("\n".join([*report.lines, *report.complaints, "nothing was lost" if not report.complaints else "LOST"]))
    return 1 if report.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
