"""What is lost when a worker is killed, and what an order that is sent twice costs."""

import os
import signal
import time
from collections.abc import Callable

from bench.figures import Figure, Goal, Rounds
from bench.photos import numbered, two_megapixels
from bench.site import Site
from bench.visitor import Order, side_by_side, visitors
from scripts.processes import signal_session, wait_until

LONGEST_REPAIR_S = 240.0
LIVE = {"queued", "processing"}


def killed(
    site: Site, orders: int = 20, delay_s: float = 5, repair: Callable[[], object] | None = None
) -> list[Figure]:
    """Kill the worker while it has all these orders in hand, start another, and wait for what becomes of them.

    `repair` is called after the kill by who will not wait for the scheduler's sweep.
    """
    site.use_usual_worker()
    site.space.set_delay(delay_s)
    photo, taken = two_megapixels(), []
    with visitors(site, orders) as crowd:
        side_by_side([lambda visitor=visitor: taken.append(visitor.order(photo)) for visitor in crowd])
        ids = [order.task for order in taken]
        if not wait_until(lambda: set(site.states(ids).values()) == {"processing"}, 60):
            raise SystemExit("The worker did not take all orders in hand.")
        killed_at = time.monotonic()
        signal_session(site.worker_pids[0], signal.SIGKILL)
        site.use_workers(site.program())
        site.space.set_delay(0)
        if repair:
            repair()
        wait_until(lambda: not LIVE & set(site.states(ids).values()), LONGEST_REPAIR_S, every=0.5)
        repaired_s = time.monotonic() - killed_at
    painted = list(site.states(ids).values()).count("completed")
    return [
        Figure("orders in hand when the worker was killed", "", (orders,)),
        Figure("orders lost", "", (orders - painted,), Goal(0, node=20)),
        Figure("from the kill to the last picture", "s", (repaired_s,)),
    ]


def twice(site: Site, rounds: int = 5, apart_s: float = 0.05, delay_s: float = 0.5) -> list[Figure]:
    """One visitor's browser sends the same order twice, the second one over another connection."""
    site.use_usual_worker()
    site.space.set_delay(delay_s)
    gathered = Rounds()
    for turn in range(rounds):
        photo, mark = numbered(two_megapixels(), turn), f"twice-{os.urandom(8).hex()}"
        with visitors(site, 2) as (first, second):
            second.number, second.cookies, second.token = first.number, first.cookies, first.token
            sent: list[Order] = []

            def late(second=second, photo=photo, mark=mark, sent=sent) -> None:
                time.sleep(apart_s)
                sent.append(second.order(photo, mark))

            def early(first=first, photo=photo, mark=mark, sent=sent) -> None:
                sent.append(first.order(photo, mark))

            side_by_side([early, late])
            for order in sent:
                first.follow(order, 0.05)
        gathered.add(tasks=len({order.task for order in sent}), calls=len(site.space.calls()[mark]))
    return [
        gathered.figure("tasks", "tasks", "", Goal(1, 2)),
        gathered.figure("calls", "calls of the Space", "", Goal(1, 2)),
    ]
