"""The cases in which visitors order pictures: alone, ten a second, many at once, with phone photos."""

import statistics
import threading
import time
from collections.abc import Callable

from bench.figures import Figure, Goal, Rounds, percentile
from bench.meter import MS, Meter
from bench.photos import numbered, phone_photo, two_megapixels
from bench.processes import MemoryWatch
from bench.site import Site
from bench.visitor import Order, Visitor, side_by_side, visitors


def begun_after(site: Site, orders: list[Order]) -> list[float]:
    """Seconds from the first byte of each order to the beginning of its call in the Space."""
    calls = site.space.calls()
    return [calls[order.mark][0][0] - order.sent_at for order in orders]


def spaces_own(site: Site, order: Order) -> float:
    """Seconds between the beginning and the end of the order's call inside of the Space."""
    ((began, ended),) = site.space.calls()[order.mark]
    return ended - began


def one_at_a_time(site: Site, rounds: int = 5, orders: int = 20) -> list[Figure]:
    """One visitor orders one picture after the other, and asks every 20 ms."""
    site.use_usual_worker()
    site.space.set_delay(0)
    photo, gathered = two_megapixels(), Rounds()
    with visitors(site, 1) as (visitor,):
        visitor.follow(visitor.order(photo), 0.02)
        for turn in range(rounds):
            with Meter(site, orders) as meter:
                done = [
                    visitor.follow(visitor.order(numbered(photo, turn * orders + number)), 0.02)
                    for number in range(orders)
                ]
            beside = [(order.seconds - spaces_own(site, order)) * MS for order in done]
            gathered.add(
                overhead=statistics.median(beside),
                accept=statistics.median(order.accept_s for order in done) * MS,
                begun=statistics.median(begun_after(site, done)) * MS,
                own=meter.own_ms,
                servers=meter.servers_ms,
                polls=statistics.mean(order.polls for order in done),
            )
    return [
        gathered.figure(
            "overhead", "overhead: order sent to picture in hand, less the Space's own", "ms", Goal(100, 56)
        ),
        gathered.figure("own", "CPU a job, web and workers", "ms", Goal(45, 37)),
        gathered.figure("servers", "CPU a job, Redis and MariaDB", "ms"),
        gathered.figure("accept", "order sent to accepted", "ms"),
        gathered.figure("begun", "order sent to Space call begun", "ms"),
        gathered.figure("polls", "polls an order", ""),
    ]


def ten_a_second(
    site: Site, rounds: int = 3, orders: int = 150, a_second: float = 10, delay_s: float = 5
) -> list[Figure]:
    """Visitors come at an even pace, whatever became of those before them, and ask as often as they are told.

    Fifty are painted at the same moment, which is more than a worker takes by itself: it gets room for all of them.
    """
    site.begin_anew(WORKER_CONCURRENCY="128")
    site.space.set_delay(delay_s)
    photo, gathered = two_megapixels(), Rounds()
    with visitors(site, min(orders, round(a_second * (delay_s + 5)))) as crowd:
        for turn in range(rounds):
            done, behind_s = _paced(
                crowd, [numbered(photo, turn * orders + number) for number in range(orders)], a_second
            )
            begun = [seconds * MS for seconds in begun_after(site, done)]
            gathered.add(
                median=statistics.median(begun),
                p99=percentile(begun, 0.99),
                accept=statistics.median(order.accept_s for order in done) * MS,
                late=percentile([order.seconds - delay_s for order in done], 0.5) * MS,
                behind=behind_s * MS,
            )
    return [
        gathered.figure("median", "order sent to Space call begun, median", "ms", Goal(60, 37)),
        gathered.figure("p99", "order sent to Space call begun, 99 of 100", "ms", Goal(150, 125)),
        gathered.figure("accept", "order sent to accepted, median", "ms"),
        gathered.figure("late", "picture in hand beyond the Space's delay, median", "ms"),
        gathered.figure("behind", "how far the visitors fell behind their pace", "ms"),
    ]


def _paced(crowd: list[Visitor], photos: list[bytes], a_second: float) -> tuple[list[Order], float]:
    """Send each photograph at its moment, by a visitor whose last order has ended.

    Gives the orders, and by how many seconds the latest of them missed its moment.
    """
    done: list[Order] = []
    behind: list[float] = []
    begins_at = time.monotonic() + 0.2

    def orders_of(first: int, visitor: Visitor) -> Callable[[], None]:
        def run() -> None:
            for number in range(first, len(photos), len(crowd)):
                moment = begins_at + number / a_second
                time.sleep(max(0.0, moment - time.monotonic()))
                order = visitor.order(photos[number])
                behind.append(order.sent_at - moment)
                done.append(visitor.follow(order))

        return run

    side_by_side(orders_of(number, visitor) for number, visitor in enumerate(crowd))
    return done, max(behind)


