"""The route that Prometheus scrapes."""

from __future__ import annotations

from flask import Blueprint, Response, make_response
from prometheus_client import CONTENT_TYPE_LATEST
from spectree import Response as Answers

from ghibli_flask.errors import Unauthorized
from ghibli_flask.schemas import Problem, spec
from ghibli_flask.security import is_operator, secrets_limit
from ghibli_flask.services import figures

figure_routes = Blueprint("figures", __name__)


@figure_routes.get("/metrics")
@secrets_limit
@spec.validate(
    resp=Answers("HTTP_200", HTTP_401=Problem, HTTP_429=Problem), tags=("Operators",), security={"operatorKey": []}
)
def metrics() -> Response:
    """The installation's figures for Prometheus, with ADMIN_API_KEY as `X-API-Key` or bearer."""
    if not is_operator():
        raise Unauthorized
    response = make_response(figures.exposition())
    response.content_type = CONTENT_TYPE_LATEST
    response.headers["Cache-Control"] = "no-store"
    return response
