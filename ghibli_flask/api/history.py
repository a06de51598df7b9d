"""The route that lists the caller's own pictures, page by page."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response, jsonify
from pydantic import Field
from spectree import Response as Answers

from ghibli_flask.engine_catalogue import Mode
from ghibli_flask.schemas import (
    Problem,
    WireModel,
    WishAnswer,
    checked,
    failure_text,
    note_text,
    spec,
    utc_text,
    wish_answer,
)
from ghibli_flask.services import history
from ghibli_flask.services.history import Entry, Filters, Kind
from ghibli_flask.task_states import WIRE_STATUS
from ghibli_flask.visitors import current_payer

history_routes = Blueprint("history", __name__)


class HistoryQuery(WireModel):
    """Which part of the caller's own pictures."""

    state: Kind | None = Field(None, description="painted, unfinished, or not-painted")
    mode: Mode | None = None
    style: str | None = Field(None, max_length=64)
    shared: Literal["1"] | None = Field(None, description="only what is shared")
    cursor: str | None = Field(None, max_length=20, description="`nextCursor` of the page before")
    limit: int = Field(history.PAGE, ge=1, le=history.LARGEST_PAGE)


class HistoryItem(WireModel):
    """One order of the caller's own; `keptUntil` is null while it is unfinished, and while it is shared."""

    task_id: str
    status: str
    progress: int
    mode: str
    style: str
    prompt: str
    urls: list[str]
    thumbnail_url: str | None
    width: int | None
    height: int | None
    shared: bool
    refunded: bool
    note: str | None
    error: str | None
    code: str | None
    created_at: str
    finished_at: str | None
    kept_until: str | None
    photo_kept_until: str | None
    wish: WishAnswer | None


class HistoryAnswer(WireModel):
    """A page of the caller's own pictures, newest first; `nextCursor` leads to older ones."""

    items: list[HistoryItem]
    next_cursor: str | None


@history_routes.get("/api/tasks")
@spec.validate(
    query=HistoryQuery,
    resp=Answers(HTTP_200=HistoryAnswer, HTTP_422=Problem),
    tags=("Pictures",),
    skip_validation=False,
)
def own_tasks() -> Response:
    """List the caller's own pictures, newest first: the signed-in user's, or the browser's. Without a cookie none."""
    asked: HistoryQuery = checked().query
    mode = asked.mode.value if asked.mode else None
    filters = Filters(asked.state, mode, asked.style, shared=asked.shared is not None)
    page = history.page(current_payer(), filters, asked.cursor, asked.limit)
    answer = HistoryAnswer(items=[_item(entry) for entry in page.entries], next_cursor=page.older)
    response = jsonify(answer.model_dump(by_alias=True))
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _item(entry: Entry) -> HistoryItem:
    picture, keeping = f"/api/image/{entry.public_id}", entry.keeping
    picture_until, photo_until = (keeping.picture_until, keeping.photo_until) if keeping else (None, None)
    return HistoryItem(
        task_id=entry.public_id,
        status=WIRE_STATUS[entry.state],
        progress=entry.progress,
        mode=entry.mode,
        style=entry.style,
        prompt=entry.prompt,
        urls=[picture] if entry.has_picture else [],
        thumbnail_url=f"{picture}/thumbnail" if entry.has_picture else None,
        width=entry.width,
        height=entry.height,
        shared=entry.is_shared,
        refunded=entry.refunded,
        note=note_text(entry),
        error=failure_text(entry),
        code=entry.error_code,
        created_at=utc_text(entry.created_at),
        finished_at=utc_text(entry.finished_at) if entry.finished_at else None,
        kept_until=utc_text(picture_until) if picture_until else None,
        photo_kept_until=utc_text(photo_until) if photo_until else None,
        wish=wish_answer(entry.wish) if entry.wish else None,
    )
