"""The operator's switches, kept as rows so that every process sees the same at once.

Read by the services that they steer and by the painting run; switched by administrators and by `flask flags`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ghibli_flask.database import reading, transaction
from ghibli_flask.engine_catalogue import Mode, available_modes
from ghibli_flask.errors import FieldError, InvalidFields, _
from ghibli_flask.extensions import runtime
from ghibli_flask.models.audit import AuditEntry
from ghibli_flask.models.flag import Flag
from ghibli_flask.settings import ALL_ENGINES

MAINTENANCE = "maintenance"
SIGN_UPS = "sign-ups"
GALLERY_APPROVAL = "gallery-approval"
GLOBAL_DAILY_LIMIT = "global-daily-limit"
OFF = "off"
ON = "on"
LONGEST_VALUE = 500

ENGINE_FLAGS = {f"engine-{name}": name for name in ALL_ENGINES}
NAMES: dict[str, str] = {
    MAINTENANCE: "what visitors are told while no orders are taken; empty takes orders again",
    SIGN_UPS: "off takes no new accounts",
    GALLERY_APPROVAL: "on lets an operator look first at what is meant for the gallery",
    GLOBAL_DAILY_LIMIT: "orders a day for the whole site, in place of GLOBAL_DAILY_LIMIT",
    **{flag: f"off skips the engine {name}" for flag, name in ENGINE_FLAGS.items()},
}


@dataclass(frozen=True)
class Switch:
    """One flag as an operator sees it; value and times are None while it was never set."""

    name: str
    meaning: str
    value: str | None
    set_by: str | None
    set_at: datetime | None


@dataclass(frozen=True)
class Flags:
    """All flags that are set, read at one moment."""

    values: Mapping[str, str]

    @property
    def maintenance(self) -> str | None:
        """What visitors are told while no orders are taken."""
        return self.values.get(MAINTENANCE)

    @property
    def engines(self) -> tuple[str, ...]:
        """The configured engines that nobody has switched off, in the order in which they are tried."""
        return tuple(name for name in runtime().settings.engines if self.values.get(f"engine-{name}") != OFF)

    @property
    def modes(self) -> frozenset[Mode]:
        """What can be ordered now."""
        return available_modes(self.engines)

    @property
    def daily_limit(self) -> int | None:
        """Orders a day for the whole site, None without a limit."""
        number = self.values.get(GLOBAL_DAILY_LIMIT)
        return runtime().settings.global_daily_limit if number is None else int(number)

    @property
    def takes_sign_ups(self) -> bool:
        """Whether new accounts are taken."""
        return self.values.get(SIGN_UPS) != OFF

    @property
    def gallery_needs_approval(self) -> bool:
        """Whether an operator looks first at what is meant for the gallery."""
        return self.values.get(GALLERY_APPROVAL) == ON


def current() -> Flags:
    """The flags as they are now; raises Unavailable when the database is away."""
    with reading() as session:
        return current_within(session)


def current_within(session: Session) -> Flags:
    """The same within a transaction."""
    return Flags({flag.name: flag.value for flag in session.scalars(select(Flag))})


def all_switches() -> list[Switch]:
    """Every flag that there is, set or not."""
    with reading() as session:
        rows = {flag.name: flag for flag in session.scalars(select(Flag))}
    return [_switch(name, meaning, rows.get(name)) for name, meaning in NAMES.items()]


def switch(name: str, new_value: str | None, *, by: str) -> None:
    """Set a flag, or clear it with None or an empty text; raises InvalidFields. The audit log remembers who did."""
    cleaned = (new_value or "").strip()
    _check(name, cleaned)
    transaction(lambda session: _set(session, name, cleaned, by))


def _switch(name: str, meaning: str, flag: Flag | None) -> Switch:
    if flag is None:
        return Switch(name, meaning, None, None, None)
    return Switch(name, meaning, flag.value, flag.set_by, flag.set_at)


def _check(name: str, new_value: str) -> None:
    if name not in NAMES:
        raise InvalidFields(fields=(FieldError("name", _("There is no such switch.")),))
    is_text = name == MAINTENANCE
    is_number = name == GLOBAL_DAILY_LIMIT
    fits = len(new_value) <= LONGEST_VALUE if is_text else new_value in {"", ON, OFF}
    if is_number:
        fits = new_value == "" or (new_value.isascii() and new_value.isdigit() and len(new_value) <= 9)
    if not fits:
        raise InvalidFields(fields=(FieldError("value", _("This switch cannot be set to that.")),))


def _set(session: Session, name: str, new_value: str, by: str) -> None:
    now = runtime().clock.now()
    flag = session.get(Flag, name, with_for_update=True)
    if flag is None and new_value:
        session.add(Flag(name=name, value=new_value, set_by=by, set_at=now))
    elif flag is not None and new_value:
        flag.value, flag.set_by, flag.set_at = new_value, by, now
    elif flag is not None:
        session.delete(flag)
    details = {"value": new_value}
    session.add(AuditEntry(actor=by, action="flag", subject=name, details=details, created_at=now))
