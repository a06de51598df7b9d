"""`make bench-scale`: whether many orders, or a long queue, make the site slower.

    make bench-scale                    or    .venv/bin/python -m bench.scale [rows] [queue] [--rows 1000000]

Two applications stand side by side on one MariaDB and one Redis, one with little in it and one with much. Every
question is asked of both in turn, so that a slower machine is slower for both. Milliseconds are of this process and
its servers, without the network; an order's photograph is small, so that its decoding hides nothing.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask
from sqlalchemy import text

from bench import gallery, sweep
from bench.figures import Figure, Goal
from bench.report import Report, json_path
from bench.support import CHUNK, fill, two_applications
from ghibli_flask import queueing
from ghibli_flask.database import transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.services import history, repair
from ghibli_flask.services.allowances import guest_of
from ghibli_flask.services.gallery import wall
from ghibli_flask.services.payers import Member
from tests.support.member import Member as MemberBrowser
from tests.support.member import member
from tests.support.visitor import Visitor

LITTLE = 1_000
OWN = 100
SHORT, LONG = 10, 10_000
STUCK = 20
SLOWEST, NO_SLOWER = 1.3, 1.1
"""The goals as ratios: a thousand times the rows may cost three tenths, a long queue nothing but a tenth of noise."""
UNLIMITED = {
    "guest_daily_limit": 10**9, "guest_daily_limit_per_address": 10**9, "orders_per_minute": 0,
    "stuck_after_s": 24 * 3600,
}  # fmt: skip

Apps = tuple[Flask, Flask]
Ask = Callable[[], object]


class Pair:
    """Questions to the application with little and the one with much, in turn."""

    def __init__(self, apps: Apps, names: tuple[str, str], goal: float, rounds: int, calls: int) -> None:
        self.apps, self._names, self._goal = apps, names, goal
        self._rounds, self._calls = rounds, calls
        self.figures: list[Figure] = []

    def compare(self, name: str, make: Callable[[int], Ask], prepare: Callable[[int], Ask] | None = None) -> None:
        """Time what `make` gives for application 0 and 1; `prepare` gives what comes before each call, untimed."""
        asks = [make(number) for number in (0, 1)]
        before = [prepare(number) if prepare else None for number in (0, 1)]
        medians = []
        for turn in range(self._rounds + 1):
            taken: tuple[list[float], list[float]] = ([], [])
            for _call in range(self._calls if turn else 1):
                for number in (0, 1):
                    taken[number].append(_milliseconds(asks[number], before[number]))
            medians.append((statistics.median(taken[0]), statistics.median(taken[1])))
        del medians[0]  # One call of each warmed up.
        ratios = tuple(much / little for little, much in medians)
        for number, words in enumerate(self._names):
            self.figures.append(Figure(f"{name}, {words}", "ms", tuple(pair[number] for pair in medians)))
        self.figures.append(Figure(f"{name}, ratio", "times", ratios, Goal(self._goal)))

    def ask_service(self, name: str, make: Callable[[int], Ask], prepare: Callable[[int], Ask] | None = None) -> None:
        """The same for questions to a service, which are asked within an application's context."""
        self.compare(
            name,
            lambda number: within(self.apps[number], make(number)),
            (lambda number: within(self.apps[number], prepare(number))) if prepare else None,
        )


def within(app: Flask, ask: Ask) -> Ask:
    """The same question, asked within the application's context."""

    def asked() -> object:
        with app.app_context():
            return ask()

    return asked


def _milliseconds(ask: Ask, before: Ask | None) -> float:
    if before:
        before()
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def many_rows(apps: Apps, rows: int, rounds: int = 5, calls: int = 20) -> list[Figure]:
    """Accept, poll, history, gallery and sweep with 1,000 rows and with so many, in two empty databases."""
    browsers = [member(app) for app in apps]
    for app, browser, count in zip(apps, browsers, (LITTLE, rows), strict=True):
        with app.app_context():
            _fill(browser, count)
    pair = Pair(apps, (f"{LITTLE:,} rows", f"{rows:,} rows"), SLOWEST, rounds, calls)
    _accept_and_poll(pair)
    _own_pictures(pair, browsers)
    _walls(pair)
    _sweeps(pair)
    return pair.figures


def _fill(browser: MemberBrowser, rows: int) -> None:
    """So many ended orders, nearly all in the gallery; a hundred are the usual member's, a tenth somebody's."""
    owner = f"user:{browser.user_id}"
    usual = f"IF(seq % {rows // OWN} = 1, '{owner}', CONCAT('user:other-', seq % 5000))"
    fill(1, rows, f"IF(seq % 10 = 0, 'user:busy', {usual})")
    gallery.share(1, rows)
    sweep.make_payers(datetime.now(UTC))


def _accept_and_poll(pair: Pair) -> None:
    guests = [Visitor(app) for app in pair.apps]
    ordered = [guest.ordered() for guest in guests]
    pair.compare("accept an order", lambda number: guests[number].ordered)
    pair.compare("poll, status in Redis", lambda number: lambda: guests[number].poll(ordered[number]))

    def forget(number: int) -> Ask:
        return within(pair.apps[number], lambda: runtime().redis.delete(f"task:{ordered[number]}:status"))

    pair.compare("poll, from the row", lambda number: lambda: guests[number].poll(ordered[number]), forget)


