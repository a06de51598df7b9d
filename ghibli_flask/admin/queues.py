"""The administrators' page of RQ's queues: what waits, runs, failed and why, and which workers listen."""

from __future__ import annotations

from flask import Blueprint, render_template

from ghibli_flask.admin.door import administrators_only
from ghibli_flask.services import queue_view

queue_pages = Blueprint("queue_pages", __name__, url_prefix="/admin")
queue_pages.before_request(administrators_only)


@queue_pages.get("/ui/queues")
def queues() -> str:
    """Both queues with their registries; it only shows, because an order's row decides and not its ring."""
    return render_template("admin/queues.html", queues=queue_view.queues())
