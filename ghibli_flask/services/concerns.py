"""What an operator should do something about, the worst first, each with what to do. For the administrators' overview.

The cause of an alert is judged by a look of this moment where one is quick, else by what the monitor noted last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from ghibli_flask.errors import _
from ghibli_flask.extensions import runtime
from ghibli_flask.services import flags, gpu_tokens, health, incidents, moderation
from ghibli_flask.services.alerts import Cause
from ghibli_flask.services.gpu_tokens import TokenStatus
from ghibli_flask.services.incidents import Incident
from ghibli_flask.services.order_figures import Waiting
from ghibli_flask.services.service_levels import Level
from ghibli_flask.storage import stores

MONITOR_OVERDUE = timedelta(minutes=20)
STATUS_COMMAND = "scripts/check_status.sh"


@dataclass(frozen=True)
class Advice:
    """What is wrong and what to do, both marked for translation; a command to begin with, or the page that helps."""

    what: str
    do: str
    command: str | None = None
    page: Literal["orders", "switches", "shares"] | None = None


@dataclass(frozen=True)
class Concern:
    """One thing to look at. `is_alarm` when visitors notice it or soon will; `detail` is what the monitor said."""

    advice: Advice
    is_alarm: bool
    params: Mapping[str, object] = field(default_factory=dict)
    detail: str | None = None
    since: datetime | None = None


ADVICE: dict[Cause, Advice] = {
    Cause.DATABASE_AWAY: Advice(
        _("The database does not answer."),
        _("Orders are refused until it does; nothing is lost. Look at its log and whether its disk is full."),
        "systemctl status mariadb",
    ),
    Cause.REDIS_AWAY: Advice(
        _("Redis does not answer."),
        _("Orders are taken in and wait; nothing is lost. Start Redis again, and they are rung for."),
        "systemctl status redis-server",
    ),
    Cause.DEAD_WORKER: Advice(
        _("No painting worker is heard of."),
        _("Orders wait, and are given back at their deadline. Look at the worker's log and start it again."),
        STATUS_COMMAND,
    ),
    Cause.NO_MAINTENANCE_WORKER: Advice(
        _("No maintenance worker is heard of."),
        _("Until it runs, only the watchdog repairs what is stuck. Look at its log and start it again."),
        STATUS_COMMAND,
    ),
    Cause.SCHEDULER_SILENT: Advice(
        _("The scheduler is silent."),
        _("Nothing runs by the clock until it is started again."),
        STATUS_COMMAND,
    ),
    Cause.FAILING_SWEEP: Advice(
        _("The sweep is late, or did not do everything."),
        _("The traceback is in errors.log. One sweep by hand shows whether it works:"),
        "scripts/fix_stuck_tasks.py",
    ),
    Cause.REJECTED_TOKEN: Advice(
        _("The Hub refuses a token."),
        _("Make a new one at the Hub and put it in its place in HUGGING_FACE_TOKENS. The others go on."),
        "flask tokens status",
    ),
    Cause.NO_ENGINE_LEFT: Advice(
        _("No engine paints."),
        _("Is the painter up, is its quota used up, is its switch off? This asks each of them:"),
        "make check-engines",
    ),
    Cause.FULL_DISK: Advice(
        _("The disk is nearly full."),
        _("Make room: when it is full no photo can be stored, and orders are refused."),
        "df -h",
    ),
    Cause.STORAGE_AWAY: Advice(
        _("A store does not take files."),
        _("While another store takes them orders go on. Look at its keys, its bucket and the network."),
        "flask storage check",
    ),
    Cause.QUEUE_TOO_OLD: Advice(
        _("The oldest order has been waiting for too long."),
        _("Are the workers up and the engines quick? More workers, or more places in each, shorten the queue."),
        page="orders",
    ),
    Cause.CERTIFICATE_ENDS: Advice(
        _("The certificate ends soon, or browsers refuse it."),
        _("Try its renewal, and look whether port 80 is open."),
        "certbot renew --dry-run",
    ),
    Cause.BACKUP_LATE: Advice(
        _("The last backup is late."),
        _("Make one now and look at what it says."),
        "systemctl start ghibli-backup",
    ),
}

IN_MAINTENANCE = Advice(
    _("No orders are taken: the maintenance switch is on."),
    _("Clear the switch to take orders again. Visitors read: “%(words)s”"),
    page="switches",
)
ENGINES_OFF = Advice(_("Switched off: %(names)s."), _("Orders go to the other engines."), page="switches")
SIGN_UPS_CLOSED = Advice(_("No new accounts are taken."), _("Whoever has one signs in as ever."), page="switches")
PICTURES_WAIT = Advice(
    _("Shared pictures wait for somebody to look at them."),
    _("They were reported, or are meant for the gallery."),
    page="shares",
)
MONITOR_IS_LATE = Advice(
    _("The monitor has not run for a while."),
    _("What this page says of stores, disk, certificate and backup is as old. Run it by hand:"),
    "flask monitor run",
)
A_PROMISE_MISSED = Advice(
    _("A promise to visitors was missed within the last 24 hours."),
    _("The promises below say which one, the reasons below them why."),
)
A_STORE_RESTS = Advice(
    _("Resting after a failure: %(names)s."), _("Files go to the next store meanwhile."), "flask storage check"
)
TOKENS_REST = Advice(
    _("Every token rests or has used up its seconds."),
    _("Until the first comes back, orders go to another engine, or the photo comes back free of charge."),
    "flask tokens status",
)


def of_now(now: datetime, queue: Waiting, tokens: list[TokenStatus], levels: Sequence[Level]) -> list[Concern]:
    """Everything that deserves a look now: what visitors notice first."""
    known = {incident.cause: incident for incident in incidents.open_incidents()}
    found = [_concern(cause, known.get(cause)) for cause in _wrong(now, queue, tokens, known)]
    return found + _notices(now, tokens, levels)


def _concern(cause: Cause, incident: Incident | None) -> Concern:
    detail, since = (incident.text, incident.since) if incident else (None, None)
    return Concern(ADVICE[cause], is_alarm=True, detail=detail, since=since)


def _wrong(now: datetime, queue: Waiting, tokens: list[TokenStatus], known: Mapping[str, Incident]) -> list[Cause]:
    """The causes that stand: seen now where one can see it, else noted by the monitor and not mended since."""
    seen = _seen_now(now, queue, tokens)
    return [cause for cause in ADVICE if not seen.get(cause, cause not in known)]


def _seen_now(now: datetime, queue: Waiting, tokens: list[TokenStatus]) -> dict[Cause, bool]:
    """Whether each cause that can be looked at quickly is away; what hangs on Redis is unknown without it."""
    up = health.near_checks()
    age = now - queue.oldest_since if queue.oldest_since else timedelta(0)
    seen = {
        Cause.DATABASE_AWAY: up["database"],
        Cause.REDIS_AWAY: up["redis"],
        Cause.QUEUE_TOO_OLD: age.total_seconds() <= runtime().settings.stuck_after_s / 2,
    }
    if not up["redis"]:
        return seen
    seen |= {
        Cause.DEAD_WORKER: up["workers"],
        Cause.NO_MAINTENANCE_WORKER: up["maintenance_worker"],
        Cause.SCHEDULER_SILENT: up["scheduler"],
        Cause.REJECTED_TOKEN: all(token.state != "disabled" for token in tokens),
    }
    last = health.last_runs("sweep")
    if last and not up["sweep"]:
        seen[Cause.FAILING_SWEEP] = False
    return seen


def _notices(now: datetime, tokens: list[TokenStatus], levels: Sequence[Level]) -> list[Concern]:
    """What the operator wants, or has to do, and no visitor is kept waiting by."""
    switched, settings = flags.current(), runtime().settings
    found = []
    if switched.maintenance:
        found.append(Concern(IN_MAINTENANCE, is_alarm=False, params={"words": switched.maintenance}))
    off = [name for name in settings.engines if name not in switched.engines]
    if off:
        found.append(Concern(ENGINES_OFF, is_alarm=False, params={"names": ", ".join(off)}))
    if not switched.takes_sign_ups:
        found.append(Concern(SIGN_UPS_CLOSED, is_alarm=False))
    if any(level.is_met is False for level in levels):
        found.append(Concern(A_PROMISE_MISSED, is_alarm=False))
    if moderation.waiting():
        found.append(Concern(PICTURES_WAIT, is_alarm=False))
    if stores().resting:
        found.append(Concern(A_STORE_RESTS, is_alarm=False, params={"names": ", ".join(sorted(stores().resting))}))
    usable = {"available", "leased", "disabled"}
    if gpu_tokens.is_configured() and tokens and not any(token.state in usable for token in tokens):
        found.append(Concern(TOKENS_REST, is_alarm=False))
    last = health.last_finished("monitor")
    if last is None or now - last > MONITOR_OVERDUE:
        found.append(Concern(MONITOR_IS_LATE, is_alarm=False))
    return found
