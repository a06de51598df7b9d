"""The arithmetic of the measurements: medians, percentiles, verdicts, and photographs of the right weight."""

from io import BytesIO

import pytest
from PIL import Image

from bench.figures import Figure, Goal, percentile, shown
from bench.photos import ORIENTATION, numbered, phone_photo, two_megapixels
from bench.run import CASES, chosen


def test_a_figure_is_the_median_of_its_rounds_and_knows_whether_it_meets_its_goal() -> None:
    """The median counts; less is better unless said otherwise, and the pair's own figure is the harder mark."""
    goal = Goal(100, node=56)
    assert Figure("overhead", "ms", (40, 300, 90), goal).as_json() == {
        "name": "overhead", "unit": "ms", "median": 90, "lowest": 40, "highest": 300, "rounds": [40, 300, 90],
        "node": 56, "goal": 100, "verdict": "met",
    }  # fmt: skip
    assert goal.verdict(56) == "met, and the pair's"
    assert goal.verdict(101) == "missed"
    rate = Goal(25, node=35.6, more_is_better=True)
    assert [rate.verdict(value) for value in (24.9, 25, 36)] == ["missed", "met", "met, and the pair's"]
    assert Figure("peak", "MiB", (1.0,)).verdict == ""


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(share: float, expected: int) -> None:
    """By the nearest rank, whatever order the values come in."""
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_numbers_are_shown_with_three_digits_that_mean_something() -> None:
    """People read the table."""
    assert [shown(value) for value in (0, 3.0, 0.04567, 56.78, 1234.5)] == ["0", "3", "0.0457", "56.8", "1,234"]


def test_the_photographs_weigh_what_the_cases_say() -> None:
    """2 megapixels in 0.66 MB; 12 megapixels lying on their side; a number changes the file and not the picture."""
    photo = two_megapixels()
    assert 0.6e6 < len(photo) < 0.72e6
    assert numbered(photo, 1) != numbered(photo, 2)
    with Image.open(BytesIO(photo)) as plain, Image.open(BytesIO(numbered(photo, 7))) as marked:
        assert plain.width * plain.height == pytest.approx(2e6, rel=0.01)
        assert marked.tobytes() == plain.tobytes()
    with Image.open(BytesIO(phone_photo())) as picture:
        assert picture.width * picture.height == pytest.approx(12e6, rel=0.02)
        assert picture.getexif()[ORIENTATION] == 6


def test_a_case_that_there_is_not_is_refused_by_name() -> None:
    """The names that there are stand in the refusal; none means all."""
    assert chosen([]) == list(CASES)
    assert [case.name for case in chosen(["twice", "polls"])] == ["twice", "polls"]
    with pytest.raises(SystemExit, match=r"no case speed.*one-at-a-time"):
        chosen(["speed"])
