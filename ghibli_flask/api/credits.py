"""The routes about credits: what the signed-in person has, and the postings of programs that hold API_TOKEN."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from spectree import Response as Answers

from ghibli_flask.errors import MalformedRequest
from ghibli_flask.schemas import (
    BalanceAnswer,
    CreditEntryAnswer,
    PostingAnswer,
    PostingJSON,
    Problem,
    checked,
    spec,
    utc_text,
)
from ghibli_flask.security import api_token_first, secrets_limit
from ghibli_flask.services import credits
from ghibli_flask.visitors import require_user

credit_routes = Blueprint("credits", __name__)

TAGS = ("Credits",)


@credit_routes.get("/api/user-credits")
@spec.validate(resp=Answers(HTTP_200=BalanceAnswer, HTTP_401=Problem), tags=TAGS, security={"session": []})
def user_credits() -> Response:
    """What the signed-in person has, and the latest entries."""
    who = require_user()
    balance = credits.balance_of(who.user_id)
    body = BalanceAnswer(
        credits=balance.credits,
        monthly_credits=balance.monthly,
        reset_at=utc_text(balance.resets_at),
        history=[
            CreditEntryAnswer(
                amount=entry.amount,
                kind=entry.kind,
                reason=entry.reason,
                task_id=entry.task_id,
                created_at=utc_text(entry.created_at),
            )
            for entry in credits.statement(who.user_id)
        ],
    )
    return _private(body.model_dump(by_alias=True))


@credit_routes.post("/api/user-credits")
@secrets_limit
@api_token_first
@spec.validate(
    json=PostingJSON,
    resp=Answers(
        HTTP_200=PostingAnswer,
        **{f"HTTP_{code}": Problem for code in (400, 401, 404, 409, 422, 429)},
    ),
    tags=TAGS,
    security={"apiToken": []},
)
def post_credits() -> Response:
    """Add to a balance or take from it, with the bearer API_TOKEN.

    With `taskId`, `subtract` is the task's charge and `add` its refund, each posted once however often it is sent.
    """
    wished: PostingJSON | None = checked().json
    if wished is None:
        raise MalformedRequest
    amount = wished.amount if wished.operation == "add" else -wished.amount
    return _private({"credits": credits.post(wished.user_id, amount, wished.task_id)})


def _private(body: dict[str, object]) -> Response:
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-store"
    return response
