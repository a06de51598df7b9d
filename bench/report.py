"""The table that a person reads and the JSON that a program reads: what every measurement leaves behind."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.figures import Figure, shown
from bench.machine import Calibration, Neighbours, calibrate, this_machine
from scripts.procfile import ROOT

COLUMNS = (("", 64), ("unit", 10), ("Node pair", 11), ("goal", 8), ("ours", 9), ("rounds", 17))


@dataclass
class CaseResult:
    """One case: its figures, what others did on the machine meanwhile, and what the load itself cost, in cores."""

    name: str
    words: str
    figures: list[Figure]
    seconds: float
    neighbour_cores: float
    load_cores: float

    @property
    def lines(self) -> list[str]:
        """The case's part of the table."""
        cost = f"others used {self.neighbour_cores:.2f} cores, the load itself {self.load_cores:.2f}"
        return ["", f"{self.name}: {self.words}", f"  ({self.seconds:.0f} s; {cost})", *map(_row, self.figures)]

    def as_json(self) -> dict[str, object]:
        """The case as plain values."""
        return {**asdict(self), "figures": [figure.as_json() for figure in self.figures]}


@dataclass
class Report:
    """One run: prints each case when it is done."""

    cases: list[CaseResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine, self.before = this_machine(), calibrate()
        self.after: Calibration | None = None
        head = _cells([name for name, _width in COLUMNS])
        print("\n".join([*self.machine.lines, f"Fixed loop before: {self.before.line}", "", head]), flush=True)

    def add(self, name: str, words: str, measure: Callable[[], list[Figure]]) -> None:
        """Run one case and print its part of the table."""
        began, began_cpu = time.monotonic(), time.process_time()
        with Neighbours() as neighbours:
            figures = measure()
        seconds = time.monotonic() - began
        load = (time.process_time() - began_cpu) / seconds
        self.cases.append(CaseResult(name, words, figures, seconds, neighbours.cores, load))
        print("\n".join(self.cases[-1].lines), flush=True)

    def finish(self, path: Path) -> None:
        """Run the fixed loop again, and write everything as JSON."""
        self.after = calibrate()
        content = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": self.machine.as_json(),
            "calibration": {"before": asdict(self.before), "after": asdict(self.after)},
            "cases": {case.name: case.as_json() for case in self.cases},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")
        print(f"\nFixed loop after: {self.after.line}\nWritten to {path}", flush=True)


def json_path(name: str) -> Path:
    """Where a run's JSON goes when nothing else is said."""
    return ROOT / "instance/bench" / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"


def _row(figure: Figure) -> str:
    goal = figure.goal
    cells = [
        f"  {figure.name}",
        figure.unit,
        shown(goal.node) if goal and goal.node is not None else "",
        shown(goal.ours) if goal else "",
        shown(figure.value),
        f"{shown(min(figure.rounds))}..{shown(max(figure.rounds))}" if len(figure.rounds) > 1 else "",
    ]
    return f"{_cells(cells)}  {figure.verdict}".rstrip()


def _cells(words: list[str]) -> str:
    """One line of the table: the first column begins at the left, the others end at the right."""
    first, *others = zip(words, (width for _name, width in COLUMNS), strict=True)
    return f"{first[0]:<{first[1]}}" + "".join(f"{word:>{width}}" for word, width in others)
