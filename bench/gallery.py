"""How long a page of the gallery takes on MariaDB, with 1,000 and with 1,000,000 shares side by side.

    make bench-gallery                  or    .venv/bin/python -m bench.gallery [--rows 1000000]

Each line is one page of 24 pictures, asked for `services.gallery` with its cache dropped before every call, then with
the cache, and the whole request GET /api/share/list; milliseconds are the fastest and the median of thirty calls.
"""

import argparse
from datetime import UTC, datetime

from flask import Flask
from sqlalchemy import text

from bench.support import application, fill, timed, told
from ghibli_flask.database import transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.services import gallery
from ghibli_flask.services.gallery import Cursor, Filters

CHUNK = 50_000
EPOCH = 1_700_000_000
FARTHEST_ROW = 2**40


def share(begin: int, end: int) -> None:
    """Hang the painted orders of these row numbers, each second a little later; one in five is shared but not hung."""
    columns = {
        "public_id": "MD5(CONCAT('share', id))",
        "task_id": "id",
        "mode": "mode",
        "style": "style",
        "in_gallery": "1",
        "show_prompt": "1",
        "show_original": "0",
        "width": "3",
        "height": "2",
        "colour": "'#808080'",
        "created_at": "created_at",
        "approved_at": "created_at",
        "listed_at": f"IF(id % 5 = 0, NULL, FROM_UNIXTIME({EPOCH} + id))",
    }
    names, values = ", ".join(columns), ", ".join(columns.values())
    for first in range(begin, end + 1, CHUNK):
        rows = f"outcome = 'painted' AND id BETWEEN {first} AND {min(end, first + CHUNK - 1)}"
        statement = text(f"INSERT INTO shares ({names}) SELECT {values} FROM image_tasks WHERE {rows}")
        transaction(lambda session, statement=statement: session.execute(statement))
    counts = (
        "DELETE FROM share_counts",
        "INSERT INTO share_counts SELECT mode, style, COUNT(*), COUNT(listed_at), 1 FROM shares GROUP BY mode, style",
        "ANALYZE TABLE shares",
    )
    for words in counts:
        transaction(lambda session, words=words: session.execute(text(words)))


def measure(app: Flask, rows: int) -> None:
    """Every page once, printed as a table."""
    print(f"\n{rows:,} orders, nearly all of them shared", flush=True)
    deep = Cursor(False, datetime.fromtimestamp(EPOCH + rows // 3, UTC), FARTHEST_ROW).text
    pages = {
        "first page": (Filters(), None),
        "a deep page": (Filters(), deep),
        "from words": (Filters(mode="text-to-image"), None),
        "a rare look (1 in 10,000)": (Filters(style="night"), None),
        "mode and look, deep": (Filters(mode="image-to-image", style="ghibli"), deep),
    }
    for name, (filters, cursor) in pages.items():

        def ask(filters: Filters = filters, cursor: str | None = cursor) -> None:
            gallery.wall(filters, cursor, 24)

        def ask_anew(filters: Filters = filters, cursor: str | None = cursor) -> None:
            runtime().redis.flushdb()
            gallery.wall(filters, cursor, 24)

        print(f"{told(name, timed(ask_anew))}   cached{told('', timed(ask))[29:]}", flush=True)
    client = app.test_client()
    print(told("GET /api/share/list", timed(lambda: client.get("/api/share/list"))), flush=True)


def main() -> None:
    """Fill, measure, fill more, measure again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with application() as app:
        begin = 1
        for rows in (1_000, options.rows):
            fill(begin, rows, "CONCAT('user:other-', seq % 5000)")
            share(begin, rows)
            measure(app, rows)
            begin = rows + 1


if __name__ == "__main__":
    main()
