"""How long the administrators' pages take on MariaDB, with 1,000 and with 1,000,000 orders side by side.

    make bench-overview                 or    .venv/bin/python -m bench.overview [--rows 1000000]

It fills a throw-away MariaDB so that one order came every second until the moment at which the clock is stopped:
86,400 of them within the day that the overview tells of. Milliseconds are the fastest and the median of so many calls,
whole pages with their templates.
"""

import argparse
from collections.abc import Callable
from contextvars import Context
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from flask import Flask
from sqlalchemy import text

from bench.support import CHUNK, application, fill, timed, told
from ghibli_flask.clock import FixedClock
from ghibli_flask.database import db, transaction
from ghibli_flask.extensions import install_runtime, runtime
from ghibli_flask.services import order_figures
from tests.support.member import Member, member

ADMIN = "operator@example.org"
DAY = 86_400
"""So many orders come within a day."""


def tell_more(rows: int) -> None:
    """Give the orders of the last day what `fill` leaves out: engine and start, and a reason to those that failed."""
    told_why = "engine = 'gradio', started_at = created_at, error_code = IF(status = 'failed', 'engine_timeout', NULL)"
    for first in range(max(1, rows - DAY), rows + 1, CHUNK):
        some = text(f"UPDATE image_tasks SET {told_why} WHERE id BETWEEN {first} AND {min(rows, first + CHUNK - 1)}")
        transaction(lambda session, some=some: session.execute(some))


def stand_at_end(app: Flask, rows: int) -> None:
    """Stop the clock a minute after the newest order."""
    end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=rows + 60)
    install_runtime(app, replace(runtime(), clock=FixedClock(end)))


def measure(browser: Member) -> None:
    """Every page and every question once, printed as a table."""
    with db.engine.connect() as connection:
        present = connection.exec_driver_sql("SELECT COUNT(*) FROM image_tasks").scalar_one()
    print(f"\n{present:,} orders", flush=True)
    now = runtime().clock.now()
    questions: dict[str, Callable[[], object]] = {
        "what waits": order_figures.waiting,
        "orders by the hour": lambda: order_figures.by_hour(now),
        "the newest orders": lambda: order_figures.of_newest(now),
        "the latest failures": lambda: order_figures.latest_failures(now),
    }
    for name, question in questions.items():
        print(told(name, timed(question)), flush=True)
    for address in (
        "/admin/",
        "/admin/ui/tasks",
        "/admin/ui/tasks?state=failed",
        "/admin/ui/tasks?state=queued&owner=nobody",
        "/admin/ui/tasks?style=night&engine=kie",
        "/admin/ui/tasks?id=abcd",
        "/admin/ui/queues",
    ):
        # Outside of the application's context, which would be every request's own and remember who is signed in.
        assert Context().run(browser.get, address).status_code == 200
        times = timed(lambda address=address: Context().run(browser.get, address).get_data())
        print(told(address.removeprefix("/admin"), times), flush=True)


def main() -> None:
    """Fill, measure, fill more, measure again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    owner = "CONCAT('user:other-', seq % 5000)"
    with application(admin_emails=(ADMIN,)) as app:
        stand_at_end(app, 1_000)
        browser = Context().run(member, app, ADMIN)
        for begin, end in ((1, 1_000), (1_001, options.rows)):
            fill(begin, end, owner)
            tell_more(end)
            stand_at_end(app, end)
            measure(browser)


if __name__ == "__main__":
    main()
