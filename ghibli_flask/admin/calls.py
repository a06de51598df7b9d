"""The operator's calls about orders: list them, fail them, paint them again, give their price back. With ADMIN_API_KEY.

What these calls do stands in the audit log as done by `key`, because a key has no name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from flask import Blueprint, Response, jsonify, url_for
from pydantic import Field
from spectree import Response as Answers

from ghibli_flask.errors import NotFound, Unauthorized
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.schemas import Problem, WireModel, checked, spec, utc_text
from ghibli_flask.security import is_operator, secrets_limit
from ghibli_flask.services import order_desk, progress
from ghibli_flask.services.order_desk import Filters, OwnerKind, Page
from ghibli_flask.task_states import TaskState

order_calls = Blueprint("order_calls", __name__)

ACTOR = "key"
TAGS = ("Operators",)
BY_KEY: dict[str, list[str]] = {"operatorKey": []}
REFUSALS: dict[str, type[Problem]] = {f"HTTP_{code}": Problem for code in (401, 404, 429)}


class OrdersQuery(WireModel):
    """Which orders; `cursor` is what `Link` gave for the next page."""

    state: TaskState | None = None
    engine: str | None = Field(None, max_length=32)
    style: str | None = Field(None, max_length=32)
    owner: OwnerKind | None = Field(None, description="who has it: an account, a guest's browser, or nobody")
    reason: str | None = Field(None, max_length=64, description="the code of its failure")
    since: datetime | None = Field(None, description="accepted at this moment or later; without an offset in UTC")
    user_id: str | None = Field(None, max_length=50)
    id: str | None = Field(None, max_length=64, description="the beginning of its id, or the whole id of its caller")
    cursor: int | None = Field(None, ge=1, lt=2**63)
    limit: int = Field(order_desk.PAGE, ge=1, le=order_desk.LARGEST_PAGE)


class OrderStatus(WireModel):
    """What its row says, in the words of the Redis key `task:{id}:status`; times are epoch milliseconds."""

    status: TaskState
    start_time: int
    updated_at: int
    progress: float
    stage: str
    user_id: str | None
    prompt: str
    note: str | None
    error: str | None
    engine: str | None
    style: str
    attempt: int
    outcome: str | None
    charged: bool
    refunded: bool
    accepted_at: str
    finished_at: str | None


class OrderLine(WireModel):
    """One order."""

    task_id: str
    status: OrderStatus


def operator_first(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let only holders of ADMIN_API_KEY in; there are no such calls without one."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not runtime().settings.admin_api_key:
            raise NotFound
        if not is_operator():
            raise Unauthorized
        return view(*args, **kwargs)

    return guarded


@order_calls.get("/admin/tasks")
@secrets_limit
@operator_first
@spec.validate(
    query=OrdersQuery,
    resp=Answers(HTTP_200=list[OrderLine], HTTP_422=Problem, **REFUSALS),
    tags=TAGS,
    security=BY_KEY,
)
def list_orders() -> Response:
    """List orders, newest first; `Link` with `rel="next"` leads to older ones.

    One call looks at 20,000 orders at most, so a rare filter may give few or none and yet a next page.
    """
    asked: OrdersQuery = checked().query
    found = Page(order_desk.by_id(asked.id), None, None) if asked.id else _page(asked)
    response = _private([_line(task).model_dump(by_alias=True, mode="json") for task in found.tasks])
    if found.older is not None:
        response.headers["Link"] = f'<{_next_address(asked, found.older)}>; rel="next"'
    return response


@order_calls.post("/admin/tasks/<task_id>/fail")
@secrets_limit
@operator_first
@spec.validate(resp=Answers(HTTP_200=OrderLine, HTTP_409=Problem, **REFUSALS), tags=TAGS, security=BY_KEY)
def fail_order(task_id: str) -> Response:
    """End an order that is under way as failed and give its price back; 409 when it has ended."""
    return _private(_line(order_desk.fail(ACTOR, task_id)).model_dump(by_alias=True, mode="json"))


@order_calls.post("/admin/tasks/<task_id>/retry")
@secrets_limit
@operator_first
@spec.validate(
    resp=Answers(HTTP_202=OrderLine, HTTP_409=Problem, HTTP_410=Problem, **REFUSALS), tags=TAGS, security=BY_KEY
)
def retry_order(task_id: str) -> tuple[Response, int]:
    """Have an ended order painted again for its owner, free of charge; 409 the second time and before its end.

    The answer is the new order.
    """
    task = order_desk.retry(ACTOR, task_id)
    response = _private(_line(task).model_dump(by_alias=True, mode="json"))
    response.headers["Location"] = url_for("polling.poll_task", taskId=task.public_id)
    return response, 202


@order_calls.post("/admin/tasks/<task_id>/refund")
@secrets_limit
@operator_first
@spec.validate(resp=Answers(HTTP_200=OrderLine, HTTP_409=Problem, **REFUSALS), tags=TAGS, security=BY_KEY)
def refund_order(task_id: str) -> Response:
    """Give the price of an ended order back, once; 409 before its end, and when there is nothing to give back."""
    return _private(_line(order_desk.refund(ACTOR, task_id)).model_dump(by_alias=True, mode="json"))


def _page(asked: OrdersQuery) -> Page:
    since = asked.since.replace(tzinfo=asked.since.tzinfo or UTC) if asked.since else None
    filters = Filters(asked.state, asked.engine, asked.style, asked.owner, asked.reason, since, asked.user_id)
    return order_desk.page(filters, asked.cursor, asked.limit)


def _next_address(asked: OrdersQuery, row: int) -> str:
    query = asked.model_dump(by_alias=True, mode="json", exclude_none=True) | {"cursor": row}
    return url_for("order_calls.list_orders", **query)


def _line(task: ImageTask) -> OrderLine:
    live = progress.live_status(task, task.finished_at or task.heartbeat_at or task.queued_at)
    return OrderLine(
        task_id=task.public_id,
        status=OrderStatus(
            status=task.state,
            start_time=live.start_time,
            updated_at=live.updated_at,
            progress=live.progress,
            stage=live.stage,
            user_id=live.user_id,
            prompt=live.prompt,
            note=live.note,
            error=live.code,
            engine=live.engine,
            style=task.style,
            attempt=live.attempt,
            outcome=task.outcome,
            charged=bool(task.charged),
            refunded=live.refunded,
            accepted_at=utc_text(task.created_at),
            finished_at=utc_text(task.finished_at) if task.finished_at else None,
        ),
    )


def _private(body: object) -> Response:
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-store"
    return response
