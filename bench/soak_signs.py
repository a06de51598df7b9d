"""What the soak looks at: memory, threads, files and sockets of each part, Redis, the tables, temporary folders."""

import time
from collections.abc import Iterable
from pathlib import Path

from bench.growth import Series, Tolerance
from bench.processes import family, memory_mb, threads_and_files
from bench.site import Site

PARTS = ("web", "worker", "maintenance", "scheduler")
MEMORY = Tolerance(6.0, 0.05)
THREADS = Tolerance(2.0)
FILES = Tolerance(4.0)
KEYS = Tolerance(10.0)
SCAN_BATCH = 1000


class Signs:
    """A series for each figure; `look` takes one sample of all."""

    def __init__(self, site: Site) -> None:
        self._site, self._began_at = site, time.monotonic()
        self.series: dict[str, Series] = {}
        self.facts: dict[str, list[tuple[float, float]]] = {}

    def look(self) -> None:
        """One sample of everything."""
        now = time.monotonic() - self._began_at
        for part, pids in self._pids().items():
            threads, files = threads_and_files(pids)
            self._judge(f"{part} memory MB", MEMORY, now, memory_mb(pids))
            self._judge(f"{part} threads", THREADS, now, threads)
            self._judge(f"{part} open files", FILES, now, files)
            self._judge(f"{part} sockets", FILES, now, sockets(pids))
        self._judge("files in temporary folders", FILES, now, len(self.left_over()))
        self._look_into_redis(now)
        self._look_into_tables(now)

    def left_over(self) -> list[Path]:
        """Files in the temporary folders of our processes."""
        folders = (self._site.temporary, self._site.folder / "instance/tmp")
        return [path for folder in folders if folder.exists() for path in folder.rglob("*") if path.is_file()]

    def _pids(self) -> dict[str, list[int]]:
        site = self._site
        return {
            "web": [site.web.pid],
            "worker": site.worker_pids,
            "maintenance": [site.maintenance.pid],
            "scheduler": [site.scheduler.pid],
        }

    def _look_into_redis(self, now: float) -> None:
        with self._site.redis.client() as client:
            keys = list(client.scan_iter(count=SCAN_BATCH))
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.ttl(key)
            endless = sum(seconds == -1 for seconds in pipeline.execute())
            self._judge("Redis keys without an end", KEYS, now, endless)
            self._note("Redis keys", now, len(keys))
            self._note("Redis memory MB", now, client.info("memory")["used_memory"] / 2**20)
            self._judge("Redis connections", FILES, now, client.info("clients")["connected_clients"])

    def _look_into_tables(self, now: float) -> None:
        with self._site.mariadb.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Threads_connected'")
            self._judge("database connections", FILES, now, float(cursor.fetchone()[1]))
            cursor.execute(
                "SELECT table_name, table_rows FROM information_schema.tables WHERE table_schema = 'ghibli_site'"
            )
            for name, rows in cursor.fetchall():
                self._note(f"rows of {name}", now, float(rows or 0))

    def _judge(self, name: str, tolerance: Tolerance, now: float, value: float) -> None:
        self.series.setdefault(name, Series(name, tolerance)).add(now, value)

    def _note(self, name: str, now: float, value: float) -> None:
        self.facts.setdefault(name, []).append((now, value))


def sockets(pids: Iterable[int]) -> int:
    """How many of the open files of these processes and their descendants are sockets."""
    found = 0
    for pid in family(pids):
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                found += str(link.readlink()).startswith("socket:")
            except OSError:
                continue  # Closed meanwhile.
    return found
