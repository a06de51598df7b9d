"""How long a sweep takes on MariaDB with 1,000,000 orders of which 1,000 are stuck, and whom it keeps waiting.

    make bench-sweep                    or    .venv/bin/python -m bench.sweep [--rows 1000000] [--stuck 1000]

It fills a throw-away MariaDB and a throw-away Redis, and measures: all stuck orders late; a third each late, silent
and unheard of; and the last again while another connection orders in the name of the payers concerned. Prints the
sweep's seconds, and how long those orders waited.
"""

import argparse
import statistics
import threading
import time
from datetime import UTC, date, datetime, timedelta

from flask import Flask
from sqlalchemy import text

from bench.support import CHUNK, application
from ghibli_flask.database import reading, transaction
from ghibli_flask.models import HealthCheck
from ghibli_flask.services import repair

USERS = 500
GUESTS = 500
COLUMNS = (
    "public_id, owner, payer, mode, prompt, style, seed, status, progress, stage, attempt, ring, deaths, handbacks, "
    "charged, refunded, address_subject, paid_on, fingerprint, created_at, queued_at, heartbeat_at, deadline_at, "
    "finished_at, outcome"
)


def fill(rows: int) -> None:
    """So many orders that ended long ago, made inside of the server."""
    day = date(2026, 1, 1)
    first = (
        f"INSERT INTO image_tasks ({COLUMNS}) SELECT MD5(UUID()), CONCAT('user:', 'u', seq % {USERS}), "
        f"CONCAT('user:', 'u', seq % {USERS}), 'image-to-image', 'a quiet harbour', 'ghibli', 1, 'completed', 100, "
        f"'done', 1, 1, 0, 0, 1, 0, NULL, '{day}', MD5(seq), '2026-01-01' + INTERVAL seq SECOND, "
        "'2026-01-01' + INTERVAL seq SECOND, '2026-01-01' + INTERVAL seq SECOND, "
        "'2026-01-01' + INTERVAL seq + 1200 SECOND, '2026-01-01' + INTERVAL seq + 60 SECOND, 'painted' FROM seq_{}"
    )
    for begin in range(0, rows, CHUNK):
        statement = first.replace("{}", f"{begin + 1}_to_{min(rows, begin + CHUNK)}")
        transaction(lambda session, statement=statement: session.execute(text(statement)))
    transaction(lambda session: session.execute(text("ANALYZE TABLE image_tasks")))


def make_payers(now: datetime) -> None:
    """Users with credits, and guests with used tries."""
    users = [
        {"id": f"u{number}", "email": f"u{number}@example.org", "reset": now.replace(tzinfo=None) + timedelta(days=9)}
        for number in range(USERS)
    ]
    guests = [
        {"subject": f"{kind}{number:063d}", "day": now.date(), "used": 10} for kind in "ab" for number in range(GUESTS)
    ]
    user = (
        "INSERT INTO users (id, email, monthly_credits, credits_reset_at, created_at) "
        "VALUES (:id, :email, 30, :reset, NOW())"
    )
    transaction(lambda session: session.execute(text(user), users))
    guest = "INSERT INTO allowances (subject, day, used) VALUES (:subject, :day, :used)"
    transaction(lambda session: session.execute(text(guest), guests))


def make_stuck(kinds: list[str], now: datetime, round_number: int) -> None:
    """One live order for each of these kinds: `late`, `silent` or `unheard`; every second one is a guest's."""
    rows = []
    for number, kind in enumerate(kinds):
        accepted = now - timedelta(hours=1 if kind == "late" else 0, minutes=5)
        is_painting = kind == "silent" or (kind == "late" and number % 4 < 2)
        guest = f"guest:a{number // 2 % GUESTS:063d}"
        payer = guest if number % 2 else f"user:u{number // 2 % USERS}"
        rows.append(
            {
                "public_id": f"{round_number:08d}{number:024d}",
                "payer": payer,
                "status": "processing" if is_painting else "queued",
                "attempt": int(is_painting),
                "address": f"b{number // 2 % GUESTS:063d}" if number % 2 else None,
                "paid_on": now.date(),
                "accepted": accepted.replace(tzinfo=None),
                "heartbeat": (accepted if is_painting else None) and accepted.replace(tzinfo=None),
                "deadline": (accepted + timedelta(minutes=20)).replace(tzinfo=None),
            }
        )
    # A sweep of a moment ago: without one, silence is not taken for death.
    transaction(lambda session: session.add(HealthCheck(kind="sweep", finished_at=now, ok=True, details={})))
    if rows:
        enter(rows)


