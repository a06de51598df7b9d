"""What the measurements on a large database share: a throw-away MariaDB of a small VPS, and many finished orders."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from sqlalchemy import text

from ghibli_flask.database import db, transaction
from ghibli_flask.factory import create_app
from ghibli_flask.settings import Settings
from tests.support.checkout import ROOT, migrate, offline_env
from tests.support.mariadb_server import MariaDBServer
from tests.support.redis_server import RedisServer

CHUNK = 100_000
CALLS = 30


class RoomyMariaDB(MariaDBServer):
    """The tests' server with the memory of a small VPS, and with commits that wait for the disk."""

    def command(self) -> list[str | Path]:
        """The command line."""
        small = {"--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0"}
        kept = [word for word in super().command() if word not in small]
        return [*kept, "--innodb-buffer-pool-size=512M", "--innodb-flush-log-at-trx-commit=1"]


@contextmanager
def application(**overrides: object) -> Iterator[Flask]:
    """The application on an empty MariaDB and an empty Redis, both thrown away afterwards; its context is entered."""
    with servers() as (folder, mariadb, redis):
        app = make_app(folder, mariadb.url_of("tests"), redis.url, **overrides)
        with app.app_context():
            yield app
            db.engine.dispose()


@contextmanager
def two_applications(**overrides: object) -> Iterator[tuple[Flask, Flask]]:
    """Two applications side by side, each with a database of its own in one MariaDB and one Redis."""
    with servers() as (folder, mariadb, redis):
        apps = [
            make_app(folder / name, mariadb.url_of(name), f"{redis.url[:-1]}{number}", **overrides)
            for number, name in enumerate(("tests", "site"))
        ]
        yield apps[0], apps[1]
        for app in apps:
            with app.app_context():
                db.engine.dispose()


@contextmanager
def servers() -> Iterator[tuple[Path, RoomyMariaDB, RedisServer]]:
    """An empty folder, a MariaDB and a Redis in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mariadb, redis = RoomyMariaDB(folder / "mariadb"), RedisServer(folder / "redis")
        try:
            mariadb.start()
            redis.start()
            yield folder, mariadb, redis
        finally:
            redis.stop()
            mariadb.stop()


def make_app(folder: Path, database_url: str, redis_url: str, **overrides: object) -> Flask:
    """The application on this empty database, with the tables made."""
    migrate(ROOT, offline_env(DATABASE_URL=database_url, INSTANCE_DIR=str(folder / "instance")))
    values = {
        "database_url": database_url, "redis_url": redis_url, "instance_dir": folder / "instance",
        "gradio_url": "http://127.0.0.1:1", "log_level": "ERROR", **overrides,
    }  # fmt: skip
    return create_app(Settings(_env_file=None, **values), for_worker=True)


def fill(begin: int, end: int, owner: str) -> None:
    """Painted orders number `begin` to `end`, made inside of the server; `owner` is SQL and may use `seq`.

    One in a hundred is not painted, one in a thousand is shared and kept, and night is the look of one in ten thousand.
    """
    usual = "ELT(1 + CRC32(CONCAT('l', seq)) % 3, 'ghibli', 'golden', 'watercolour')"
    look = f"IF(CRC32(CONCAT('s', seq)) % 10000 = 0, 'night', {usual})"
    columns = {
        "public_id": "MD5(CONCAT('order', seq))",
        "owner": owner,
        "payer": owner,
        "mode": "IF(CRC32(CONCAT('m', seq)) % 50 = 0, 'text-to-image', 'image-to-image')",
        "prompt": "'a quiet harbour'",
        "style": look,
        "seed": "1",
        "status": "IF(CRC32(seq) % 100 = 1, 'failed', 'completed')",
        "outcome": "IF(CRC32(seq) % 100 = 1, 'failed', 'painted')",
        "progress": "100",
        "stage": "'done'",
        "attempt": "1",
        "ring": "1",
        "deaths": "0",
        "handbacks": "0",
        "charged": "1",
        "refunded": "0",
        "is_shared": "CRC32(CONCAT('h', seq)) % 1000 = 0",
        "paid_on": "'2026-01-01'",
        "fingerprint": "SHA2(seq, 256)",
        "result_store": "'local'",
        "result_key": "CONCAT('results/', MD5(seq), '.jpg')",
        "thumbnail_store": "'local'",
        "thumbnail_key": "CONCAT('thumbnails/', MD5(seq), '.webp')",
        "result_width": "1024",
        "result_height": "688",
        "created_at": "'2026-01-01' + INTERVAL seq SECOND",
        "queued_at": "'2026-01-01' + INTERVAL seq SECOND",
        "deadline_at": "'2026-01-01' + INTERVAL seq + 1200 SECOND",
        "finished_at": "'2026-01-01' + INTERVAL seq + 60 SECOND",
        "expires_at": "IF(CRC32(CONCAT('h', seq)) % 1000 = 0, NULL, '2036-01-01' + INTERVAL seq SECOND)",
    }
    names, values = ", ".join(columns), ", ".join(columns.values())
    for first in range(begin, end + 1, CHUNK):
        last = min(end, first + CHUNK - 1)
        statement = text(f"INSERT INTO image_tasks ({names}) SELECT {values} FROM seq_{first}_to_{last}")
        transaction(lambda session, statement=statement: session.execute(statement))
    transaction(lambda session: session.execute(text("ANALYZE TABLE image_tasks")))


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Fastest and median of so many calls, in milliseconds; one before them warms up."""
    call()
    taken = []
    for _number in range(CALLS):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return min(taken), statistics.median(taken)


def told(name: str, times: tuple[float, float]) -> str:
    """One line of the table."""
    fastest, median = times
    return f"  {name:<28}{fastest:7.1f} ms, median {median:6.1f}"
