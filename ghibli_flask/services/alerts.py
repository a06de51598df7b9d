"""Telling people what is wrong: once when it begins, once an hour while it lasts, once when it is mended.

Called by `services.monitor`, `services.repair`, the watchdog and whoever meets a cause first. Neither verb ever
raises: an alert must not break what it is about.
"""

from __future__ import annotations

import logging
from enum import StrEnum

from ghibli_flask.extensions import runtime
from ghibli_flask.masking import Mask
from ghibli_flask.services import alert_channels, incidents
from ghibli_flask.services.alert_channels import Message
from ghibli_flask.services.incidents import Decision, Incident, Step

log = logging.getLogger(__name__)

LONGEST_TEXT = 400


class Cause(StrEnum):
    """Everything that an operator is told about; docs/operate.md says what to do about each."""

    DEAD_WORKER = "dead_worker"
    NO_MAINTENANCE_WORKER = "no_maintenance_worker"
    SCHEDULER_SILENT = "scheduler_silent"
    FAILING_SWEEP = "failing_sweep"
    REJECTED_TOKEN = "rejected_token"  # noqa: S105 - the name of a cause.
    NO_ENGINE_LEFT = "no_engine_left"
    FULL_DISK = "full_disk"
    STORAGE_AWAY = "storage_away"
    DATABASE_AWAY = "database_away"
    REDIS_AWAY = "redis_away"
    QUEUE_TOO_OLD = "queue_too_old"
    CERTIFICATE_ENDS = "certificate_ends"
    BACKUP_LATE = "backup_late"


def raise_alert(cause: str, text: str) -> bool:
    """Say that something is wrong, unless it was said within the hour; True when somebody was told now."""
    text = Mask(runtime().settings)(text)[:LONGEST_TEXT]
    now = runtime().clock.now()
    return _carry_out(cause, lambda before: incidents.raised(before, cause, text, now))


def mended(cause: str) -> bool:
    """Say that a cause is gone, if people were told of it; True when somebody was told now."""
    now = runtime().clock.now()
    return _carry_out(cause, lambda before: incidents.mended(before, now))


def _carry_out(cause: str, decide: Decision) -> bool:
    """Note what is decided, then say it. What nobody took is noted as not said, and the next look says it."""
    try:
        step = incidents.note(cause, decide)
        if step.after is None or not step.is_said:
            return False
        message = _message(step.after)
        log.log(logging.INFO if message.is_mended else logging.ERROR, "%s: %s", message.headline, message.text)
        if alert_channels.send(message):
            return True
        incidents.note(cause, lambda now: Step(step.unsaid if now == step.after else now))
    except Exception:
        log.exception("An alert about %s failed", cause)
    return False


def _message(incident: Incident) -> Message:
    if incident.mended_at is None:
        return Message(incident.cause, incident.text, runtime().clock.now())
    text = f"Since {incident.mended_at:%H:%M} UTC it is well again. It was: {incident.text}"
    return Message(incident.cause, text, incident.mended_at, is_mended=True)
