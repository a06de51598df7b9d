"""The product beside what it could not beat, and beside what it replaces: a bare client, and RQ's own workers."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import Figure, Goal, Rounds
from bench.meter import MS, Meter
from bench.photos import numbered, two_megapixels
from bench.processes import MemoryWatch
from bench.site import Program, Site
from bench.visitor import Visitor, side_by_side, visitors
from scripts.procfile import ROOT

SUSPENDED = "rq:suspended"
PATIENCE_S = 300.0


class BareClient:
    """The process of `bench/bare_client.py`, which paints with nothing but gradio_client."""

    def __init__(self, site: Site) -> None:
        self._photo = site.temporary / "bare.jpg"
        # Without these it tells its makers of every start, which needs a network.
        quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
        self._process = subprocess.Popen(
            [sys.executable, ROOT / "bench/bare_client.py", site.space.url],
            env={**site.env, **quiet},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "BareClient":
        return self

    def __exit__(self, *_error: object) -> None:
        with self._process:
            self._process.terminate()

    def paint(self, photo: bytes) -> float:
        """Seconds for one painting, its result downloaded."""
        self._photo.write_bytes(photo)
        assert self._process.stdin
        assert self._process.stdout
        print(self._photo, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def bare_client(site: Site, rounds: int = 3, orders: int = 10, delay_s: float = 2) -> list[Figure]:
    """An order by the site and a call by gradio_client in turn, first without delay, then with one."""
    site.use_usual_worker()
    gathered = Rounds()
    with BareClient(site) as client, visitors(site, 1) as (visitor,):
        client.paint(two_megapixels())
        for key, delay, count in (("", 0.0, orders), ("slow_", delay_s, max(2, orders // 4))):
            site.space.set_delay(delay)
            for turn in range(rounds):
                road, bare = _in_turn(visitor, client, count, turn * count)
                values = {"road": road * MS, "bare": bare * MS, "extra": (road - bare) * MS, "ratio": road / bare}
                gathered.add(**{f"{key}{name}": value for name, value in values.items()})
    return [
        gathered.figure("bare", "gradio_client alone, Space without delay", "ms"),
        gathered.figure("road", "an order by the site, Space without delay", "ms"),
        gathered.figure("ratio", "ratio", "times"),
        gathered.figure("extra", "more than gradio_client", "ms"),
        gathered.figure("slow_ratio", f"ratio with a Space of {delay_s:g} s", "times"),
    ]


def _in_turn(visitor: Visitor, client: BareClient, count: int, first: int) -> tuple[float, float]:
    """Median seconds by the site and by the bare client, in turn, so that a slower machine is slower for both."""
    road, bare = [], []
    for number in range(first, first + count):
        photo = numbered(two_megapixels(), number)
        road.append(visitor.follow(visitor.order(photo), 0.02).seconds)
        bare.append(client.paint(photo))
    return statistics.median(road), statistics.median(bare)


def rq_workers(site: Site, rounds: int = 3, orders: int = 8) -> list[Figure]:
    """One order after the other with our worker, RQ's simple one and RQ's forking one, block by block in turn."""
    site.space.set_delay(0)
    kinds: dict[str, Callable[[], Program]] = {
        "ours": site.program,
        "simple": lambda: rq_worker(site, "simple"),
        "forking": lambda: rq_worker(site, "forking"),
    }
    gathered = Rounds()
    with visitors(site, 1) as (visitor,):
        for turn in range(rounds):
            medians = {}
            for kind, program in kinds.items():
                site.use_workers(program())
                visitor.follow(visitor.order(two_megapixels()), 0.02)
                with Meter(site, orders) as meter:
                    taken = [
                        visitor.follow(visitor.order(numbered(two_megapixels(), number)), 0.02).seconds
                        for number in range(turn * orders, (turn + 1) * orders)
                    ]
                medians[kind] = statistics.median(taken)
                gathered.add(**{f"{kind}_s": medians[kind] * MS, f"{kind}_cpu": meter.own_ms})
            gathered.add(simple=medians["simple"] / medians["ours"], forking=medians["forking"] / medians["ours"])
    return [
        gathered.figure("ours_s", "an order with our worker", "ms"),
        gathered.figure("simple_s", "with RQ's SimpleWorker", "ms"),
        gathered.figure("forking_s", "with RQ's Worker, a process for each job", "ms"),
        gathered.figure("simple", "SimpleWorker to ours", "times"),
        gathered.figure("forking", "Worker to ours", "times"),
        gathered.figure("ours_cpu", "CPU a job with our worker", "ms"),
        gathered.figure("simple_cpu", "CPU a job with SimpleWorker", "ms"),
        gathered.figure("forking_cpu", "CPU a job with Worker", "ms"),
    ]


def rq_worker(site: Site, kind: str, name: str = "rq-worker") -> Program:
    """One of RQ's own workers, "simple" or "forking", not started yet."""
    return Program(f"{name}-{kind}", ["python", "-m", "bench.rq_workers", kind], site)


