"""Visitors for the tests of the HTTP contract."""

import pytest
from flask import Flask

from tests.support.visitor import Visitor


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A browser with a guest cookie."""
    return Visitor(app)
