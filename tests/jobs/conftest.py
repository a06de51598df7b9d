"""A painting process inside the test, calling the real bundled Space."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from jobs.paint import paint
from jobs.process import PaintingProcess
from tests.support.space_server import SpaceServer
from tests.support.visitor import Visitor


@pytest.fixture
def app(app_factory: Callable[..., Flask], space_server: SpaceServer) -> Flask:
    """The application with the bundled Space as its engine."""
    return app_factory(gradio_url=space_server.url, guest_daily_limit=100, guest_daily_limit_per_address=100)


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A browser with a guest cookie."""
    return Visitor(app)


@pytest.fixture
def process(app: Flask) -> Iterator[PaintingProcess]:
    """What a painting worker shares among its runs."""
    process = PaintingProcess(app, "test-worker", slots=1)
    process.open()
    yield process
    process.close()


@pytest.fixture
def painted(app: Flask, process: PaintingProcess) -> Callable[[str], None]:
    """Run the job of a task as a worker would."""

    def run(task_id: str) -> None:
        with app.app_context():
            paint(task_id)

    return run
