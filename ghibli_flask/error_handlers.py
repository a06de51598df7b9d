"""The one place where a failure becomes HTTP: problem details for programs, a page for people."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.errors import (
    AppError,
    FreshSignInNeeded,
    MalformedRequest,
    NotFound,
    NotSignedIn,
    TooLarge,
    _,
)
from ghibli_flask.extensions import runtime
from ghibli_flask.i18n import sentence
from ghibli_flask.request_log import request_id

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
JSON_PATHS = ("/api/", "/process/", "/progress/", "/admin/tasks", "/health", "/metrics")

HTTP_REFUSALS = {
    405: (_("Not in this way"), _("This address is here, but it does not take this kind of request.")),
    416: (_("No such part"), _("The file does not have the part that was asked for.")),
}
"""What Flask and Werkzeug refuse and no error of ours stands for: title and sentence by status."""
OTHER_REFUSAL = (_("Request refused"), _("The server cannot do what this request asks for."))


def install_error_handlers(app: Flask) -> None:
    """Answer every failure of an application."""
    app.register_error_handler(AppError, answer_app_error)
    app.register_error_handler(NotSignedIn, lead_to_sign_in)
    app.register_error_handler(FreshSignInNeeded, lead_to_sign_in)
    app.register_error_handler(InternalServerError, answer_unexpected)
    app.register_error_handler(HTTPException, answer_http_error)


def answer_app_error(error: AppError) -> Response:
    """Answer one of our own failures."""
    body = {
        "type": "about:blank",
        "title": gettext(error.title),
        "status": error.status,
        "detail": sentence(error.detail, error.params),
        "code": error.code,
    }
    if error.fields:
        body["errors"] = [
            {"field": item.field, "message": sentence(item.message, {**error.params, **item.params})}
            for item in error.fields
        ]
    response = _answer(body)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def lead_to_sign_in(error: AppError) -> AnyResponse:
    """Lead a person to the sign-in and from there back to the page, or to the page of the form; tell a program."""
    page = request.full_path.rstrip("?") if request.method == "GET" else _page_of_form()
    if wants_json() or not page:
        return answer_app_error(error)
    fresh = 1 if isinstance(error, FreshSignInNeeded) else None
    response = redirect(url_for("auth.sign_in", fresh=fresh, next=page), code=303)
    response.headers["Cache-Control"] = "no-store"
    return response


def _page_of_form() -> str:
    """The page from which a form was sent, as the browser tells it; empty when it tells nothing readable."""
    try:
        return urlsplit(request.referrer or "").path
    except ValueError:
        return ""


def answer_http_error(error: HTTPException) -> Response:
    """Answer what Flask and Werkzeug refuse, in the same shape; a ready-made response passes as it is."""
    if error.response is not None:
        return make_response(error.response)
    if error.code == 404:
        return answer_app_error(NotFound())
    if error.code == 413:
        return answer_app_error(TooLarge(max_mb=runtime().settings.max_upload_mb))
    if error.code == 400:
        return answer_app_error(MalformedRequest())
    title, detail = HTTP_REFUSALS.get(error.code or 500, OTHER_REFUSAL)
    body = {"type": "about:blank", "title": gettext(title), "status": error.code, "detail": gettext(detail)}
    response = _answer(body | {"code": error.name.lower().replace(" ", "_")})
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def answer_unexpected(error: InternalServerError) -> Response:
    """Answer a mistake of ours: logged whole by Flask, told without any detail."""
    return answer_app_error(AppError())


def wants_json() -> bool:
    """Whether the caller of this address is a program."""
    return request.path.startswith(JSON_PATHS)


def _answer(body: dict[str, Any]) -> Response:
    # A visitor who asks for help can quote it, and the operator finds the request in the log by it.
    body = body | {"requestId": request_id()}
    if wants_json():
        response = jsonify(body | {"error": body["detail"]})
        response.content_type = PROBLEM_TYPE
    else:
        response = make_response(render_template("error.html", **body))
    response.status_code = body["status"]
    response.headers["Cache-Control"] = "no-store"
    return response
