"""Runs of `make run` that end with the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.run.make_run import MakeRun


@pytest.fixture
def make_run(checkout: Path, tmp_path: Path) -> Iterator[Callable[..., MakeRun]]:
    """Type `make run`, or another target, with these settings in the environment."""
    runs: list[MakeRun] = []

    def start(target: str = "run", **settings: str) -> MakeRun:
        runs.append(MakeRun(checkout, tmp_path, target, **settings))
        return runs[-1]

    yield start
    for run in runs:
        run.clean_up()
