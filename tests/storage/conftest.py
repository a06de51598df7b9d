"""Applications that keep their pictures in R2, at ImgBB or both, and a clock that is moved."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading
from ghibli_flask.models import DiscardedFile
from tests.support.standins.imgbb import ImgBBStandIn
from tests.support.standins.r2 import R2StandIn

AppWith = Callable[..., Flask]


@pytest.fixture
def clock() -> FixedClock:
    """Now, until a test moves it: signed addresses are checked against the real time."""
    return FixedClock(datetime.now(UTC))


@pytest.fixture
def app_with(app_factory: Callable[..., Flask], clock: FixedClock) -> AppWith:
    """Make an application with the stores of these stand-ins; settings can be overridden by name."""

    def make(*stand_ins: R2StandIn | ImgBBStandIn, **overrides: Any) -> Flask:
        settings: dict[str, Any] = {}
        for stand_in in stand_ins:
            settings |= stand_in.settings()
        return app_factory(clock=clock, **settings, **overrides)

    return make


@pytest.fixture
def inside(app_with: AppWith) -> Iterator[AppWith]:
    """The same, with the application's context open until the test ends; the last one made counts."""
    opened = []

    def make(*stand_ins: R2StandIn | ImgBBStandIn, **overrides: Any) -> Flask:
        app = app_with(*stand_ins, **overrides)
        opened.append(app.app_context())
        opened[-1].push()
        return app

    yield make
    for context in reversed(opened):
        context.pop()


def entries() -> list[DiscardedFile]:
    """What stands in the file table."""
    with reading() as session:
        return list(session.scalars(select(DiscardedFile).order_by(DiscardedFile.id)))