def enter(rows: list[dict[str, object]]) -> None:
    """Enter these orders, and the charges of those that are a user's."""
    order = (
        f"INSERT INTO image_tasks ({COLUMNS}) VALUES (:public_id, :payer, :payer, 'image-to-image', '', 'ghibli', 1, "
        ":status, 0, 'queued', :attempt, 1, 0, 0, 1, 0, :address, :paid_on, MD5(:public_id), :accepted, :accepted, "
        ":heartbeat, :deadline, NULL, NULL)"
    )
    transaction(lambda session: session.execute(text(order), rows))
    charges = [
        {"user": row["payer"].removeprefix("user:"), "key": f"task-{row['public_id']}-charge", "task": row["public_id"]}
        for row in rows
        if row["payer"].startswith("user:")
    ]
    charge = (
        "INSERT INTO credit_entries (user_id, amount, kind, business_key, task_id, created_at) "
        "VALUES (:user, -1, 'charge', :key, :task, NOW())"
    )
    transaction(lambda session: session.execute(text(charge), charges))


class Neighbour:
    """Somebody who takes and gives back the locks of an order, again and again, while the sweep runs."""

    def __init__(self, app: Flask, day: date) -> None:
        self._app, self._day = app, day
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._order)
        self.waits: list[float] = []

    def __enter__(self) -> "Neighbour":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()

    def _order(self) -> None:
        with self._app.app_context():
            number = 0
            while not self._done.is_set():
                number = (number + 7) % USERS
                begin = time.perf_counter()
                transaction(lambda session, number=number: self._lock(session, number))
                self.waits.append(time.perf_counter() - begin)
                time.sleep(0.002)

    def _lock(self, session: object, number: int) -> None:
        lock_user = text("SELECT id FROM users WHERE id = :id FOR UPDATE")
        lock_guest = text("SELECT used FROM allowances WHERE subject = :subject AND day = :day FOR UPDATE")
        session.execute(lock_user, {"id": f"u{number}"})
        for kind in "ab":
            session.execute(lock_guest, {"subject": f"{kind}{number:063d}", "day": self._day})


def measure(app: Flask, name: str, kinds: list[str], round_number: int, *, beside: bool = False) -> None:
    """Make these orders stuck, sweep, and print how long it took."""
    now = datetime.now(UTC)
    make_stuck(kinds, now, round_number)
    if beside:
        with Neighbour(app, now.date()) as neighbour:
            began = time.perf_counter()
            report = repair.sweep()
            seconds = time.perf_counter() - began
        typical = statistics.median(neighbour.waits) * 1000
        longest = max(neighbour.waits) * 1000
        waits = f"; {len(neighbour.waits)} orders beside it: median {typical:.0f} ms, longest {longest:.0f} ms"
    else:
        began = time.perf_counter()
        report = repair.sweep()
        seconds, waits = time.perf_counter() - began, ""
    print(f"{name:<28} {seconds:6.2f} s   {report.line}{waits}", flush=True)
    assert report.stuck == len(kinds), "not everything that was stuck was repaired"
    assert not report.broken


def main() -> None:
    """Start the servers, fill them, measure, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--stuck", type=int, default=1_000)
    options = parser.parse_args()
    with application() as app:
        run(app, options.rows, options.stuck)


def run(app: Flask, rows: int, stuck: int) -> None:
    """Fill and measure."""
    began = time.perf_counter()
    fill(rows)
    make_payers(datetime.now(UTC))
    with reading() as session:
        present = session.execute(text("SELECT COUNT(*) FROM image_tasks")).scalar_one()
    print(f"{present:,} orders that ended, made in {time.perf_counter() - began:.0f} s", flush=True)
    measure(app, "nothing stuck", [], 1)
    measure(app, "all late", ["late"] * stuck, 2)
    mixed = (["late", "silent", "unheard"] * stuck)[:stuck]
    measure(app, "late, silent and unheard", mixed, 3)
    measure(app, "the same, others ordering", mixed, 4, beside=True)


if __name__ == "__main__":
    main()
