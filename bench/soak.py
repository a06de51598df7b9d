"""An hour of everything that visitors do, and whether anything grows, leaks or is counted wrongly.

    make soak                    or    .venv/bin/python -m bench.soak
        [--minutes 60] [--rate 6] [--visitors 12] [--delay 2] [--seed 1] [--json FILE]

Real processes on loopback: web, painting worker, maintenance, scheduler, Redis, MariaDB, and a Gradio server that takes
--delay seconds a picture. All visitors together do --rate things a second. Figures are sampled every few seconds; what
grows after the warm-up (the first quarter) by more than is allowed, what is left in temporary folders, answers that
nobody should get and books that do not balance make it end with 1. The painting worker's own renewal after
WORKER_MAX_ORDERS orders is switched off, because it would hide a leak.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from flask import Flask

from bench.growth import HEADING, Trend
from bench.machine import Neighbours, this_machine
from bench.site import Site, running_site
from bench.soak_crowd import Pace, Photos, Wanderer, site_url
from bench.soak_signs import Signs
from ghibli_flask.clock import Clock, FixedClock
from ghibli_flask.factory import create_app
from ghibli_flask.settings import Settings
from scripts.processes import wait_until
from tests.chaos.audit import complaints, files_in, unfinished
from tests.chaos.crowd import Told
from tests.support.member import confirmed_account

MEMBERS_PART = 0.4
SAMPLES = 360
SLOWEST_SAMPLE_S = 1.0
QUIET_S = 5.0
ENDS_WITHIN_S = 120.0
LONGEST_LIST = 20


@dataclass
class Report:
    """What came of it."""

    minutes: float
    trends: list[Trend] = field(default_factory=list)
    facts: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Figures that may grow, because orders are kept: at the begin and at the end."""
    done: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    answers: int = 0
    slowest_s: float = 0.0
    others_cores: float = 0.0
    left_over: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    books: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        """Everything that is wrong, in words; none after a good run."""
        grown = [f"{trend.name} grows by {trend.per_hour:.1f} an hour" for trend in self.trends if not trend.is_flat]
        left = [f"left in a temporary folder: {path}" for path in self.left_over]
        return [*grown, *left, *self.broken, *self.books]

    def as_json(self) -> dict[str, object]:
        """Everything as plain values, with the machine."""
        return {"machine": this_machine().as_json(), **asdict(self), "complaints": self.complaints}

    @property
    def lines(self) -> list[str]:
        """The table, and the verdict."""
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))
        facts = [f"  {name:<34}{began:10.1f}{ended:10.1f}" for name, (began, ended) in self.facts.items() if ended]
        wrong = self.complaints
        return [
            *this_machine().lines,
            f"{self.minutes:.1f} minutes, {self.orders} orders, {self.answers} answers, the slowest "
            f"{self.slowest_s:.2f} s; other programs used {self.others_cores:.1f} cores",
            done,
            HEADING,
            *(trend.line for trend in self.trends),
            "  kept with the orders:",
            *facts,
            *wrong[:LONGEST_LIST],
            f"{len(wrong)} complaints" if wrong else "nothing grows, nothing is left, the books are right",
        ]


def soak(folder: Path, *, minutes: float, rate: float, visitors: int, delay: float, seed: int) -> Report:
    """One run in this empty folder; everything that it starts is stopped again."""
    with running_site(folder) as site:
        site.use_workers(site.program(WORKER_MAX_ORDERS="1000000", WORKER_MEMORY_MB="4000"))
        site.space.set_delay(delay)
        app = application(site)
        members = [f"member-{number}@example.org" for number in range(round(visitors * MEMBERS_PART))]
        with app.app_context():
            for email in members:
                confirmed_account(email)
        return _run(site, app, members, Report(minutes), rate, visitors, seed)


def application(site: Site, clock: Clock | None = None) -> Flask:
    """An application of this process on the site's database, Redis and store."""
    settings = Settings(
        _env_file=None,
        database_url=site.env["DATABASE_URL"],
        redis_url=site.env["REDIS_URL"],
        gradio_url=site.space.url,
        instance_dir=Path(site.env["INSTANCE_DIR"]),
        monthly_credits=1_000_000,  # What the members begin with: none of them is to run out of pictures.
        log_dir=site.folder / "soak-logs",
        log_level="WARNING",
    )
    return create_app(settings, clock=clock, for_worker=True)


def _run(site: Site, app: Flask, members: list[str], report: Report, rate: float, visitors: int, seed: int) -> Report:
    told, over, pace, photos = Told(), threading.Event(), Pace(rate), Photos()
    emails = [*members, *[None] * (visitors - len(members))]
    crowd = [
        Wanderer(site_url(site.port), seed * 1000 + number, told, photos, pace, over, email)
        for number, email in enumerate(emails)
    ]
    signs, seconds = Signs(site), report.minutes * 60
    ends_at = time.monotonic() + seconds
    with Neighbours() as neighbours:
        for wanderer in crowd:
            wanderer.start()
        while time.monotonic() < ends_at:
            signs.look()
            time.sleep(max(SLOWEST_SAMPLE_S, seconds / SAMPLES))
        over.set()
        for wanderer in crowd:
            wanderer.join()
    report.others_cores = neighbours.cores
    _come_to_rest(site, app, report, signs)
    report.trends = [series.trend() for series in signs.series.values()]
    report.facts = {name: (points[0][1], points[-1][1]) for name, points in signs.facts.items()}
    report.done = dict(sum((wanderer.done_counts for wanderer in crowd), Counter()))
    report.orders, report.answers, report.slowest_s = len(set(told.accepted.values())), told.asked, told.slowest_s
    report.broken = told.broken
    for program in (site.scheduler, *site.workers, site.maintenance, site.web):
        program.stop()
    report.left_over += [str(path) for path in signs.left_over()]
    ahead = application(site, FixedClock(datetime.now(UTC) + timedelta(minutes=65)))
    told.accepted = {task_id: task_id for task_id in told.accepted.values()}
    report.books = complaints(ahead, told, partial(files_in, Path(site.env["INSTANCE_DIR"]) / "files"))
    return report


def _come_to_rest(site: Site, app: Flask, report: Report, signs: Signs) -> None:
    """Wait until every order has ended, and see that nothing is held on to afterwards."""
    if not wait_until(lambda: not unfinished(app), ENDS_WITHIN_S, every=0.5):
        report.broken.append(f"{len(unfinished(app))} orders had not ended {ENDS_WITHIN_S:.0f} s after the last one")
    wait_until(lambda: not signs.left_over(), QUIET_S, every=0.2)
    report.left_over = [str(path) for path in signs.left_over()]


def main() -> int:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=6, help="what all visitors do together in a second")
    parser.add_argument("--visitors", type=int, default=12)
    parser.add_argument("--delay", type=float, default=2, help="seconds that a painting takes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where everything is written as JSON, too")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        report = soak(
            Path(folder), minutes=chosen.minutes, rate=chosen.rate, visitors=chosen.visitors, delay=chosen.delay,
            seed=chosen.seed,
        )  # fmt: skip
    if chosen.json:
        chosen.json.write_text(json.dumps(report.as_json(), indent=2))
    print("\n".join(report.lines))
    return 1 if report.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
