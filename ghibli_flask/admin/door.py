"""The one door of the administrators' pages: every blueprint here has it before each of its requests."""

from __future__ import annotations

from flask import request

from ghibli_flask.visitors import require_admin


def administrators_only() -> None:
    """Every page here is for administrators; what changes something asks for a fresh sign-in first."""
    require_admin(fresh=request.method != "GET")
