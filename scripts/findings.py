"""What a command-line check found out, one line each. Made by `proxy_check` and `engine_check`."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

from ghibli_flask.masking import Mask


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: whether it works, what was heard in how many seconds, and what to do about it."""

    kind: Literal["proxy", "engine", "token", "painting"]
    name: str
    ok: bool
    text: str
    seconds: float = 0.0
    fix: str = ""

    @property
    def line(self) -> str:
        """One line for the operator."""
        verdict = "works" if self.ok else "FAILS"
        fix = f" -> {self.fix}" if self.fix else ""
        return f"{self.kind:8}  {self.name:22}  {verdict}  {self.seconds:6.2f} s  {self.text}{fix}"

    def masked(self, mask: Mask) -> Finding:
        """The same on one line and without secrets, whatever a far side has said."""
        return replace(self, name=mask(self.name), text=mask(" ".join(self.text.split())), fix=mask(self.fix))


class Timer:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been, to the millisecond."""
        return round(time.monotonic() - self._began_at, 3)
