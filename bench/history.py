"""How long a page of an owner's own pictures takes on MariaDB, with 1,000 and with 1,000,000 orders side by side.

    make bench-history                  or    .venv/bin/python -m bench.history [--rows 1000000] [--own 100000]

It fills a throw-away MariaDB twice: 1,000 orders of which the owner has 100, then so many in all, of which the owner
has `--own`. Each line is one question to `services.history`, or a whole request; milliseconds are the fastest and
the median of so many calls. The last column is what the database says about the step that finds the rows.
"""

import argparse
from collections.abc import Callable

from flask import Flask
from sqlalchemy.dialects import mysql

from bench.support import application, fill, timed, told
from ghibli_flask.database import db
from ghibli_flask.services import history
from ghibli_flask.services.allowances import guest_of
from ghibli_flask.services.history import Cursor, Filters, Kind, Page
from ghibli_flask.services.payers import Member
from tests.support.member import member


def cases(number_of_oldest: int) -> dict[str, tuple[Filters, str | None]]:
    """The questions: filters, and the place in the history."""
    end = Cursor(newer=False, row=number_of_oldest + 30).text
    return {
        "first page": (Filters(), None),
        "last page": (Filters(), end),
        "painted": (Filters(kind=Kind.PAINTED), None),
        "unfinished, none there": (Filters(kind=Kind.UNFINISHED), None),
        "not painted (1 in 100)": (Filters(kind=Kind.NOT_PAINTED), None),
        "shared (1 in 1,000)": (Filters(shared=True), None),
        "a rare look (1 in 10,000)": (Filters(style="night"), None),
        "a rare look, from words": (Filters(mode="text-to-image", style="night", kind=Kind.PAINTED), None),
        "a look that is not there": (Filters(style="sepia"), None),
    }


def plan(owner: str, filters: Filters, cursor: str | None) -> str:
    """Key and extra words of EXPLAIN for the step that finds the rows."""
    place = Cursor.read(cursor) if cursor else None
    statement = history.ids_of(owner, filters, place, history.PAGE + 1)
    compiled = statement.compile(dialect=mysql.dialect(), compile_kwargs={"literal_binds": True})
    with db.engine.connect() as connection:
        row = connection.exec_driver_sql(f"EXPLAIN {compiled}".replace("%", "%%")).mappings().one()
    return f"{row['key']}: {row['Extra']}"


def measure(app: Flask, rows: int, own: int, user: Member, ask: Callable[[str], object]) -> None:
    """Every question once, printed as a table."""
    with db.engine.connect() as connection:
        present = connection.exec_driver_sql("SELECT COUNT(*) FROM image_tasks").scalar_one()
        oldest = connection.exec_driver_sql(
            "SELECT MIN(id) FROM image_tasks WHERE owner = %s", (user.owner,)
        ).scalar_one()
    assert present == rows
    print(f"\n{rows:,} orders, {own:,} of them the owner's", flush=True)
    for name, (filters, cursor) in cases(oldest).items():

        def question(filters: Filters = filters, cursor: str | None = cursor) -> Page:
            return history.page(user, filters, cursor)

        times = timed(question)
        found = len(question().entries)
        words = plan(str(user.owner), filters, cursor)
        print(f"{told(name, times)}   {found:>2} found   {words}", flush=True)
    for name, address in (("GET /api/tasks", "/api/tasks"), ("GET /pictures", "/pictures")):
        print(told(name, timed(lambda address=address: ask(address))), flush=True)
    print(told("how many there are", timed(lambda: history.count(user))), flush=True)


def main() -> None:
    """Fill, measure, fill more, measure again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--own", type=int, default=100_000)
    options = parser.parse_args()
    with application() as app:
        browser = member(app)
        user = Member(browser.user_id, guest_of(None, "192.0.2.1"))

        def ask(address: str) -> None:
            assert browser.get(address).status_code == 200

        def owner(share: int) -> str:
            return f"IF(seq % {share} = 0, '{user.owner}', CONCAT('user:other-', seq % 5000))"

        fill(1, 1_000, owner(10))
        measure(app, 1_000, 100, user, ask)
        share = max(1, (options.rows - 1_000) // (options.own - 100))
        fill(1_001, options.rows, owner(share))
        measure(app, options.rows, options.own, user, ask)


if __name__ == "__main__":
    main()
