"""The routes for programs that hold the process secret: an order handed over, and a report on a painting."""

from __future__ import annotations

import re
from typing import TypeVar

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel
from spectree import Response as Answers

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import FieldError, InvalidFields, MalformedRequest, _
from ghibli_flask.mailbox import Report
from ghibli_flask.schemas import Problem, ProcessJSON, ReceivedAnswer, ReportAnswer, ReportJSON, checked, spec
from ghibli_flask.security import process_secret_first, secrets_limit
from ghibli_flask.services import processors, uploads
from ghibli_flask.services.orders import Order
from ghibli_flask.styles import style_within

processor_routes = Blueprint("processors", __name__)

TAGS = ("Outside processors",)
BY_SECRET: dict[str, list[str]] = {"processSecret": []}
REFUSALS = {f"HTTP_{code}": Problem for code in (400, 401, 409, 413, 415, 422, 429, 503)}
CALLERS_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

Body = TypeVar("Body", bound=BaseModel)


@processor_routes.post("/process/<task_id>")
@secrets_limit
@process_secret_first
@spec.validate(
    json=ProcessJSON,
    resp=Answers(HTTP_200=ReceivedAnswer, HTTP_402=Problem, HTTP_403=Problem, **REFUSALS),
    tags=TAGS,
    security=BY_SECRET,
)
def process(task_id: str) -> Response:
    """Hand an order over, under an id of the caller's own.

    A repeat answers the same and does nothing. The task is asked after under that id, with the same bearer.
    """
    if not CALLERS_ID.fullmatch(task_id):
        text = _("Please use 1 to 64 letters, digits, dashes and underscores.")
        raise InvalidFields(fields=(FieldError("taskId", text),))
    wished = _body(ProcessJSON)
    style, words = style_within(wished.prompt.strip())
    order = Order(
        mode=Mode.IMAGE_TO_IMAGE,
        photo=uploads.from_base64(wished.image_base64),
        prompt=words,
        style=style.key,
        width=wished.width,
        height=wished.height,
        seed=wished.seed,
        alias=task_id,
    )
    processors.accept(order, wished.user_id)
    return _private({"received": True})


@processor_routes.post("/progress/<task_id>")
@secrets_limit
@process_secret_first
@spec.validate(
    json=ReportJSON, resp=Answers(HTTP_200=ReportAnswer, HTTP_404=Problem, **REFUSALS), tags=TAGS, security=BY_SECRET
)
def report(task_id: str) -> Response:
    """Report on a painting that is made outside.

    What is late, or behind what is known already, answers the same and has no effect.
    """
    return _take_report(task_id)


@processor_routes.post("/api/transform-ghibli/progress/<task_id>")
@secrets_limit
@process_secret_first
@spec.validate(
    json=ReportJSON, resp=Answers(HTTP_200=ReportAnswer, HTTP_404=Problem, **REFUSALS), tags=TAGS, security=BY_SECRET
)
def older_report(task_id: str) -> Response:
    """Report on a painting, at the address of older processors."""
    return _take_report(task_id)


def _take_report(task_id: str) -> Response:
    told = _body(ReportJSON)
    picture = uploads.from_base64(told.image_base64) if told.image_base64 else None
    processors.report(task_id, Report(told.status, told.progress, told.stage, picture))
    return _private({"success": True})


def _body(kind: type[Body]) -> Body:
    """The checked body; a request without one is refused."""
    body = checked().json
    if not isinstance(body, kind):
        raise MalformedRequest
    return body


def _private(body: dict[str, bool]) -> Response:
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-store"
    return response
