"""The routes that take and change orders: make, cancel, paint again, rate, delete."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from spectree import Response as Answers

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.errors import FieldError, InvalidFields, MalformedRequest, NotFound, _
from ghibli_flask.schemas import (
    OR_BY_SECRET,
    AcceptedOrder,
    OrderFields,
    OrderForm,
    OrderJSON,
    Problem,
    RatingJSON,
    RetryAnswer,
    RetryJSON,
    TaskAnswer,
    WishMade,
    checked,
    order_of,
    spec,
    task_answer,
    wish_answer,
)
from ghibli_flask.security import holds_process_secret, orders_limit, ratings_limit
from ghibli_flask.services import payers, pictures, processors, progress, ratings, tasks, uploads, wishes
from ghibli_flask.services.orders import Submission
from ghibli_flask.services.payers import Payer
from ghibli_flask.visitors import current_payer

orders = Blueprint("orders", __name__)

MAKING = ("Making pictures",)
REFUSALS = {f"HTTP_{code}": Problem for code in (400, 401, 402, 403, 404, 413, 415, 422, 429, 503)}
LONGEST_KEY = 200


@orders.post("/api/generate-image")
@orders_limit
@spec.validate(
    json=OrderJSON,
    form=OrderForm,
    resp=Answers(HTTP_202=AcceptedOrder, HTTP_200=AcceptedOrder, **REFUSALS),
    tags=MAKING,
    skip_validation=False,
)
def generate_image() -> tuple[Response, int, dict[str, str]]:
    """Order a picture.

    Multipart with `image`, or JSON. 200 with `duplicate` when the same order stands already.
    """
    return _accept(_fields(), style=None)


@orders.post("/api/transform-ghibli")
@orders_limit
@spec.validate(
    json=OrderJSON,
    form=OrderForm,
    resp=Answers(HTTP_202=AcceptedOrder, HTTP_200=AcceptedOrder, **REFUSALS),
    tags=MAKING,
)
def transform_ghibli() -> tuple[Response, int, dict[str, str]]:
    """Order a picture from a photograph in the default style: the address of older front ends."""
    return _accept(_fields(), style="ghibli")


@orders.post("/api/tasks/<task_id>/cancel")
@spec.validate(
    resp=Answers(HTTP_200=TaskAnswer, HTTP_403=Problem, HTTP_404=Problem, HTTP_409=Problem),
    tags=MAKING,
    security=OR_BY_SECRET,
)
def cancel(task_id: str) -> Response:
    """Stop queued or running work and get the try back."""
    handed_over = processors.cancel(task_id) if holds_process_secret() else None
    view = handed_over or progress.view_of(tasks.cancel(task_id, current_payer()))
    return jsonify(task_answer(view).model_dump(by_alias=True))


@orders.post("/api/tasks/<task_id>/retry")
@orders_limit
@spec.validate(
    json=RetryJSON,
    resp=Answers(HTTP_202=RetryAnswer, HTTP_200=AcceptedOrder, HTTP_409=Problem, HTTP_410=Problem, **REFUSALS),
    tags=MAKING,
)
def retry(task_id: str) -> tuple[Response, int, dict[str, str]]:
    """Paint the same order again, in another style if one is given, as a new task.

    With `whenReady` nothing is ordered now: the wish is kept, once, when an engine is back.
    """
    wished: RetryJSON | None = checked().json
    payer = current_payer()
    if wished and wished.when_ready:
        made = WishMade(wish=wish_answer(wishes.make(task_id, payer)))
        return jsonify(made.model_dump(by_alias=True)), 202, {}
    style = wished.style if wished else None
    return _answer(tasks.retry(task_id, payer, style, _idempotency_key()), payer)


@orders.post("/api/tasks/<task_id>/rating")
@ratings_limit
@spec.validate(json=RatingJSON, resp=Answers("HTTP_204", HTTP_409=Problem, **REFUSALS), tags=MAKING)
def rate(task_id: str) -> tuple[str, int]:
    """Say what you think of a painted picture: a thumb up or down, and a word if you like.

    For its owner. A second rating takes the place of the first.
    """
    rating: RatingJSON | None = checked().json
    if rating is None:
        raise MalformedRequest
    ratings.rate(task_id, current_payer(), rating.verdict, rating.word)
    return "", 204


@orders.delete("/api/tasks/<task_id>")
@spec.validate(resp=Answers("HTTP_204", HTTP_403=Problem, HTTP_404=Problem), tags=MAKING)
def delete(task_id: str) -> tuple[str, int]:
    """Delete a picture and its files."""
    tasks.remove(task_id, current_payer())
    return "", 204


def _fields() -> OrderFields:
    """The checked fields, whichever form they came in."""
    context = checked()
    fields: OrderFields | None = context.form or context.json
    if fields is None:
        raise InvalidFields(fields=(FieldError("image", _("Please choose a photo.")),))
    return fields


def _accept(fields: OrderFields, style: str | None) -> tuple[Response, int, dict[str, str]]:
    payer = current_payer()
    order = order_of(fields, _photo(fields, payer), style=style, idempotency_key=_idempotency_key())
    if style and order.mode is not Mode.IMAGE_TO_IMAGE:
        raise InvalidFields(fields=(FieldError("mode", _("This address takes photos only.")),))
    return _answer(tasks.submit(order, payer), payer)


def _photo(fields: OrderFields, payer: Payer) -> bytes | None:
    if isinstance(fields, OrderForm):
        upload = request.files.get("image")
        return uploads.within_limit(upload.read()) if upload else None
    assert isinstance(fields, OrderJSON)
    if fields.image_base64:
        return uploads.from_base64(fields.image_base64)
    if fields.upload_id:
        return uploads.photo_of(fields.upload_id, payer)
    if fields.image_url:
        return pictures.photo_behind(fields.image_url, payer)
    return None


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > LONGEST_KEY:
        raise InvalidFields(fields=(FieldError("Idempotency-Key", _("The key is longer than 200 characters.")),))
    return key or None


def _answer(submission: Submission, payer: Payer) -> tuple[Response, int, dict[str, str]]:
    if submission.task.deleted_at:
        raise NotFound
    view = progress.view_of(submission.task)
    poll_url = f"/api/poll-task?taskId={view.public_id}"
    body = AcceptedOrder(
        task_id=view.public_id,
        status=task_answer(view).status,
        poll_url=poll_url,
        next_poll_ms=view.next_poll_ms,
        queue_position=view.queue_position,
        eta_seconds=view.eta_seconds,
        refund_at=task_answer(view).refund_at,
        credits=payers.pictures_left(payer),
        duplicate=submission.duplicate,
    )
    headers = {"Location": poll_url, "Retry-After": str(max(1, (view.next_poll_ms or 1000) // 1000))}
    exclude = None if submission.duplicate else {"duplicate"}
    answer = jsonify(body.model_dump(by_alias=True, exclude=exclude))
    return answer, (200 if submission.duplicate else 202), headers
