"""That the soak can be trusted: it tells growth from noise, and runs from end to end."""

import random
from pathlib import Path

import pytest

from bench.growth import Series, Tolerance, Trend
from bench.soak import Report, soak

HOUR = 3600
SAMPLE_S = 10


def series(value: object, seconds: int = HOUR) -> Trend:
    """The trend of a figure that follows this function of time, in MB, sampled like the soak's."""
    figure = Series("memory MB", Tolerance(6.0, 0.05))
    for moment in range(0, seconds, SAMPLE_S):
        figure.add(moment, value(moment))  # type: ignore[operator]
    return figure.trend()


def noisy(level: float, seed: int = 1) -> object:
    """A figure that goes up and down by a twentieth around its level."""
    chance = random.Random(seed)
    return lambda _moment: level * chance.uniform(0.95, 1.05)


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_growth(seed: int) -> None:
    """A figure that only goes up and down is flat, whatever its chances."""
    assert series(noisy(200.0, seed)).is_flat


@pytest.mark.parametrize("megabytes_an_hour", [15, 40, 200])
def test_a_leak_is_told(megabytes_an_hour: int) -> None:
    """A figure that rises by more than a twentieth an hour under noise is said to grow, by about so much."""
    noise = noisy(20.0)
    trend = series(lambda moment: 180 + noise(moment) + megabytes_an_hour * moment / HOUR)  # type: ignore[operator]
    assert not trend.is_flat
    assert trend.per_hour == pytest.approx(megabytes_an_hour, rel=0.25)
    assert "GROWS" in trend.line


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda moment: 300 - 200 * 0.5 ** (moment / 120), id="caches that fill at the begin"),
        pytest.param(lambda moment: 200 + moment % 600 / 60, id="a saw"),
        pytest.param(lambda moment: 900 if 1800 < moment < 1860 else 200, id="a peak"),
    ],
)
def test_what_comes_back_is_no_growth(shape: object) -> None:
    """A warm-up, a saw and a peak are flat."""
    assert series(shape).is_flat


def test_a_short_run_judges_no_slope() -> None:
    """A minute is too short to say what an hour would add, and the table says so."""
    trend = series(lambda moment: 200 + moment, seconds=60)
    assert trend.is_flat
    assert "too short to judge" in trend.line


def test_each_fault_is_a_complaint() -> None:
    """What grows, what is left, wrong answers and wrong books are each told, and make the run end with 1."""
    growing = series(lambda moment: 200 + moment / 60)
    report = Report(60, trends=[growing], left_over=["/tmp/upload-1"], broken=["GET /: 500"], books=["not ended: 1"])
    assert len(report.complaints) == 4
    assert report.lines[-1] == "4 complaints"
    assert Report(60, trends=[series(noisy(200.0))]).complaints == []


@pytest.mark.timeout(400)
def test_a_short_soak_runs_from_end_to_end(tmp_path: Path) -> None:
    """Twenty seconds with real processes: orders end, every part is measured, nothing is left, the books are right."""
    report = soak(tmp_path, minutes=1 / 3, rate=5, visitors=5, delay=0.3, seed=3)
    assert report.complaints == []
    assert report.orders > 0
    assert {"order", "poll", "look at pages"} <= report.done.keys()
    measured = {trend.name for trend in report.trends}
    for part in ("web", "worker", "maintenance", "scheduler"):
        assert {f"{part} memory MB", f"{part} threads", f"{part} open files", f"{part} sockets"} <= measured
    assert all(trend.highest > 0 for trend in report.trends if trend.name != "files in temporary folders")
    assert report.facts["rows of image_tasks"][1] > 0
