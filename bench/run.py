"""`make bench`: the whole product on loopback, every case in turn, a table and a JSON file.

make bench                          all cases, under 15 minutes
make bench CASE="polls twice"       some of them
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cases import crowds, faults, polls, rivals
from bench.figures import Figure
from bench.report import Report, json_path
from bench.site import Site, running_site


@dataclass(frozen=True)
class Case:
    """One case: how it is called, what it does, and how it is tried with counts that prove nothing but the tool."""

    name: str
    words: str
    measure: Callable[..., list[Figure]]
    tiny: Mapping[str, float]


CASES = (
    Case(
        "one-at-a-time",
        "one order after the other, Space without delay, poll every 20 ms",
        crowds.one_at_a_time,
        {"rounds": 1, "orders": 2},
    ),
    Case(
        "ten-a-second",
        "10 orders a second, Space 5 s, polls as told",
        crowds.ten_a_second,
        {"rounds": 1, "orders": 3, "delay_s": 0.1},
    ),
    Case(
        "hundred-at-once",
        "200 orders, 100 at once, WORKER_CONCURRENCY=128, Space 5 s",
        crowds.hundred_at_once,
        {"rounds": 1, "orders": 4, "at_once": 2, "delay_s": 0.1, "fresh": False},
    ),
    Case(
        "phone-photos",
        "20 orders at once, each a photograph of 12 megapixels",
        crowds.phone_photos,
        {"rounds": 1, "at_once": 2, "fresh": False},
    ),
    Case(
        "sixteen-at-once",
        "16 orders at once, Space without delay",
        crowds.sixteen_at_once,
        {"rounds": 1, "orders": 4, "at_once": 2},
    ),
    Case(
        "polls",
        "polls of a finished task over 32 connections, beside the same gunicorn without us",
        polls.polls,
        {"rounds": 1, "connections": 4, "seconds": 0.3},
    ),
    Case("killed", "the worker killed with 20 orders in flight", faults.killed, {"orders": 2, "delay_s": 0.5}),
    Case("twice", "the same order sent twice 50 ms apart", faults.twice, {"rounds": 1, "delay_s": 0.1}),
    Case(
        "bare-client",
        "an order by the site beside gradio_client alone, in turn",
        rivals.bare_client,
        {"rounds": 1, "orders": 2, "delay_s": 0.1},
    ),
    Case(
        "rq-workers",
        "one order at a time, our worker beside RQ's own classes",
        rivals.rq_workers,
        {"rounds": 1, "orders": 2},
    ),
    Case(
        "in-flight",
        "200 orders in one worker beside a worker process for each of 10",
        rivals.in_flight,
        {"many": 3, "few": 2, "delay_s": 1},
    ),
)


def chosen(names: Sequence[str]) -> list[Case]:
    """The cases of these names, all without names; SystemExit for a name that there is not."""
    known = {case.name: case for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"There is no case {', '.join(unknown)}. Choose from: {', '.join(known)}.")
    return [known[name] for name in names] or list(CASES)


def run(cases: Sequence[Case], site: Site, json_file: Path, *, tiny: bool) -> Report:
    """Run the cases on a site that stands; prints as it goes, and writes the file."""
    report = Report()
    for case in cases:
        options = case.tiny if tiny else {}
        report.add(case.name, case.words, lambda case=case, options=options: case.measure(site, **options))
    report.finish(json_file)
    return report


def main() -> None:
    """Read the names of the cases, run them and leave the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help=", ".join(case.name for case in CASES))
    parser.add_argument("--json", type=Path, default=json_path("bench"), help="where the figures go for programs")
    parser.add_argument("--tiny", action="store_true", help="a few orders for each case: whether the tool works")
    options = parser.parse_args()
    cases = chosen(options.case)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, running_site(Path(folder)) as site:
        run(cases, site, options.json, tiny=options.tiny)


if __name__ == "__main__":
    main()
