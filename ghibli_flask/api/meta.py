"""The routes about the service itself: styles, health, the CSRF token."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, make_response
from flask_wtf.csrf import generate_csrf
from spectree import Response as Answers

from ghibli_flask.schemas import (
    VERSION,
    CSRFAnswer,
    HealthAnswer,
    LivenessAnswer,
    StyleAnswer,
    spec,
    style_answers,
    utc_text,
)
from ghibli_flask.security import is_operator
from ghibli_flask.services import health, incidents
from ghibli_flask.visitors import greet

meta = Blueprint("meta", __name__)

TAGS = ("Service",)
NEEDED_FOR_ORDERS = ("database", "storage")


@meta.get("/health")
@spec.validate(resp=Answers(HTTP_200=LivenessAnswer), tags=TAGS)
def liveness() -> Response:
    """Whether the process lives; asks nobody else."""
    return jsonify(status="ok")


@meta.get("/api/health")
@spec.validate(
    resp=Answers(HTTP_200=HealthAnswer, HTTP_503=HealthAnswer), tags=TAGS, security=[{}, {"operatorKey": []}]
)
def readiness() -> Response:
    """How each part is doing; 503 only when no order can be accepted."""
    checks = health.checks()
    usable = all(checks[name] for name in NEEDED_FOR_ORDERS)
    status = "ok" if all(checks.values()) else "degraded" if usable else "down"
    body = {
        "status": status,
        "version": VERSION,
        "checks": {name: "up" if up else "down" for name, up in checks.items()},
    }
    if is_operator():
        has_database = checks["database"]
        runs = health.last_runs("sweep") if has_database else []
        monitored = health.last_runs("monitor") if has_database else []
        body["details"] = {
            "sweeps": [{"finishedAt": utc_text(run.finished_at), "ok": run.ok, **run.details} for run in runs],
            "monitor": [
                {"finishedAt": utc_text(run.finished_at), "ok": run.ok, "checks": run.details} for run in monitored
            ],
            "incidents": [
                {"cause": incident.cause, "text": incident.text, "since": utc_text(incident.since)}
                for incident in incidents.open_incidents()
            ],
            "storage": health.storage_details(),
        }
    response = make_response(jsonify(body), 200 if usable else 503)
    response.headers["Cache-Control"] = "no-store"
    return response


@meta.get("/api/styles")
@spec.validate(resp=Answers(HTTP_200=list[StyleAnswer]), tags=TAGS)
def styles() -> Response:
    """The styles that can be chosen."""
    return jsonify([card.model_dump(by_alias=True) for card in style_answers()])


@meta.get("/api/csrf")
@spec.validate(resp=Answers(HTTP_200=CSRFAnswer), tags=TAGS)
def csrf_token() -> Response:
    """The token for requests with cookies; also gives a new browser its guest cookie."""
    greet()
    response = jsonify(csrfToken=generate_csrf())
    response.headers["Cache-Control"] = "no-store"
    return response
