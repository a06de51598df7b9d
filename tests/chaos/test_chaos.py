"""A short run of `make chaos`, and that its plan and its last look can be trusted."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from ghibli_flask.database import transaction
from ghibli_flask.models import ImageTask
from ghibli_flask.task_states import Outcome
from tests.chaos.audit import complaints, files_in
from tests.chaos.crowd import Told
from tests.chaos.plan import KILLED, plan
from tests.chaos.run import run
from tests.support.runs import paint
from tests.support.visitor import Visitor

ANSWERED_WITHIN_S = 10.0
"""Five times the two seconds in which a request is answered whatever is down."""


@pytest.mark.timeout(500)
def test_nothing_is_lost_while_everything_dies(tmp_path: Path) -> None:
    """Every order ends once, every credit is right and every file has its row, though each process was killed."""
    report = run(tmp_path, seed=4, orders=48, seconds=24, pause_s=50, stuck_after_s=150)
    print("\n".join(report.lines))
    assert report.complaints == []
    assert len(report.told.accepted) == 48
    assert report.told.slowest_s < ANSWERED_WITHIN_S


def test_a_seed_is_a_plan() -> None:
    """The same seed gives the same kills at the same moments, another seed gives others."""
    first, again, other = (plan(seed, 60, pause_s=50, fills_disk=True) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("seed", range(20))
def test_a_long_plan_strikes_everything_and_leaves_a_web_process(seed: int) -> None:
    """Each process is killed at least once, and at no moment are both web processes down."""
    events = plan(seed, 300, pause_s=120, fills_disk=True)
    assert {event.target for event in events} == {*KILLED, "disk"}
    webs = [event for event in events if event.target.startswith("web")]
    assert all(before.at_s + before.down_s < after.at_s for before, after in pairwise(webs))


def task(visitor: Visitor, outcome: Outcome = Outcome.PAINTED) -> str:
    """An order that has ended so."""
    task_id = visitor.ordered()
    paint(visitor.app, task_id, outcome)
    return task_id


def change(app: Flask, task_id: str, **values: object) -> None:
    """Spoil a row."""
    spoilt = update(ImageTask).where(ImageTask.public_id == task_id).values(**values)
    with app.app_context():
        transaction(lambda session: session.execute(spoilt))


def stray_file(app: Flask, _task_id: str) -> None:
    """A file that nobody owns."""
    (Path(app.instance_path) / "files/stray.jpg").write_bytes(b"stray")


def missing_file(app: Flask, _task_id: str) -> None:
    """A result that is gone from the disk."""
    next((Path(app.instance_path) / "files/results").rglob("*.jpg")).unlink()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (stray_file, "a file without a row: stray.jpg"),
        (missing_file, "a row without its file"),
        (lambda app, task_id: change(app, task_id, refunded=1), "painted, but refunded"),
        (lambda app, task_id: change(app, task_id, status="failed", outcome="failed"), "failed and charged"),
        (lambda app, task_id: change(app, task_id, status="processing"), "not ended"),
        (lambda app, task_id: change(app, task_id, charged=0), "tries counted"),
        (lambda app, task_id: change(app, task_id, public_id="0" * 32), "accepted and forgotten"),
    ],
)
def test_the_last_look_sees_what_is_wrong(app: Flask, spoil: Callable[[Flask, str], None], complaint: str) -> None:
    """What was spoilt on purpose is complained of, and nothing before."""
    visitor = Visitor(app)
    task_id = task(visitor)
    told = Told(accepted={"key": task_id})
    stored = partial(files_in, Path(app.instance_path) / "files")
    assert complaints(app, told, stored) == []
    spoil(app, task_id)
    assert any(complaint in found for found in complaints(app, told, stored))
