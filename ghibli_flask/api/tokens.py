"""The route that shows operators how the Hub's tokens are doing, masked."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, Response, jsonify, request
from spectree import Response as Answers

from ghibli_flask.errors import NotFound, Unauthorized
from ghibli_flask.extensions import runtime
from ghibli_flask.schemas import (
    Problem,
    TokenAnswer,
    TokenStatusAnswer,
    TokenStatusQuery,
    TokenSummary,
    spec,
    utc_text,
)
from ghibli_flask.security import secrets_limit
from ghibli_flask.services import gpu_tokens
from ghibli_flask.services.gpu_tokens import TokenStatus

token_routes = Blueprint("tokens", __name__)


def _admin_secret_first(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let only holders of ADMIN_SECRET in; a header is preferred, because addresses end up in histories and logs."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        expected = runtime().settings.admin_secret
        if not expected:
            raise NotFound
        given = request.headers.get("X-Admin-Secret") or request.args.get("secret", "")
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise Unauthorized
        return view(*args, **kwargs)

    return guarded


@token_routes.get("/api/token-status")
@secrets_limit
@_admin_secret_first
@spec.validate(
    query=TokenStatusQuery,
    resp=Answers(HTTP_200=TokenStatusAnswer, HTTP_401=Problem, HTTP_404=Problem, HTTP_429=Problem),
    tags=("Operators",),
    security=[{"adminSecret": []}, {"adminSecretInQuery": []}],
)
def token_status() -> Response:
    """How each token of the Hub is doing, with ADMIN_SECRET as `X-Admin-Secret` or as `secret`."""
    tokens = [_token_answer(status) for status in gpu_tokens.statuses()]
    minutes = sum(token.usage_minutes for token in tokens)
    body = TokenStatusAnswer(
        timestamp=utc_text(runtime().clock.now()),
        summary=TokenSummary(
            total_tokens=len(tokens),
            available_tokens=sum(token.available for token in tokens),
            used_tokens=sum(token.seconds_used > 0 for token in tokens),
            total_usage_minutes=round(minutes, 2),
            average_usage_minutes=round(minutes / len(tokens), 2) if tokens else 0,
        ),
        tokens=tokens,
    )
    response = jsonify(body.model_dump(by_alias=True))
    response.headers["Cache-Control"] = "no-store"
    return response


def _token_answer(status: TokenStatus) -> TokenAnswer:
    return TokenAnswer(
        token=status.mask,
        available=status.state == "available",
        state=status.state,
        usage_minutes=round(status.seconds_used / 60, 2),
        seconds_used=round(status.seconds_used, 1),
        seconds_left=round(status.seconds_left, 1),
        daily_limit=status.daily_limit,
        runs=status.runs,
        cooling_until=utc_text(status.cooling_until) if status.cooling_until else None,
        resets_at=utc_text(status.resets_at) if status.resets_at else None,
        calls=status.calls,
        failures=status.failures,
        checked_at=utc_text(status.checked_at) if status.checked_at else None,
        source=status.source,
    )
