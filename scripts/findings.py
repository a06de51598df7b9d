"""What a command-line check found out, one line each. Made by the checks of engines, proxies, settings and services."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ghibli_flask.masking import Mask

log = logging.getLogger(__name__)

SLOW_S = 0.1

Kind = Literal["proxy", "engine", "token", "painting", "setting", "service", "machine"]


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: whether it works, what was heard in how many seconds, and what to do about it."""

    kind: Kind
    name: str
    ok: bool
    text: str
    seconds: float = 0.0
    fix: str = ""
    mild: bool = False
    """Visitors are served all the same; says something of findings that are not `ok` alone."""

    @property
    def level(self) -> Literal["ok", "warn", "fail"]:
        """How bad it is."""
        return "ok" if self.ok else "warn" if self.mild else "fail"

    @property
    def line(self) -> str:
        """One line for the operator."""
        verdict = "works" if self.ok else "FAILS"
        fix = f" -> {self.fix}" if self.fix else ""
        return f"{self.kind:8}  {self.name:22}  {verdict}  {self.seconds:6.2f} s  {self.text}{fix}"

    @property
    def verdict(self) -> str:
        """One line that begins with how bad it is; the time stands there where it says something."""
        took = f" ({self.seconds:.2f} s)" if self.seconds >= SLOW_S else ""
        fix = f" -> {self.fix}" if self.fix else ""
        return f"{self.level:4}  {self.kind:8}  {self.name:24}  {self.text}{took}{fix}"

    def masked(self, mask: Mask) -> Finding:
        """The same on one line and without secrets, whatever a far side has said."""
        return replace(self, name=mask(self.name), text=mask(" ".join(self.text.split())), fix=mask(self.fix))


def guarded(kind: Kind, name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds; one that breaks off is a finding itself, so that the others go on."""
    try:
        yield from look()
    except Exception as error:
        log.exception("Could not look at %s", name)
        fix = "Mend first what is named above; the log has the traceback."
        yield Finding(kind, name, False, f"could not be looked at: {type(error).__name__}", fix=fix)


class Timer:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been, to the millisecond."""
        return round(time.monotonic() - self._began_at, 3)
