"""The OpenAPI document as it goes out: what spectree makes of the declarations, and what it cannot say, added by rule.

Shown by `pages` at /api/openapi.json and /api/docs. spectree calls every answer application/json and knows no headers,
no cookies and no pictures; the rules of `security` and `error_handlers` hold for every route and are declared at none.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import current_app

from ghibli_flask.error_handlers import PROBLEM_TYPE
from ghibli_flask.extensions import runtime
from ghibli_flask.schemas import spec
from ghibli_flask.settings import Settings

Node = dict[str, Any]

EXAMPLES: Node = json.loads((Path(__file__).parent / "api_examples.json").read_text())
"""An example of each shape, by its name."""

FORMS = ("OrderForm", "UploadForm")
METHODS = ("get", "post", "put", "patch", "delete")
PICTURES = ("image/jpeg", "image/png", "image/webp")
PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
WITHOUT_DATABASE = {"/health", "/api/csrf", "/api/test-env"}
"""What needs no database and so is never unavailable; /api/health answers 503 in a form of its own."""

DESCRIPTION = (
    "Order a picture, ask how it is doing, fetch it. Programs without cookies need neither key nor token. Names are "
    "camelCase, times ISO 8601 in UTC. Every refusal is a problem (RFC 9457) with a `code` that never changes."
)
IDS = {
    "task_id": "the task's id; whoever holds it may ask after the task and see its picture",
    "share_id": "the share's id, from its address",
    "upload_id": "the `uploadId` of a photograph that was sent ahead",
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "a text of the caller's own; the same again within a day is answered with the first order",
    "schema": {"type": "string", "maxLength": 200},
}
OLDER_CHECK = "/api/transform-ghibli/check/{task_id}"
"""Answers with the picture itself once it is done."""
MAY_BE_EMPTY = {("/api/tasks/{task_id}/retry", "post"), ("/api/share/{share_id}", "patch")}
"""Calls that mean something without a body."""
ORDERS = {"/api/generate-image", "/api/transform-ghibli", "/api/tasks/{task_id}/retry"}

HEADERS: dict[str, Node] = {
    "Location": {"description": "where to go on", "schema": {"type": "string"}},
    "Retry-After": {"description": "seconds until trying again makes sense", "schema": {"type": "integer"}},
    "ETag": {"description": "for If-None-Match", "schema": {"type": "string"}},
    "Content-Disposition": {"description": "with `download=1`, a name for the file", "schema": {"type": "string"}},
    "RateLimit-Policy": {"description": "the limit that was met", "schema": {"type": "string"}},
    "RateLimit": {"description": "what is left of it, and for how long", "schema": {"type": "string"}},
}
HEADERS_OF = {
    "302": ("Location",),
    "304": ("ETag",),
    "429": ("Retry-After", "RateLimit-Policy", "RateLimit"),
    "503": ("Retry-After",),
}
"""The headers that answers of a status may have, at every address."""
HEADERS_AT: dict[str, dict[str, tuple[str, ...]]] = {
    "/api/upload-image": {"201": ("Location",)},
    "/api/poll-task": {"200": ("ETag",)},
    **{path: dict.fromkeys(("200", "202"), ("Location", "Retry-After")) for path in ORDERS},
}
"""And those of single calls."""


def document() -> Node:
    """The whole document, for the application that is running."""
    whole: Node = copy.deepcopy(spec.spec)
    whole["info"]["description"] = DESCRIPTION
    whole["servers"] = [{"url": "/"}]  # Relative to the document, so that it holds behind every proxy.
    whole["components"]["securitySchemes"] = _security_schemes(runtime().settings)
    whole["security"] = [{}]
    names = _names_of_views()
    for path, method, operation in operations(whole):
        operation["operationId"] = names[path, method]
        _tell_parameters(path, operation)
        _tell_body(path, method, operation)
        _tell_who_may(method, operation)
        _tell_answers(path, method, operation)
    for name, shape in whole["components"]["schemas"].items():
        _drop_titles(shape)
        if name in FORMS:
            _without_null(shape)
        if name in EXAMPLES:
            shape["examples"] = [EXAMPLES[name]]
    return whole


def operations(whole: Node) -> Iterator[tuple[str, str, Node]]:
    """Each operation of a document with its path and its method."""
    for path, item in whole["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _names_of_views() -> dict[tuple[str, str], str]:
    """The name of the function behind each operation, in camelCase: generators of clients call their methods by it."""
    names: dict[tuple[str, str], str] = {}
    for rule in current_app.url_map.iter_rules():
        path = re.sub(r"<(?:[^<>:]+:)?([^<>]+)>", r"{\1}", rule.rule)
        head, *tail = rule.endpoint.split(".")[-1].split("_")
        verbs = sorted(rule.methods & {method.upper() for method in METHODS}) if rule.methods else []
        for verb in verbs:
            suffix = verb.capitalize() if len(verbs) > 1 else ""
            names[path, verb.lower()] = head + "".join(word.capitalize() for word in tail) + suffix
    return names


def _tell_parameters(path: str, operation: Node) -> None:
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            parameter["description"] = IDS[parameter["name"]]
            parameter["schema"] |= {"minLength": 1, "maxLength": 64}
        _drop_titles({"properties": {"schema": parameter["schema"]}})
        parameter["schema"].pop("description", None)
    if path in ORDERS:
        operation["parameters"].append(IDEMPOTENCY_KEY)


def _tell_body(path: str, method: str, operation: Node) -> None:
    body = operation.get("requestBody")
    if body:
        body["required"] = (path, method) not in MAY_BE_EMPTY


def _without_null(form: Node) -> None:
    """A field of a form is there or not: unlike JSON it has no way of saying null."""
    for part in form["properties"].values():
        kinds = [kind for kind in part.get("anyOf", []) if kind.get("type") != "null"]
        if kinds:
            del part["anyOf"], part["default"]
            part |= kinds[0]


def _security_schemes(settings: Settings) -> Node:
    def key(place: str, name: str, description: str) -> Node:
        return {"type": "apiKey", "in": place, "name": name, "description": description}

    def bearer(description: str) -> Node:
        return {"type": "http", "scheme": "bearer", "description": description}

    return {
        "guest": key("cookie", settings.guest_cookie, "a browser without an account; GET /api/csrf hands it out"),
        "session": key("cookie", settings.session_cookie, "a signed-in person"),
        "csrf": key("header", "X-CSRFToken", "the token of GET /api/csrf, for whatever changes something by cookie"),
        "apiToken": bearer("API_TOKEN, for postings of credits"),
        "processSecret": bearer("TASK_PROCESS_SECRET_KEY, for outside processors and programs that hand orders over"),
        "operatorKey": key("header", "X-API-Key", "ADMIN_API_KEY; also taken as a bearer token"),
        "adminSecret": key("header", "X-Admin-Secret", "ADMIN_SECRET"),
        "adminSecretInQuery": key("query", "secret", "the same; addresses end up in histories and logs"),
    }


def _tell_who_may(method: str, operation: Node) -> None:
    """Cookies with the token where something changes; what a route declares itself, such as a secret, comes first."""
    own = operation.get("security", [{}])
    if own != [{}] and {} not in own:
        return
    cookies = ("guest", "session")
    by_cookie: list[Node] = [{name: [], **({} if method == "get" else {"csrf": []})} for name in cookies]
    operation["security"] = [*own, *by_cookie]


def _tell_answers(path: str, method: str, operation: Node) -> None:
    answers, body = operation["responses"], operation.get("requestBody")
    if not body and not any(parameter["in"] == "query" for parameter in operation["parameters"]):
        answers.pop("422", None)  # spectree declares it everywhere.
    if method != "get":
        _add_problem(answers, "403", "Forbidden")
    if body:
        _add_problem(answers, "400", "Bad Request")
        _add_problem(answers, "413", "Content Too Large")
    if path not in WITHOUT_DATABASE:
        _add_problem(answers, "503", "Service Unavailable")
    for answer in answers.values():
        content = answer.get("content", {})
        if content.get("application/json") == PROBLEM:
            answer["content"] = {PROBLEM_TYPE: PROBLEM}
    if path == OLDER_CHECK:
        answers["200"]["content"] |= {kind: {} for kind in PICTURES}
    if path == "/metrics":
        answers["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    if "206" in answers:
        _tell_pictures(answers)
    for status, answer in answers.items():
        headers = HEADERS_OF.get(status, HEADERS_AT.get(path, {}).get(status, ()))
        if headers:
            answer.setdefault("headers", {}).update({name: HEADERS[name] for name in headers})
    operation["responses"] = dict(sorted(answers.items()))


def _tell_pictures(answers: Node) -> None:
    """The answers of a route that sends bytes, in part if the caller asks for a part."""
    for status in ("200", "206"):
        answers[status]["content"] = {kind: {} for kind in PICTURES}
        answers[status]["headers"] = {name: HEADERS[name] for name in ("ETag", "Content-Disposition")}
    answers["416"]["content"] = {PROBLEM_TYPE: PROBLEM}


def _add_problem(answers: Node, status: str, description: str) -> None:
    answers.setdefault(status, {"description": description, "content": {PROBLEM_TYPE: PROBLEM}})


def _drop_titles(shape: Node) -> None:
    """Take away the titles that Pydantic makes of names: they say nothing that the names do not."""
    for part in shape.get("properties", {}).values():
        part.pop("title", None)
