"""Visitors, and applications with tokens of a stand-in Hub, for the tests of the services."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import allowances
from ghibli_flask.services.payers import Member
from tests.support.member import confirmed_account
from tests.support.standins.hub import HubStandIn
from tests.support.tokens import EVENING, SPACE
from tests.support.visitor import Visitor


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A browser with a guest cookie."""
    return Visitor(app)


@pytest.fixture
def user_id(app: Flask) -> str:
    """A user with the credits of the application's month."""
    return confirmed_account()


def member(user_id: str) -> Member:
    """This user at a browser."""
    return Member(user_id, allowances.guest_of("a-browser", "192.0.2.7"))


@pytest.fixture(scope="module")
def one_hub() -> Iterator[HubStandIn]:
    """The stand-in's server; tests ask for `hub`."""
    hub = HubStandIn()
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture
def hub(one_hub: HubStandIn) -> HubStandIn:
    """A Hub that knows nobody yet."""
    one_hub.forget()
    return one_hub


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands at eight in the evening."""
    return FixedClock(EVENING)


@pytest.fixture
def token_app(app_factory: Callable[..., Flask], hub: HubStandIn, clock: FixedClock) -> Iterator[Callable[..., Flask]]:
    """Make an application with these tokens and enter its context."""
    entered = []

    def application(*tokens: str, **overrides: object) -> Flask:
        settings: dict[str, object] = {
            "hugging_face_tokens": tokens,
            "gradio_url": SPACE,
            "hf_endpoint": hub.url,
            "gradio_token_hosts": ("*.hf.space", "127.0.0.1"),
        }
        app = app_factory(clock=clock, **{**settings, **overrides})
        context = app.app_context()
        context.push()
        entered.append(context)
        return app

    yield application
    for context in reversed(entered):
        context.pop()
