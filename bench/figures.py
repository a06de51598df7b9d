"""What a case gives: figures of several rounds, held against an earlier Node processor's and against our goals."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Goal:
    """What a figure is held against: what a pair of Node processes did on two cores, if that is known, and our goal.

    The pair was an Express front and a processor (ioredis, @gradio/client, pictures as base64 in Redis), measured with
    the same load; it had no database, no ledger and no checks.
    """

    ours: float
    node: float | None = None
    more_is_better: bool = False

    def verdict(self, value: float) -> str:
        """Whether a figure meets the goal, and whether it beats the pair."""
        if not self._reaches(value, self.ours):
            return "missed"
        beats = self.node is not None and self.node != self.ours and self._reaches(value, self.node)
        return "met, and the pair's" if beats else "met"

    def _reaches(self, value: float, mark: float) -> bool:
        return value >= mark if self.more_is_better else value <= mark


@dataclass(frozen=True)
class Figure:
    """One figure of a case: a value for each round."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    goal: Goal | None = None

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    @property
    def verdict(self) -> str:
        """Met or missed; nothing without a goal."""
        return self.goal.verdict(self.value) if self.goal else ""

    def as_json(self) -> dict[str, object]:
        """The figure as plain values."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.value,
            "lowest": min(self.rounds),
            "highest": max(self.rounds),
            "rounds": list(self.rounds),
            "node": self.goal.node if self.goal else None,
            "goal": self.goal.ours if self.goal else None,
            "verdict": self.verdict or None,
        }


@dataclass
class Rounds:
    """The values of several rounds, gathered by name."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        """One round's values."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def figure(self, key: str, name: str, unit: str, goal: Goal | None = None) -> Figure:
        """The figure of the values gathered under this key."""
        return Figure(name, unit, tuple(self.values[key]), goal)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed: the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def shown(value: float) -> str:
    """A number for people: three digits that mean something."""
    if value == int(value) and abs(value) < 10_000:
        return f"{value:.0f}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
