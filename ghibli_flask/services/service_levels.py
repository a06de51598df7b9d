"""The service levels: what visitors may expect, in figures, and whether the last 24 hours met them.

The one table of these rules. Front doors and services tell of each event that a level judges (`answered`, `ended`);
the counts are one metric, so the overview for operators (`current`) and the alert rules of deploy/prometheus judge by
the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from redis.exceptions import RedisError

from ghibli_flask import metrics
from ghibli_flask.errors import _
from ghibli_flask.metrics import LEVEL_CHECKS
from ghibli_flask.models.task import ImageTask
from ghibli_flask.task_states import Outcome

ORDER_WITHIN_S = 5.0
ANSWER_WITHIN_S = 1.0
PICTURE_WITHIN = timedelta(minutes=4)
ENOUGH_TO_JUDGE = 20
"""With fewer events in a day a single bad one would decide."""

MET, MISSED = "yes", "no"

ORDER_RULES = frozenset(
    {"/paint", "/api/generate-image", "/api/transform-ghibli", "/api/tasks/<task_id>/retry", "/tasks/<task_id>/retry"}
)
"""The routes that enter an order; their rule is the slower one, because a photograph comes along."""
UPLOAD_RULES = frozenset({"/paint", "/api/generate-image", "/api/transform-ghibli", "/api/upload-image"})
"""The routes that take a photograph in."""
UNJUDGED_RULES = frozenset({"/health", "/api/health", "/metrics"})
"""What programs ask of us about ourselves; /api/health waits for neighbours that are away, on purpose."""


@dataclass(frozen=True)
class LevelRule:
    """One service level: a sentence marked for translation, and the share of events (0 to 1) that must meet it."""

    key: str
    words: str
    goal: float


LEVELS: dict[str, LevelRule] = {
    rule.key: rule
    for rule in (
        LevelRule("order_accepted", _("Orders accepted within 5 seconds"), 0.99),
        LevelRule("api_answer", _("Answers of the API within 1 second"), 0.99),
        LevelRule("picture_in_time", _("Pictures painted within 4 minutes"), 0.95),
        LevelRule("no_error", _("Answers without an error of ours"), 0.99),
        LevelRule("upload_works", _("Uploads that worked"), 0.99),
        LevelRule("order_completed", _("Orders that ended with a painting"), 0.95),
    )
}


@dataclass(frozen=True)
class Level:
    """One service level over the last 24 hours, as an operator sees it.

    `words` is marked for translation; `goal` and `shown` are shares such as `99 %`, `shown` with the number of events
    behind it. `is_met` is None when there is not enough to judge, or Redis is away.
    """

    key: str
    words: str
    goal: str
    shown: str
    is_met: bool | None


def current() -> tuple[Level, ...]:
    """Every level over the last 24 hours, from counts in Redis: one round trip, nothing from the database."""
    try:
        counts = metrics.lately(LEVEL_CHECKS)
    except RedisError:
        counts = {}
    return tuple(
        _judged(rule, counts.get((rule.key, MET), 0), counts.get((rule.key, MISSED), 0)) for rule in LEVELS.values()
    )


def _judged(rule: LevelRule, met: float, missed: float) -> Level:
    events = met + missed
    goal = f"{rule.goal:.0%}".replace("%", " %")
    if not events:
        return Level(rule.key, rule.words, goal, "–", None)
    share = met / events
    # Cut and not rounded: 98.96 % is not shown as the 99 % that were missed.
    shown = f"{int(share * 1000) / 10:g} % ({events:.0f})"
    return Level(rule.key, rule.words, goal, shown, share >= rule.goal if events >= ENOUGH_TO_JUDGE else None)


def answered(rule: str, method: str, status: int, seconds: float) -> None:
    """Judge one answer of the web side: `rule` is the route's template."""
    if rule in UNJUDGED_RULES:
        return
    failed = status >= 500
    _check("no_error", not failed)
    sends = method == "POST"
    if sends and rule in ORDER_RULES:
        if status < 400:
            _check("order_accepted", seconds < ORDER_WITHIN_S)
    elif rule.startswith("/api/") and rule not in UPLOAD_RULES:
        _check("api_answer", seconds < ANSWER_WITHIN_S)
    if sends and rule in UPLOAD_RULES and (failed or status < 400):
        _check("upload_works", not failed)


def ended(task: ImageTask) -> None:
    """Judge one order that has ended; one that its visitor stopped, or that broke an engine's rules, judges nothing."""
    if task.outcome == Outcome.CANCELLED or task.error_code == "moderation" or task.finished_at is None:
        return
    is_painted = task.outcome == Outcome.PAINTED
    _check("order_completed", is_painted)
    if is_painted:
        _check("picture_in_time", task.finished_at - task.created_at < PICTURE_WITHIN)


def _check(level: str, met: bool) -> None:
    metrics.count(LEVEL_CHECKS, level, MET if met else MISSED)