def _crowd_at_once(
    crowd: list[Visitor], photos: list[bytes], poll_every_s: float | None = None
) -> tuple[list[Order], float]:
    """Every visitor orders at once, and again when the picture is there, until all photographs are painted.

    Gives the orders, and the seconds from the first order to the last picture.
    """
    done: list[Order] = []
    waiting, lock = iter(photos), threading.Lock()

    def run(visitor: Visitor) -> None:
        while True:
            with lock:
                photo = next(waiting, None)
            if photo is None:
                return
            done.append(visitor.follow(visitor.order(photo), poll_every_s))

    side_by_side([lambda visitor=visitor: run(visitor) for visitor in crowd])
    return done, max(order.done_at for order in done) - min(order.sent_at for order in done)


def hundred_at_once(
    site: Site, rounds: int = 3, orders: int = 200, at_once: int = 100, delay_s: float = 5, fresh: bool = True
) -> list[Figure]:
    """A hundred visitors each order, wait, and order again; the worker has slots for all of them.

    With `fresh` every round has new processes: memory that an earlier one used would hide what this one needs.
    """
    site.space.set_delay(delay_s)
    photo, gathered = two_megapixels(), Rounds()
    with visitors(site, at_once) as crowd:
        for turn in range(rounds):
            if fresh:
                site.begin_anew(WORKER_CONCURRENCY="128")
            _warm_up(crowd)
            photos = [numbered(photo, turn * orders + number) for number in range(orders)]
            with MemoryWatch(site.own_pids) as memory, Meter(site, orders) as meter:
                _done, seconds = _crowd_at_once(crowd, photos)
            gathered.add(
                rate=orders / seconds,
                memory=(memory.peak_mb - memory.idle_mb) / at_once,
                peak=memory.peak_mb,
                own=meter.own_ms,
                servers=meter.servers_ms,
            )
    return [
        gathered.figure("rate", "orders painted", "a second", Goal(13, 11.7, more_is_better=True)),
        gathered.figure("memory", "memory for each order in flight", "MiB", Goal(1, 5.7)),
        gathered.figure("peak", "memory of web and workers at the highest", "MiB"),
        gathered.figure("own", "CPU a job, web and workers", "ms"),
        gathered.figure("servers", "CPU a job, Redis and MariaDB", "ms"),
    ]


def phone_photos(site: Site, rounds: int = 5, at_once: int = 20, fresh: bool = True) -> list[Figure]:
    """Twenty visitors send a photograph of 12 megapixels in the same moment; `fresh` as above."""
    site.space.set_delay(0)
    photo, gathered = phone_photo(), Rounds()
    with visitors(site, at_once) as crowd:
        for turn in range(rounds):
            if fresh:
                site.begin_anew()
            _warm_up(crowd)
            photos = [numbered(photo, turn * at_once + number) for number in range(at_once)]
            with MemoryWatch(site.own_pids) as memory, Meter(site, at_once) as meter:
                done, _seconds = _crowd_at_once(crowd, photos)
            gathered.add(
                accept=statistics.median(order.accept_s for order in done),
                slowest=max(order.accept_s for order in done),
                away=sum(order.turned_away for order in done),
                own=meter.own_ms,
                memory=(memory.peak_mb - memory.idle_mb) / at_once,
            )
    return [
        gathered.figure("accept", "order sent to accepted, median", "s", Goal(0.5, 0.53)),
        gathered.figure("slowest", "order sent to accepted, slowest", "s"),
        gathered.figure("away", "times that a visitor was told to come again", ""),
        gathered.figure("own", "CPU a job, web and workers", "ms", Goal(120, 124)),
        gathered.figure("memory", "memory for each order", "MiB", Goal(15, 38)),
    ]


def _warm_up(crowd: list[Visitor]) -> None:
    """A few pictures, so that what every process loads at its first order is counted for no order."""
    _crowd_at_once(crowd[:4], [numbered(two_megapixels(), -number) for number in range(1, 9)], 0.05)


def sixteen_at_once(site: Site, rounds: int = 5, orders: int = 96, at_once: int = 16) -> list[Figure]:
    """Sixteen visitors order one picture after the other from a Space without delay."""
    site.use_usual_worker()
    site.space.set_delay(0)
    photo, gathered = two_megapixels(), Rounds()
    with visitors(site, at_once) as crowd:
        for turn in range(rounds):
            photos = [numbered(photo, turn * orders + number) for number in range(orders)]
            with Meter(site, orders) as meter:
                done, seconds = _crowd_at_once(crowd, photos, 0.02)
            gathered.add(
                rate=orders / seconds,
                own=meter.own_ms,
                servers=meter.servers_ms,
                whole=statistics.median(order.seconds for order in done) * MS,
            )
    return [
        gathered.figure("rate", "orders painted", "a second", Goal(25, 35.6, more_is_better=True)),
        gathered.figure("own", "CPU a job, web and workers", "ms", Goal(40, 26)),
        gathered.figure("servers", "CPU a job, Redis and MariaDB", "ms"),
        gathered.figure("whole", "order sent to picture in hand, median", "ms"),
    ]
