"""`make bench` with a few orders for each case: that every case measures what it says, not how quick anything is."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.figures import Figure
from bench.machine import Neighbours
from bench.run import CASES, Case, run
from bench.site import Site, running_site
from ghibli_flask.clock import FixedClock
from ghibli_flask.factory import create_app
from ghibli_flask.services import repair
from ghibli_flask.settings import Settings

BY_NAME = {case.name: case for case in CASES}
NOT_ALONE = {"killed", "twice", "polls", "bare-client", "in-flight", "ten-a-second"}
"""The cases with a test of their own below."""


@pytest.fixture(scope="module")
def bench_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site that the cases measure."""
    with running_site(tmp_path_factory.mktemp("bench")) as site:
        yield site


def tried(site: Site, name: str, **more: object) -> dict[str, Figure]:
    """The figures of a case with tiny counts, by name."""
    figures = BY_NAME[name].measure(site, **BY_NAME[name].tiny, **more)
    found = {figure.name: figure for figure in figures}
    assert len(found) == len(figures)
    return found


def test_the_run_prints_a_table_and_writes_every_figure(
    bench_site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cases without a test of their own give positive figures, and the file holds what the table shows."""
    cases: list[Case] = [case for case in CASES if case.name not in NOT_ALONE]
    run(cases, bench_site, tmp_path / "bench.json", tiny=True)
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "bench.json").read_text())
    assert list(written["cases"]) == [case.name for case in cases]
    assert written["machine"]["cores"] >= 1
    assert written["calibration"]["after"]["median_ms"] > 0
    for name, case in written["cases"].items():
        assert f"\n{name}: {case['words']}\n" in printed
        assert case["seconds"] > 0
        for figure in case["figures"]:
            assert f"\n  {figure['name']} " in printed
            assert math.isfinite(figure["median"]), figure
            assert figure["median"] > 0 or figure["unit"] in {"MiB", ""}, figure
            assert figure["verdict"] in ({"met", "met, and the pair's", "missed"} if figure["goal"] else {None})


def test_the_time_in_the_space_is_no_overhead(bench_site: Site) -> None:
    """With a Space of 0.1 s a picture takes longer than that, and the rest is what the case gives."""
    orders = tried(bench_site, "ten-a-second")
    beyond = orders["picture in hand beyond the Space's delay, median"].value
    assert 0 < orders["order sent to Space call begun, median"].value <= beyond


def test_polls_are_held_against_the_bare_route(bench_site: Site) -> None:
    """The share is the quotient of the two rates of the same round."""
    rates = tried(bench_site, "polls")
    ours, bare = rates["polls of a finished task"], rates["a bare Flask route with one Redis GET"]
    assert rates["of what a bare Flask route does"].value == pytest.approx(100 * ours.value / bare.value)


def test_an_order_is_held_against_the_bare_client(bench_site: Site) -> None:
    """The ratio is the quotient of both medians of the same round."""
    times = tried(bench_site, "bare-client")
    road, bare = times["an order by the site, Space without delay"], times["gradio_client alone, Space without delay"]
    assert times["ratio"].value == pytest.approx(road.value / bare.value)


def test_a_double_order_is_one_task_and_one_call(bench_site: Site) -> None:
    """The case counts tasks and calls."""
    counts = tried(bench_site, "twice")
    assert {name: figure.value for name, figure in counts.items()} == {"tasks": 1, "calls of the Space": 1}


def test_orders_in_flight_are_counted_with_their_memory(bench_site: Site) -> None:
    """All orders are in hand at once, and the figure is their number by the gigabytes of the workers."""
    figures = tried(bench_site, "in-flight")
    for words, count, name in (
        ("3 in our worker", 3, "orders in flight for each GB of our worker"),
        ("2 in a process each", 2, "with a process for each"),
    ):
        assert figures[f"{words}: most in flight at once"].value == count
        gigabytes = figures[f"{words}: memory at the highest"].value / 1024
        assert figures[name].value == pytest.approx(count / gigabytes)


def test_no_order_of_a_killed_worker_is_lost(bench_site: Site) -> None:
    """The case kills the worker with all orders in hand; a sweep whose clock stands later repairs them."""
    later = FixedClock(datetime.now(UTC) + timedelta(seconds=70))
    settings = Settings(
        _env_file=None,
        database_url=bench_site.env["DATABASE_URL"],
        redis_url=bench_site.env["REDIS_URL"],
        gradio_url=bench_site.env["GRADIO_URL"],
        instance_dir=Path(bench_site.env["INSTANCE_DIR"]),
    )
    app = create_app(settings, clock=later, for_worker=True)

    def sweep_twice() -> None:
        with app.app_context():
            # Without a sweep shortly before, the silence of a worker is not taken for its death.
            repair.sweep()
            repair.sweep()

    figures = tried(bench_site, "killed", repair=sweep_twice)
    assert figures["orders in hand when the worker was killed"].value == 2
    assert figures["orders lost"].value == 0


def test_what_others_use_of_the_machine_is_seen() -> None:
    """This program's own work is none of the neighbours'."""
    with Neighbours() as neighbours:
        sum(step & 7 for step in range(3_000_000))
    assert neighbours.cores >= 0
