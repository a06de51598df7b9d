"""What every request must obey and every answer carries: origins, CSRF tokens, security headers, limits.

Installed by the factory. The rules are those of docs/api.md: a state-changing request from a foreign origin is
refused whatever its cookies, and one with cookies brings a token.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request
from flask_wtf.csrf import CSRFError, CSRFProtect
from limits import RateLimitItemPerMinute, parse

from ghibli_flask.errors import ForeignOrigin, NotFound, TooManyRequests, Unauthorized
from ghibli_flask.extensions import runtime
from ghibli_flask.services.throttle import Rule, Standing, throttle
from ghibli_flask.settings import Settings
from ghibli_flask.storage import stores
from ghibli_flask.visitors import client_address, has_guest_cookie

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

SHARE_TARGET = "visitor.receive_photo"
"""Where a phone's share sheet sends photographs: the one form that no page of ours has shown."""
ANSWER_HEADERS = "ghibli_answer_headers"

csrf = CSRFProtect()
GUESSES_OF_SECRETS = Rule("secrets", parse("20 per minute"))
PAGE_ERRORS = Rule("page-errors", parse("20 per minute"))
RATINGS = Rule("ratings", parse("20 per minute"))

View = Callable[..., Any]


def install_security(app: Flask) -> None:
    """Guard the requests and dress the answers of an application."""
    settings = runtime().settings
    app.config.update(
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,  # The origin rule below is the stricter one and knows the allowed origins.
    )
    csrf.init_app(app)
    app.extensions[ANSWER_HEADERS] = _answer_headers(settings)
    app.before_request(guard_request)
    app.after_request(dress_answer)


def guard_request() -> None:
    """Refuse what another site may have sent in a visitor's name; raises ForeignOrigin."""
    if request.method in SAFE_METHODS:
        return
    if request.endpoint == SHARE_TARGET:
        _check_share_sheet()
        return
    _check_origin()
    if _has_cookie() and not _has_key():
        try:
            csrf.protect()
        except CSRFError as error:
            raise ForeignOrigin from error


def orders_limit(view: View) -> View:
    """At most ORDERS_PER_MINUTE requests of a minute from one address, over all routes that are so limited."""

    @wraps(view)
    def limited(*args: Any, **kwargs: Any) -> Any:
        most = runtime().settings.orders_per_minute
        if most:
            _obey(throttle().count(Rule("orders", RateLimitItemPerMinute(most)), client_address()))
        return view(*args, **kwargs)

    return limited


def page_errors_limit(view: View) -> View:
    """At most twenty reports of a minute from one address."""
    return _limited(view, PAGE_ERRORS)


def ratings_limit(view: View) -> View:
    """At most twenty thumbs of a minute from one address."""
    return _limited(view, RATINGS)


def secrets_limit(view: View) -> View:
    """At most twenty wrong keys of a minute from one address; right ones are not counted."""

    @wraps(view)
    def limited(*args: Any, **kwargs: Any) -> Any:
        _obey(throttle().look(GUESSES_OF_SECRETS, client_address()))
        try:
            return view(*args, **kwargs)
        except Unauthorized:
            g.limit = throttle().count(GUESSES_OF_SECRETS, client_address())
            raise

    return limited


def _limited(view: View, rule: Rule) -> View:
    @wraps(view)
    def limited(*args: Any, **kwargs: Any) -> Any:
        _obey(throttle().count(rule, client_address()))
        return view(*args, **kwargs)

    return limited


def _obey(standing: Standing) -> None:
    """Tell the limit in the answer; raises TooManyRequests when it is used up."""
    g.limit = standing
    if not standing.allowed:
        raise TooManyRequests(retry_after=standing.wait_s)


def api_token_first(view: View) -> View:
    """Let only holders of API_TOKEN get as far as having their fields checked; there is no such call without one."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        expected = runtime().settings.api_token
        if not expected:
            raise NotFound
        if not hmac.compare_digest(expected.encode(), (_bearer() or "").encode()):
            raise Unauthorized
        return view(*args, **kwargs)

    return guarded


def process_secret_first(view: View) -> View:
    """Let only holders of the process secret get as far as having their fields checked."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not holds_process_secret():
            raise Unauthorized
        return view(*args, **kwargs)

    return guarded


