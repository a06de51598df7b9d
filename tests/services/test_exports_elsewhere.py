"""Zips on several machines: a folder is seen by one of them, the entries of its files by all."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import repair
from tests.support.tokens import EVENING


def test_a_zip_whose_entry_is_gone_goes_after_its_day(app_factory: Callable[..., Flask]) -> None:
    """A sweep deletes the zips that lie on its own machine for longer than a day, and leaves younger ones."""
    app = app_factory(clock=FixedClock(EVENING))
    folder = Path(app.instance_path) / "exports"
    folder.mkdir(parents=True)
    for name, age in {"old.zip": timedelta(days=1, minutes=1), "young.zip": timedelta(hours=23)}.items():
        (folder / name).write_bytes(b"PK")
        os.utime(folder / name, times=((EVENING - age).timestamp(),) * 2)
    with app.app_context():
        repair.sweep()
    assert [path.name for path in folder.iterdir()] == ["young.zip"]
