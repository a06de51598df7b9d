"""What is counted about orders as they are accepted and end. The row is the truth, and a count follows its commit.

Called by `tasks`, `batches`, `order_desk` and `jobs.paint`.
"""

from __future__ import annotations

from ghibli_flask import metrics
from ghibli_flask.errors import TASK_FAILURES
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import service_levels
from ghibli_flask.task_states import Outcome

NO_ENGINE = "none"


def accepted(task: ImageTask) -> None:
    """Count an order that was entered."""
    metrics.count(metrics.ORDERS_ACCEPTED, task.mode, task.style)


def ended(task: ImageTask) -> None:
    """Count an order that has just ended, with its refund and what its visitor waited for."""
    engine = task.engine or NO_ENGINE
    metrics.count(metrics.ORDERS_ENDED, task.outcome or "", _reason(task), engine, task.style)
    if task.refunded:
        refunded(task)
    service_levels.ended(task)
    if task.outcome == Outcome.PAINTED and task.started_at and task.finished_at:
        waited = (task.started_at - task.created_at).total_seconds()
        metrics.observe(metrics.ORDER_SECONDS, waited, "waiting", engine)
        metrics.observe(metrics.ORDER_SECONDS, (task.finished_at - task.created_at).total_seconds(), "whole", engine)


def refunded(task: ImageTask) -> None:
    """Count an ended order whose price was given back, with its end or later by an operator."""
    metrics.count(metrics.ORDERS_REFUNDED, task.outcome or "")


def painted(engine: str, seconds: float) -> None:
    """Count how long a run took to paint, from its claim to the finished picture."""
    metrics.observe(metrics.ORDER_SECONDS, seconds, "painting", engine)


def saved(engine: str, seconds: float) -> None:
    """Count how long a picture and its thumbnail took to be stored."""
    metrics.observe(metrics.ORDER_SECONDS, seconds, "saving", engine)


def _reason(task: ImageTask) -> str:
    """Why there is no painting, of the reasons that are known; an outside program may have left another."""
    if not task.error_code:
        return "none"
    return task.error_code if task.error_code in TASK_FAILURES else "other"