def in_flight(site: Site, many: int = 200, few: int = 10, delay_s: float = 20) -> list[Figure]:
    """Orders accepted beforehand begin together: in one worker of ours, then each in a worker of its own."""
    # The ceiling is out of the way: memory is what is measured here.
    settings = {"WORKER_CONCURRENCY": str(many), "WORKER_MEMORY_MB": "4000"}
    one = _together(site, [site.program(**settings)], many, delay_s)
    each = _together(site, [rq_worker(site, "forking", f"rq-{number}") for number in range(few)], few, delay_s)
    figures = [
        Figure("orders in flight for each GB of our worker", "", (one["a_gigabyte"],), Goal(300, more_is_better=True)),
        Figure("with a process for each", "", (each["a_gigabyte"],)),
    ]
    for words, values in ((f"{many} in our worker", one), (f"{few} in a process each", each)):
        figures += [
            Figure(f"{words}: memory at the highest", "MiB", (values["peak_mb"],)),
            Figure(f"{words}: most in flight at once", "", (values["most"],)),
            Figure(f"{words}: CPU a job, workers", "ms", (values["cpu_ms"],)),
            Figure(f"{words}: threads", "", (values["threads"],)),
            Figure(f"{words}: open files", "", (values["files"],)),
        ]
    return figures


def _together(site: Site, workers: list[Program], orders: int, delay_s: float) -> dict[str, float]:
    """Have so many orders painted at once by these workers, and watch the workers."""
    site.space.set_delay(delay_s)
    with site.redis.client() as client:
        client.set(SUSPENDED, 1)
        site.use_workers(*workers)
        ids = _accepted(site, orders)
        most, pids = 0, site.worker_pids
        with MemoryWatch(pids) as memory, Meter(site, orders, pids) as meter:
            client.delete(SUSPENDED)
            ends_at = time.monotonic() + PATIENCE_S
            states = site.states(ids)
            while {"queued", "processing"} & set(states.values()) and time.monotonic() < ends_at:
                time.sleep(0.5)
                states = site.states(ids)
                most = max(most, list(states.values()).count("processing"))
    if list(states.values()).count("completed") != orders:
        raise SystemExit(f"Orders failed; see {Path(workers[0].log)}.")
    return {
        "a_gigabyte": most / (memory.peak_mb / 1024),
        "peak_mb": memory.peak_mb,
        "most": most,
        "cpu_ms": meter.own_ms,
        "threads": memory.threads,
        "files": memory.files,
    }


def _accepted(site: Site, count: int) -> list[str]:
    """Have so many orders accepted while nobody paints; gives their ids."""
    ids: list[str] = []
    with visitors(site, min(4, count)) as crowd:

        def order(first: int, visitor: Visitor) -> None:
            ids.extend(visitor.order(numbered(two_megapixels(), n)).task for n in range(first, count, len(crowd)))

        side_by_side(
            [lambda first=first, visitor=visitor: order(first, visitor) for first, visitor in enumerate(crowd)]
        )
    return ids
