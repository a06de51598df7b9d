"""What went wrong on a visitor's page, as one line of the log. Called by `api.diagnostics`.

Anybody can post here, so a line is a warning at most: it alerts nobody and stays out of errors.log and of Sentry.
"""

from __future__ import annotations

import logging
import re
from datetime import datetime

log = logging.getLogger(__name__)

LONGEST_TEXT = 1000

_QUERY = re.compile(r"(?<=\S)\?\S+")
_MAIL_ADDRESS = re.compile(r"[^\s@<>()]+@[^\s@<>()]+")


def note(error: str, task_id: str | None = None, happened_at: datetime | None = None) -> None:
    """Log an error of a page: on one line, cut, without queries of addresses and without mail addresses."""
    task = f" (task {task_id})" if task_id else ""
    moment = f" at {happened_at.isoformat(timespec='seconds')}" if happened_at else ""
    log.warning("page error%s%s: %s", task, moment, _cleaned(error))


def _cleaned(text: str) -> str:
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in text[:LONGEST_TEXT]).split())
    return _MAIL_ADDRESS.sub("[address]", _QUERY.sub("?…", words))
