"""Who is asking: the guest behind a request, by the signed cookie and the address. Called by the front doors.

Only pages and GET /api/csrf hand out the cookie; a program without any cookie is counted by its address alone.
"""

from __future__ import annotations

import secrets

from flask import Flask, Response, g, request
from itsdangerous import BadSignature, URLSafeSerializer

from ghibli_flask.extensions import runtime
from ghibli_flask.services.allowances import Guest, guest_of

GUEST_COOKIE = "guest"
ONE_YEAR_S = 365 * 24 * 3600
ID_BYTES = 16


def current_guest() -> Guest:
    """The guest of this request; raises nothing, a forged cookie counts as none."""
    return guest_of(_browser_id(), request.remote_addr or "unknown")


def has_guest_cookie() -> bool:
    """Whether the request brought a guest cookie, forged or not."""
    return GUEST_COOKIE in request.cookies


def greet() -> None:
    """Give this browser an id if it has none; the answer then carries the cookie."""
    if _browser_id() is None:
        g.new_browser_id = secrets.token_hex(ID_BYTES)


def install_visitors(app: Flask) -> None:
    """Let answers carry the cookie that `greet` decided on."""
    app.after_request(_hand_out_cookie)


def _browser_id() -> str | None:
    fresh: str | None = g.get("new_browser_id")
    if fresh:
        return fresh
    cookie = request.cookies.get(GUEST_COOKIE)
    if not cookie:
        return None
    try:
        value = _serializer().loads(cookie)
    except BadSignature:
        return None
    return value if isinstance(value, str) else None


def _hand_out_cookie(response: Response) -> Response:
    fresh = g.get("new_browser_id")
    if fresh:
        response.set_cookie(
            GUEST_COOKIE,
            _serializer().dumps(fresh),
            max_age=ONE_YEAR_S,
            httponly=True,
            samesite="Lax",
            secure=runtime().settings.is_production,
        )
    return response


def _serializer() -> URLSafeSerializer:
    """Signs with the newest key and accepts every configured one; itsdangerous wants the newest last."""
    return URLSafeSerializer(list(reversed(runtime().settings.signing_keys)), salt="guest")
