"""`make bench-scale` with little: that both sizes are asked the same questions in turn."""

from collections.abc import Iterator

import pytest

from bench.figures import Figure
from bench.scale import UNLIMITED, Apps, long_queue, many_rows
from bench.support import two_applications


@pytest.fixture(scope="module")
def two_apps() -> Iterator[Apps]:
    """Two applications on one MariaDB and one Redis."""
    with two_applications(**UNLIMITED) as apps:
        yield apps


def assert_ratios(figures: list[Figure]) -> int:
    """Every third figure is the second by the first; gives how many there are."""
    for little, much, ratio in zip(figures[::3], figures[1::3], figures[2::3], strict=True):
        assert little.value > 0
        assert ratio.name == f"{little.name.rpartition(', ')[0]}, ratio"
        assert ratio.value == pytest.approx(much.value / little.value)
    return len(figures) // 3


def test_many_rows_are_held_against_few(two_apps: Apps) -> None:
    """Twelve questions about orders, own pictures, gallery and sweep are asked with 1,000 and with 2,000 rows."""
    assert assert_ratios(many_rows(two_apps, 2_000, rounds=1, calls=1)) == 12


def test_a_long_queue_is_held_against_a_short_one(two_apps: Apps) -> None:
    """Three questions are asked behind 10 and behind 30 orders."""
    assert assert_ratios(long_queue(two_apps, 30, rounds=1, calls=1)) == 3
