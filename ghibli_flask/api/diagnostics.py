"""The routes that help to find out what is wrong: which settings are there, and errors that pages report."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from flask import Blueprint, Response, jsonify, request
from pydantic import Field
from spectree import Response as Answers

from ghibli_flask.errors import MalformedRequest, NotFound, TooLarge
from ghibli_flask.extensions import runtime
from ghibli_flask.schemas import Problem, WireModel, checked, spec
from ghibli_flask.security import is_operator, page_errors_limit
from ghibli_flask.services import page_errors
from ghibli_flask.setting_sources import variables_of

diagnostics = Blueprint("diagnostics", __name__)

LARGEST_REPORT = 16 * 1024


class SettingsPresent(WireModel):
    """Which variables are set, by their documented names; their values are told to nobody."""

    environment: Literal["development", "production"]
    settings: dict[str, bool]


class PageErrorJSON(WireModel):
    """What went wrong on a page; only the first thousand characters are kept."""

    error: str = Field(min_length=1, description="message and place, without anything about the visitor")
    task_id: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    timestamp: datetime | None = None


class PageErrorTaken(WireModel):
    """It is in the log."""

    received: Literal[True]


@diagnostics.before_request
def bound_the_body() -> None:
    """A report is short, and the site's usual limit is meant for photographs; raises TooLarge."""
    # A chunked body does not tell how long it will be.
    if (request.content_length or 0) > LARGEST_REPORT or "Transfer-Encoding" in request.headers:
        raise TooLarge


@diagnostics.get("/api/test-env")
@spec.validate(
    resp=Answers(HTTP_200=SettingsPresent, HTTP_404=Problem), tags=("Operators",), security=[{}, {"operatorKey": []}]
)
def test_env() -> Response:
    """Which settings are present, never their values; in production only with ADMIN_API_KEY."""
    settings = runtime().settings
    if settings.is_production and not is_operator():
        raise NotFound
    present = {
        variables_of(name, field)[0]: name in settings.model_fields_set
        for name, field in type(settings).model_fields.items()
    }
    body = SettingsPresent(environment=settings.app_env, settings=present)
    response = jsonify(body.model_dump(by_alias=True))
    response.headers["Cache-Control"] = "no-store"
    return response


@diagnostics.post("/api/monitor/error")
@page_errors_limit
@spec.validate(
    json=PageErrorJSON,
    resp=Answers(HTTP_202=PageErrorTaken, **{f"HTTP_{code}": Problem for code in (400, 403, 413, 422, 429)}),
    tags=("Service",),
)
def report_error() -> tuple[Response, int]:
    """Tell the operator's log that something went wrong on a page."""
    said: PageErrorJSON | None = checked().json
    if said is None:
        raise MalformedRequest
    page_errors.note(said.error, said.task_id, said.timestamp)
    return jsonify(PageErrorTaken(received=True).model_dump()), 202
