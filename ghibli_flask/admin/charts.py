"""The geometry of the plain charts on the administrators' pages: numbers in, places in a drawing out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ghibli_flask.services.order_figures import Hour

PARTS = ("finished", "failed", "cancelled", "under_way")
"""What one bar is made of, from the ground up."""


@dataclass(frozen=True)
class Piece:
    """A rectangle of a bar, and which part of it this is."""

    part: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bar:
    """The orders of one hour as rectangles, the lowest first."""

    hour: Hour
    x: float
    width: float
    pieces: list[Piece]


@dataclass(frozen=True)
class BarChart:
    """Bars on a ground line; `top` is the number of orders at the height of the drawing, 0 without any orders."""

    bars: list[Bar]
    top: int
    width: int
    height: int


def bars_of(hours: Sequence[Hour], width: int = 480, height: int = 120) -> BarChart:
    """A stacked bar for each hour, all to one scale."""
    top = round_number(max((hour.orders for hour in hours), default=0))
    step = width / max(1, len(hours))
    bars = [_bar(hour, number * step, step, top, height) for number, hour in enumerate(hours)]
    return BarChart(bars, top, width, height)


def _bar(hour: Hour, left: float, step: float, top: int, height: int) -> Bar:
    gap = step * 0.12
    pieces: list[Piece] = []
    ground = float(height)
    for part in PARTS:
        count = getattr(hour, part)
        if count:
            # What is there is seen, also one order beside a thousand.
            tall = max(1.5, count / top * height)
            ground = max(0.0, ground - tall)
            pieces.append(Piece(part, round(left + gap, 2), round(ground, 2), round(step - 2 * gap, 2), round(tall, 2)))
    return Bar(hour, round(left, 2), round(step, 2), pieces)


def share_of(count: float, whole: float) -> float:
    """A part of a whole as percent with one decimal, at most 100; 0 of nothing."""
    return min(100.0, round(100 * count / whole, 1)) if whole else 0.0


def round_number(most: int) -> int:
    """The next of 2, 4, 6, 8, 10, 20, 40 … that is not smaller: its half is a whole number too. 0 for nothing."""
    if most <= 0:
        return 0
    size: int = 10 ** (len(str(most)) - 1)
    return next(step * size for step in (1, 2, 4, 6, 8, 10) if step * size >= most and step * size > 1)
