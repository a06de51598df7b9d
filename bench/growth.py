"""Whether something grows: samples over time, the slope through them after the warm-up, and a verdict. For the soak."""

import statistics
from dataclasses import dataclass, field
from itertools import combinations

WARM_UP = 0.25
"""This part of a run, from its beginning, does not count: caches fill, pools open."""
JUDGED_FROM_S = 300.0
"""Below so many seconds after the warm-up a slope says nothing about an hour."""
MOST_POINTS = 120


@dataclass(frozen=True)
class Tolerance:
    """What an hour may add: so much, or such a part of the usual level, whichever is more."""

    amount: float
    part: float = 0.0


@dataclass(frozen=True)
class Trend:
    """What a series did: its level at both ends of what is judged, and what an hour adds at this pace."""

    name: str
    began: float
    ended: float
    highest: float
    per_hour: float
    allowed: float
    is_judged: bool

    @property
    def is_flat(self) -> bool:
        """Whether it stays where it is, or cannot be judged yet."""
        return not self.is_judged or self.per_hour <= self.allowed

    @property
    def line(self) -> str:
        """One line of the table."""
        verdict = "flat" if self.is_flat else "GROWS"
        return (
            f"  {self.name:<34}{self.began:10.1f}{self.ended:10.1f}{self.highest:10.1f}"
            f"{self.per_hour:+12.2f}{self.allowed:10.1f}   {verdict if self.is_judged else 'too short to judge'}"
        )


@dataclass
class Series:
    """One figure over time, in seconds since the begin."""

    name: str
    tolerance: Tolerance
    points: list[tuple[float, float]] = field(default_factory=list)

    def add(self, moment: float, value: float) -> None:
        """One sample."""
        self.points.append((moment, value))

    def trend(self) -> Trend:
        """What the series did after its warm-up; it must have a sample."""
        warm = self.points[-1][0] * WARM_UP
        judged = [point for point in self.points if point[0] >= warm]
        values = [value for _, value in judged]
        end = max(1, len(values) // 5)
        level = statistics.median(values)
        return Trend(
            name=self.name,
            began=statistics.median(values[:end]),
            ended=statistics.median(values[-end:]),
            highest=max(values),
            per_hour=3600 * slope(judged),
            allowed=max(self.tolerance.amount, self.tolerance.part * level),
            is_judged=judged[-1][0] - judged[0][0] >= JUDGED_FROM_S,
        )


def slope(points: list[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs of points (Theil and Sen): a few peaks do not move it."""
    size = -(-len(points) // MOST_POINTS)
    groups = [points[begin : begin + size] for begin in range(0, len(points), size)]
    pairs = combinations([tuple(map(statistics.fmean, zip(*group, strict=True))) for group in groups], 2)
    slopes = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairs if after[0] > before[0]]
    return statistics.median(slopes) if slopes else 0.0


HEADING = f"  {'figure':<34}{'began':>10}{'ended':>10}{'highest':>10}{'per hour':>12}{'allowed':>10}"
