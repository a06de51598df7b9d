"""What went wrong on visitors' pages: a line of the log each, and the latest for the administrators' overview.

Called by `api.diagnostics`, which anybody can post to: so a line is a warning at most, alerts nobody and stays out of
errors.log and of Sentry, and only the latest few are kept.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from redis.exceptions import RedisError

from ghibli_flask.clock import epoch_ms
from ghibli_flask.extensions import runtime
from ghibli_flask.masking import Mask

log = logging.getLogger(__name__)

LONGEST_TEXT = 1000
LONGEST_KEPT = 300
KEPT = 20
KEPT_FOR_S = 7 * 86_400

_QUERY = re.compile(r"(?<=\S)\?\S+")
_MAIL_ADDRESS = re.compile(r"[^\s@<>()]+@[^\s@<>()]+")


@dataclass(frozen=True)
class PageError:
    """One report of a page: what went wrong, on which order's page if any, and when it came in."""

    text: str
    task_id: str | None
    at: datetime


def note(error: str, task_id: str | None = None, happened_at: datetime | None = None) -> None:
    """Log an error of a page: on one line, cut, without queries of addresses and without mail addresses."""
    task = f" (task {task_id})" if task_id else ""
    moment = f" at {happened_at.isoformat(timespec='seconds')}" if happened_at else ""
    cleaned = _cleaned(error)
    log.warning("page error%s%s: %s", task, moment, cleaned)
    _keep(cleaned, task_id)


def recent() -> list[PageError] | None:
    """The latest reports, newest first; None when Redis is away."""
    try:
        kept = cast("list[bytes]", runtime().redis.lrange(_key(), 0, KEPT - 1))
    except RedisError:
        return None
    found = [json.loads(raw) for raw in kept]
    return [PageError(one["text"], one["task"], datetime.fromtimestamp(one["at"] / 1000, UTC)) for one in found]


def _keep(cleaned: str, task_id: str | None) -> None:
    text = Mask(runtime().settings)(cleaned)[:LONGEST_KEPT]
    entry = json.dumps({"text": text, "task": task_id, "at": epoch_ms(runtime().clock.now())})
    try:
        with runtime().redis.pipeline() as pipeline:
            pipeline.lpush(_key(), entry)
            pipeline.ltrim(_key(), 0, KEPT - 1)
            pipeline.expire(_key(), KEPT_FOR_S)
            pipeline.execute()
    except RedisError:
        return  # The log has it.


def _key() -> str:
    return f"{runtime().settings.queue_prefix}:page-errors"


def _cleaned(text: str) -> str:
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in text[:LONGEST_TEXT]).split())
    return _MAIL_ADDRESS.sub("[address]", _QUERY.sub("?…", words))