def holds_process_secret() -> bool:
    """Whether the request carries the secret of outside processors as bearer; compared in constant time."""
    expected, given = runtime().settings.process_secret, _bearer()
    return bool(expected and given and hmac.compare_digest(expected.encode(), given.encode()))


def is_operator() -> bool:
    """Whether the request carries ADMIN_API_KEY, as X-API-Key or bearer; compared in constant time."""
    expected = runtime().settings.admin_api_key
    given = request.headers.get("X-API-Key") or _bearer()
    return bool(expected and given and hmac.compare_digest(expected.encode(), given.encode()))


def dress_answer(response: Response) -> Response:
    """Add the security headers, the limit fields, and CORS for the allowed origins."""
    headers = response.headers
    present = {name.lower() for name, _value in headers}
    for name, value in current_app.extensions[ANSWER_HEADERS]:
        if name.lower() not in present:
            headers.add(name, value)
    _add_limit_fields(response)
    _add_cors_fields(response)
    return response


def _answer_headers(settings: Settings) -> tuple[tuple[str, str], ...]:
    """What every answer carries that does not say otherwise itself."""
    always = (
        ("Content-Security-Policy", content_security_policy()),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
        ("Permissions-Policy", "geolocation=(), microphone=(), payment=()"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    )
    return (*always, ("Strict-Transport-Security", "max-age=31536000")) if settings.is_production else always


def content_security_policy() -> str:
    """Everything is ours alone, but for pictures that a store hands out itself."""
    return "; ".join(
        (
            "default-src 'self'",
            " ".join(("img-src 'self' blob: data:", *stores().origins)),
            "style-src 'self'",
            "script-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "worker-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def _check_origin() -> None:
    origin = request.headers.get("Origin")
    if origin is None:
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            raise ForeignOrigin
        return
    if origin not in _allowed_origins():
        raise ForeignOrigin


def _check_share_sheet() -> None:
    """A share sheet has no token, and its origin is `null` or none. But browsers say that no page stands behind it.

    No page can say so itself. A browser too old to say anything names the origin of every form.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is None:
        _check_origin()
    elif site not in {"none", "same-origin"}:
        raise ForeignOrigin


def _allowed_origins() -> set[str]:
    settings = runtime().settings
    parts = urlsplit(settings.public_url)
    allowed = {f"{parts.scheme}://{parts.netloc}", *settings.cors_origins}
    if not settings.is_production:
        allowed.add(request.host_url.rstrip("/"))
    return allowed


def _has_cookie() -> bool:
    return has_guest_cookie() or runtime().settings.session_cookie in request.cookies


def _bearer() -> str | None:
    kind, _blank, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" and value.strip() else None


def _has_key() -> bool:
    """A key in a header cannot be added by another site without a preflight that it does not pass."""
    return bool(request.headers.get("X-API-Key") or _bearer())


def _add_limit_fields(response: Response) -> None:
    """The RateLimit fields of the IETF draft, for the one limit that this request met."""
    met: Standing | None = g.get("limit")
    if met is None:
        return
    name, limit = met.rule.kind, met.rule.limit
    response.headers["RateLimit-Policy"] = f'"{name}";q={limit.amount};w={limit.get_expiry()}'
    response.headers["RateLimit"] = f'"{name}";r={met.left};t={met.wait_s}'


def _add_cors_fields(response: Response) -> None:
    friends, headers = runtime().settings.cors_origins, response.headers
    if not friends:
        return
    # On every answer: one that a cache keeps for a request without an origin would lack the fields for the next.
    headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin not in friends:
        return
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Allow-Credentials"] = "true"
    headers["Access-Control-Expose-Headers"] = "ETag, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-ID"
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE"
        headers["Access-Control-Allow-Headers"] = "Content-Type, X-CSRFToken, Idempotency-Key, If-None-Match"
        headers["Access-Control-Max-Age"] = "600"
