"""Each request's id, its line in the log, and its figures. Installed by the factory, before everything else that looks
at requests, so that it begins first and ends last.

The id is answered in `X-Request-ID`, shown small on error pages for a visitor to quote, bound to every line that the
request writes, and carried on to the jobs that it rings for (`queueing`) and to the engines that paint for it.
"""

from __future__ import annotations

import logging
import re
import secrets
import time

from flask import Flask, Response, g, request
from structlog.contextvars import bind_contextvars, clear_contextvars

from ghibli_flask import metrics
from ghibli_flask.extensions import runtime
from ghibli_flask.logs import REQUESTS
from ghibli_flask.services import service_levels

log = logging.getLogger(REQUESTS)

HEADER = "X-Request-ID"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED, OTHER_METHOD, HIDDEN = "unmatched", "other", "…"
ASKED_ALL_DAY = frozenset({"/health", "/metrics"})
"""What watchers ask every few seconds: their lines are written when LOG_LEVEL is DEBUG."""
LONGEST_PATH = 200

_SANE_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_A_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LIKE_A_SECRET = re.compile(r"[^/]{20,}")


def install_request_log(app: Flask) -> None:
    """Follow the requests of an application."""
    app.before_request(begin)
    app.after_request(finish)
    app.teardown_request(forget)


def request_id() -> str:
    """The id of the present request; empty for one that failed before it began."""
    return str(g.get("request_id", ""))


def begin() -> None:
    """Give the request its id; a thread that serves many must not keep what the one before has bound."""
    g.began = time.perf_counter()
    g.request_id = _id_of_proxy() or secrets.token_hex(8)
    clear_contextvars()
    bind_contextvars(request_id=g.request_id)
    task_id = (request.view_args or {}).get("task_id", "")
    if _A_TASK_ID.fullmatch(task_id):
        bind_contextvars(task_id=task_id)


def finish(response: Response) -> Response:
    """Count the answer, judge it, write its line, and let it carry the id."""
    if "began" not in g:
        return response
    seconds = time.perf_counter() - g.began
    response.headers[HEADER] = g.request_id
    route, method, status = _route(), request.method, response.status_code
    metrics.observe(
        metrics.HTTP_SECONDS,
        seconds,
        method if method in METHODS else OTHER_METHOD,
        route,
        f"{status // 100}xx",
    )
    service_levels.answered(route, method, status, seconds)
    level = logging.DEBUG if route in ASKED_ALL_DAY else logging.INFO
    if log.isEnabledFor(level):
        fields = {
            "method": method,
            "route": route,
            "path": _safe_path(),
            "status": status,
            "seconds": round(seconds, 4),
            "bytes": response.calculate_content_length(),
        }
        log.log(level, "request", extra={"fields": fields})
    return response


def forget(_error: BaseException | None) -> None:
    """Let nothing that is logged on this thread between two requests name the first of them."""
    clear_contextvars()


def _id_of_proxy() -> str | None:
    """The id that our own proxy gave; without one, what a visitor claims is not believed."""
    given = request.headers.get(HEADER, "") if runtime().settings.trusted_proxies else ""
    return given if _SANE_ID.fullmatch(given) else None


def _route() -> str:
    """The template of the route, one of a known few; the static files' has the release in it."""
    if request.endpoint == "static":
        return "/static"
    return request.url_rule.rule if request.url_rule else UNMATCHED


def _safe_path() -> str:
    """The path without its query, and without the tokens of mailed links: also in one that is not quite an address."""
    if request.url_rule is None:
        return _LIKE_A_SECRET.sub(HIDDEN, request.path[:LONGEST_PATH])
    token = (request.view_args or {}).get("token")
    return request.path.replace(token, HIDDEN) if token else request.path
