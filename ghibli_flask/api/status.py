"""The routes that tell how an order is doing: the poll, and the older address that answers with the picture."""

from __future__ import annotations

import hashlib

from flask import Blueprint, Response, jsonify, make_response, request
from spectree import Response as Answers

from ghibli_flask.api.pictures import picture_response
from ghibli_flask.errors import NotFound
from ghibli_flask.schemas import (
    OR_BY_SECRET,
    OlderProgress,
    PollQuery,
    Problem,
    TaskAnswer,
    failure_text,
    query_of,
    spec,
    task_answer,
)
from ghibli_flask.security import holds_process_secret
from ghibli_flask.services import files, pictures, processors, progress
from ghibli_flask.task_states import TaskState
from ghibli_flask.visitors import current_payer

polling = Blueprint("polling", __name__)

NOT_IN_ETAG = {"elapsed_ms", "next_poll_ms"}


@polling.get("/api/poll-task")
@spec.validate(
    query=PollQuery,
    resp=Answers("HTTP_304", HTTP_200=TaskAnswer, HTTP_404=Problem),
    tags=("Making pictures",),
    security=OR_BY_SECRET,
    skip_validation=True,
)
def poll_task() -> Response:
    """Ask how an order is doing; `nextPollMs` says when to ask again."""
    asked = query_of(PollQuery)
    view = _view(asked.task_id)
    answer = task_answer(view)
    response = Response(answer.model_dump_json(by_alias=True), mimetype="application/json")
    response.set_etag(_etag(answer), weak=True)
    response.headers["Cache-Control"] = "private, no-cache" if view.state.is_terminal else "no-store"
    response.make_conditional(request)
    return response


@polling.route("/api/transform-ghibli/check/<task_id>", methods=["GET", "POST"])
@spec.validate(
    resp=Answers(HTTP_200=OlderProgress, HTTP_403=Problem, HTTP_404=OlderProgress),
    tags=("Older clients",),
    security=OR_BY_SECRET,
    skip_validation=True,
)
def check(task_id: str) -> Response:
    """What older front ends poll: the picture itself once it is done, before that its progress."""
    try:
        view = _view(task_id)
        response = _older_answer(task_id, view)
    except NotFound:
        response = make_response(jsonify(status="not_found"), 404)
    response.headers["Cache-Control"] = "no-store"
    return response


def _view(task_id: str) -> progress.TaskView:
    """The task of this id; a holder of the process secret asks by the id that it handed over."""
    handed_over = processors.view(task_id) if holds_process_secret() else None
    return handed_over or progress.view(task_id)


def _older_answer(task_id: str, view: progress.TaskView) -> Response:
    if view.state is TaskState.COMPLETED:
        handed_over = processors.result_file(task_id) if holds_process_secret() else None
        file = handed_over or pictures.result_file(task_id, current_payer())
        return picture_response(files.read(file), file.key)
    if view.state.is_terminal:
        error = failure_text(view) or view.state.value
        return jsonify(status="failed", error=error)
    return jsonify(status="processing", progress=view.progress, elapsedTime=view.elapsed_ms // 1000)


def _etag(answer: TaskAnswer) -> str:
    return hashlib.sha256(answer.model_dump_json(exclude=NOT_IN_ETAG).encode()).hexdigest()[:24]
