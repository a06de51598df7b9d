"""What is wrong, since when, and who was told when: the rule of the alerts and its memory. For `services.alerts`.

Kept in the database, so that all processes agree and a lost Redis changes nothing. With the database away it is kept
in a file of this machine, and where even that cannot be written, in this process.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.models.incident import IncidentRow

log = logging.getLogger(__name__)

SAY_AGAIN_AFTER = timedelta(hours=1)
DATABASE_AWAY = (Unavailable, SQLAlchemyError)


@dataclass(frozen=True)
class Incident:
    """What is known of one cause: since when it is so, when people were last told, and when it was mended."""

    cause: str
    text: str
    since: datetime
    last_sent_at: datetime | None = None
    mended_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is still so."""
        return self.mended_at is None

    @property
    def was_told(self) -> bool:
        """Whether people know of it since it began."""
        return self.last_sent_at is not None and self.last_sent_at >= self.since


@dataclass(frozen=True)
class Step:
    """What becomes of an incident, whether people are told now, and what is kept should nobody take the message."""

    after: Incident | None
    is_said: bool = False
    unsaid: Incident | None = None


Decision = Callable[[Incident | None], Step]


def raised(before: Incident | None, cause: str, text: str, now: datetime) -> Step:
    """It is so: said unless it was said within the hour, also when it was mended in between and came again."""
    last_sent_at = before.last_sent_at if before else None
    since = before.since if before and before.is_open else now
    quiet = Incident(cause, text, since, last_sent_at)
    if last_sent_at is not None and now - last_sent_at < SAY_AGAIN_AFTER:
        return Step(quiet)
    return Step(replace(quiet, last_sent_at=now), is_said=True, unsaid=quiet)


def mended(before: Incident | None, now: datetime) -> Step:
    """It is so no longer: said once, and only to people who were told that it was."""
    if before is None or not before.is_open:
        return Step(before)
    return Step(replace(before, mended_at=now), is_said=before.was_told, unsaid=before)


def note(cause: str, decide: Decision) -> Step:
    """Decide by what is kept, and keep what is decided. Needs neither Redis nor the database."""
    aside = _read_aside().get(cause)
    try:
        step = transaction(lambda session: _note_row(session, cause, aside, decide))
    except IntegrityError:
        return Step(None)  # Another process entered the same cause at the same moment, and tells people of it.
    except DATABASE_AWAY:
        return _note_aside(cause, decide)
    if aside is not None:
        _note_aside(cause, lambda _before: Step(None))
    return step


def open_incidents() -> list[Incident]:
    """What is wrong now, as far as this machine knows, the oldest first."""
    known = _read_aside()
    try:
        with reading() as session:
            rows = session.scalars(select(IncidentRow).where(IncidentRow.mended_at.is_(None))).all()
        known = {row.cause: _incident_of(row) for row in rows} | known
    except DATABASE_AWAY:
        log.debug("The database is away; what was noted on this machine is all that is known.")
    return sorted((incident for incident in known.values() if incident.is_open), key=lambda incident: incident.since)


def _note_row(session: Session, cause: str, aside: Incident | None, decide: Decision) -> Step:
    row = session.get(IncidentRow, cause, with_for_update=True)
    kept = _incident_of(row) if row else None
    step = decide(aside or kept)  # What was noted while the database was away is the newer.
    if step.after is None or step.after == kept:
        return step
    if row is None:
        session.add(IncidentRow(**asdict(step.after)))
    else:
        for name, value in asdict(step.after).items():
            setattr(row, name, value)
    session.flush()
    return step


def _incident_of(row: IncidentRow) -> Incident:
    return Incident(row.cause, row.text, row.since, row.last_sent_at, row.mended_at)


# --- With the database away ---

_unwritten: dict[str, Incident] = {}
"""What this process could write nowhere at all."""


def _file() -> Path:
    return runtime().settings.instance_dir / "run" / "incidents.json"


def _read_aside() -> dict[str, Incident]:
    try:
        return _parsed(_file().read_text())
    except FileNotFoundError:
        return dict(_unwritten)
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read: %s", _file(), error)
        return dict(_unwritten)


def _note_aside(cause: str, decide: Decision) -> Step:
    try:
        with _locked(_file()):
            known = _read_aside()
            step = decide(known.pop(cause, None))
            if step.after:
                known[cause] = step.after
            _write_aside(known)
            _unwritten.clear()
            return step
    except OSError as error:
        log.warning("%s cannot be written, this process remembers by itself: %s", _file(), error)
        step = decide(_unwritten.pop(cause, None))
        if step.after:
            _unwritten[cause] = step.after
        return step


def _write_aside(known: dict[str, Incident]) -> None:
    if not known:
        _file().unlink(missing_ok=True)
        return
    new = _file().with_suffix(".new")
    new.write_text(json.dumps([asdict(incident) for incident in known.values()], default=datetime.isoformat))
    new.replace(_file())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parsed(text: str) -> dict[str, Incident]:
    times = ("since", "last_sent_at", "mended_at")
    found = {}
    for entry in json.loads(text):
        moments = {name: datetime.fromisoformat(entry[name]) if entry[name] else None for name in times}
        found[entry["cause"]] = Incident(**{**entry, **moments})
    return found
