"""A progress update that fails never harms the picture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import text

from ghibli_flask.database import transaction
from jobs import pulse
from tests.engines.conftest import RunningSpace
from tests.faults.conftest import Visitor, paint_waiting

# What the database would do to a heartbeat on a damaged table: refuse it, while every other update passes.
REFUSED = """
CREATE TRIGGER refuse_heartbeats BEFORE UPDATE OF progress ON image_tasks
WHEN OLD.status = 'processing' AND NEW.status = 'processing'
BEGIN SELECT RAISE(ABORT, 'no progress is taken here'); END
"""


def test_refused_heartbeats_cost_nobody_the_picture(
    web: Flask,
    visitor: Visitor,
    painter: Callable[..., Flask],
    gallery: RunningSpace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While the database refuses every update of the progress, the order is painted, kept and told as ever."""
    monkeypatch.setattr(pulse, "BEAT_EVERY_S", 0.1)
    task_id = visitor.order(seed=15)
    app = painter(gallery, "/slow")
    with web.app_context():
        transaction(lambda session: session.execute(text(REFUSED)))
    try:
        paint_waiting(app)
    finally:
        with web.app_context():
            transaction(lambda session: session.execute(text("DROP TRIGGER refuse_heartbeats")))
    assert "could not be written" in caplog.text
    assert visitor.poll(task_id)["status"] == "SUCCESS"
