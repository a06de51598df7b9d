"""What an owner does on a task's page, as plain forms: stop, paint again, wish, rate, delete. Each answers 303.

static/js/task.js sends the same forms through the API, so that the page need not be left; without JavaScript they
come here.
"""

from __future__ import annotations

from flask import Blueprint, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from ghibli_flask.security import orders_limit, ratings_limit
from ghibli_flask.services import ratings, tasks, wishes
from ghibli_flask.visitors import current_payer

task_actions = Blueprint("task_actions", __name__)


@task_actions.post("/tasks/<task_id>/cancel")
def cancel(task_id: str) -> Response:
    """Stop a painting and come back to its page."""
    tasks.cancel(task_id, current_payer())
    return _page_of(task_id)


@task_actions.post("/tasks/<task_id>/retry")
@orders_limit
def retry(task_id: str) -> Response:
    """Paint it again, in another style if one is chosen, and go to the new task."""
    submission = tasks.retry(task_id, current_payer(), request.form.get("style") or None)
    return _page_of(submission.task.public_id)


@task_actions.post("/tasks/<task_id>/wish")
@orders_limit
def wish(task_id: str) -> Response:
    """Keep the wish to have it painted when an engine is back."""
    wishes.make(task_id, current_payer())
    return _page_of(task_id)


@task_actions.post("/tasks/<task_id>/rating")
@ratings_limit
def rate(task_id: str) -> Response:
    """Keep the thumb and its word, and come back to the picture."""
    ratings.rate(task_id, current_payer(), request.form.get("verdict", ""), request.form.get("word"))
    flash(gettext("Thank you. It is noted."))
    return _page_of(task_id)


@task_actions.post("/tasks/<task_id>/delete")
def delete(task_id: str) -> Response:
    """Delete the picture with its files."""
    tasks.remove(task_id, current_payer())
    return redirect(url_for("visitor.home"), code=303)


def _page_of(task_id: str) -> Response:
    return redirect(url_for("visitor.task", task_id=task_id), code=303)