def _own_pictures(pair: Pair, browsers: Sequence[MemberBrowser]) -> None:
    def page(user_id: str, cursor: history.Cursor | None = None) -> Ask:
        place = cursor.text if cursor else None
        return lambda: history.page(Member(user_id, guest_of(None, "192.0.2.1")), history.Filters(), place)

    oldest = history.Cursor(newer=False, row=300)
    pair.ask_service("history, a member with 100 pictures", lambda number: page(browsers[number].user_id))
    pair.ask_service("history, a member with a tenth of all", lambda number: page("busy"))
    pair.ask_service("history, the oldest of a tenth of all", lambda number: page("busy", oldest))
    pair.compare("GET /api/tasks", lambda number: lambda: _fetched(browsers[number], "/api/tasks"))


def _walls(pair: Pair) -> None:
    def forget(_number: int) -> Ask:
        return lambda: runtime().redis.flushdb()

    guests = [Visitor(app) for app in pair.apps]
    middle = gallery.EPOCH + LITTLE // 2
    deep = gallery.Cursor(False, datetime.fromtimestamp(middle, UTC), gallery.FARTHEST_ROW).text
    pair.ask_service(
        "gallery, first page, not cached", lambda _number: lambda: wall(gallery.Filters(), None, 24), forget
    )
    pair.ask_service(
        "gallery, a deep page, not cached", lambda _number: lambda: wall(gallery.Filters(), deep, 24), forget
    )
    pair.compare("GET /api/share/list", lambda number: lambda: _fetched(guests[number], "/api/share/list"))


def _sweeps(pair: Pair) -> None:
    rounds = iter(range(1, 1_000_000))

    def stick(_number: int) -> Ask:
        kinds = (["late", "silent", "unheard"] * STUCK)[:STUCK]
        return lambda: sweep.make_stuck(kinds, datetime.now(UTC), next(rounds))

    pair.ask_service("sweep, nothing stuck", lambda _number: repair.sweep)
    pair.ask_service(f"sweep, {STUCK} stuck", lambda _number: repair.sweep, stick)


def _fetched(visitor: Visitor, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 200, answer.get_data(as_text=True)


def long_queue(apps: Apps, waiting: int = LONG, rounds: int = 5, calls: int = 20) -> list[Figure]:
    """Accept, poll and queue position behind 10 and behind so many waiting orders, in two empty queues."""
    lasts = []
    for app, count in zip(apps, (SHORT, waiting), strict=True):
        with app.app_context():
            lasts.append(_wait_in_line(count))
    pair = Pair(apps, (f"{SHORT} waiting", f"{waiting:,} waiting"), NO_SLOWER, rounds, calls)
    guests = [Visitor(app) for app in apps]
    pair.compare("accept an order", lambda number: guests[number].ordered)
    pair.compare("poll the last in the queue", lambda number: lambda: guests[number].poll(lasts[number]))
    pair.ask_service("queue position of the last", lambda number: lambda: queueing.position(lasts[number], 1))
    return pair.figures


def _wait_in_line(count: int) -> str:
    """So many orders wait in database and queue, and a worker with 128 slots is busy; gives the last one's id."""
    now = datetime.now(UTC).replace(tzinfo=None)
    payer = "CONCAT('guest:', SHA2(seq, 256))"
    insert = text(
        f"INSERT INTO image_tasks ({sweep.COLUMNS}) SELECT MD5(CONCAT('waits', seq)), {payer}, {payer}, "
        "'image-to-image', '', 'ghibli', 1, 'queued', 0, 'queued', 0, 1, 0, 0, 1, 0, NULL, :day, SHA2(seq, 256), "
        f":now, :now, NULL, :deadline, NULL, NULL FROM seq_1_to_{count}"
    )
    values = {"day": now.date(), "now": now, "deadline": now + timedelta(days=1)}
    transaction(lambda session: session.execute(insert, values))
    transaction(lambda session: session.execute(text("ANALYZE TABLE image_tasks")))
    line = text("SELECT public_id FROM image_tasks WHERE status = 'queued' ORDER BY id")
    ids = [public_id for (public_id,) in transaction(lambda session: session.execute(line).all())]
    for first in range(0, len(ids), CHUNK):
        queueing.ring_all([(public_id, 1) for public_id in ids[first : first + CHUNK]])
    queueing.tell_load("bench", 128, 128, [5.0] * 20)
    return ids[-1]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", choices=["rows", "queue", []], help="rows, queue; both without a name")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, default=json_path("scale"))
    options = parser.parse_args()
    cases = {
        "rows": (f"1,000 and {options.rows:,} orders on MariaDB, in turn", lambda apps: many_rows(apps, options.rows)),
        "queue": (f"{SHORT} and {LONG:,} orders in the queue, in turn", long_queue),
    }
    report = Report()
    for name in options.case or cases:
        words, measure = cases[name]
        with two_applications(**UNLIMITED) as apps:
            report.add(name, words, lambda measure=measure, apps=apps: measure(apps))
    report.finish(options.json)


if __name__ == "__main__":
    main()
