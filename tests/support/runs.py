"""Play a worker's part by hand: claim a task and settle it, without any engine."""

from flask import Flask

from ghibli_flask.services import files, runs, tasks
from ghibli_flask.services.tasks import Ending
from ghibli_flask.task_states import Outcome
from tests.support.visitor import photo


def claim(app: Flask, task_id: str) -> runs.Run:
    """Take a queued task as a worker would."""
    with app.app_context():
        run = runs.claim(task_id)
    assert run is not None
    return run


def settle(app: Flask, run: runs.Run, outcome: Outcome, error_code: str | None = None) -> bool:
    """End a run; a painted or original one gets a picture."""
    with app.app_context():
        has_picture = outcome in {Outcome.PAINTED, Outcome.ORIGINAL}
        result = files.keep(photo(), "results", "jpg") if has_picture else None
        note = "Using original image due to GPU quota exceeded" if outcome is Outcome.ORIGINAL else None
        return tasks.settle(run.task_id, run.attempt, Ending(outcome, result, error_code, note, "gradio"))


def paint(app: Flask, task_id: str, outcome: Outcome = Outcome.PAINTED, error_code: str | None = None) -> None:
    """Claim and settle at once."""
    assert settle(app, claim(app, task_id), outcome, error_code)
