"""What an engine is: request, credential and deadline in; a picture's bytes out, or an error that says what to do.

`jobs.chain` calls engines through this protocol alone; each engine of this package follows it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from ghibli_flask.engine_catalogue import Mode

CONNECTING = "connecting"
WAITING_FOR_GPU = "waiting_for_gpu"
PAINTING = "painting"
DOWNLOADING = "downloading"

LONGEST_TEXT = 500
_HUB_TOKEN = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{4,}")
_BEARER = re.compile(r"(?i)\bbearer\s+\S+")


@dataclass(frozen=True)
class PaintRequest:
    """One painting to make.

    `image` is a JPEG of exactly `width` x `height` pixels, or None for a picture from words. `prompt` is complete,
    the style's trigger words included; `look` is the style's key, for engines that know looks by name.
    `reference` names this attempt at this task, for engines that hand it on; `request_id` is the id that the log
    follows the order by, and goes along as `X-Request-ID` to what may log it, too.
    """

    mode: str
    image: bytes | None
    width: int
    height: int
    prompt: str
    look: str
    seed: int
    reference: str = ""
    request_id: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the id; none when there is no id."""
        return {"X-Request-ID": self.request_id} if self.request_id else {}


@dataclass(frozen=True)
class News:
    """How a painting comes along.

    `stage` is one of the four constants of this module, `fraction` runs from 0 to 1 while painting, `rank` counts
    the calls that the engine serves before this one, and `eta_seconds` is the engine's guess until the picture.
    """

    stage: str
    fraction: float | None = None
    rank: int | None = None
    eta_seconds: float | None = None


class EngineError(Exception):
    """An engine did not paint. `safe_text` is for the log: secrets masked, bounded, never shown to a visitor.

    `reconnect` marks a refusal that a fresh connection may cure; engines act on it before they let the error go.
    """

    def __init__(self, text: str, *, secret: str | None = None, reconnect: bool = False) -> None:
        self.safe_text = masked(text, secret)
        self.reconnect = reconnect
        super().__init__(self.safe_text)


class QuotaExhausted(EngineError):
    """This credential rests for `retry_after` seconds: take the next one, then the next engine.

    `requested_seconds` is what one call reserves, where the refusal tells it.
    """

    def __init__(
        self,
        text: str,
        *,
        retry_after: float,
        requested_seconds: int | None = None,
        secret: str | None = None,
        reconnect: bool = False,
    ) -> None:
        super().__init__(text, secret=secret, reconnect=reconnect)
        self.retry_after = retry_after
        self.requested_seconds = requested_seconds


class EngineBusy(EngineError):
    """Try again with backoff, after `retry_after` seconds if given, and at most `retries` times if given."""

    def __init__(
        self,
        text: str,
        *,
        retry_after: float | None = None,
        retries: int | None = None,
        secret: str | None = None,
        reconnect: bool = False,
    ) -> None:
        super().__init__(text, secret=secret, reconnect=reconnect)
        self.retry_after = retry_after
        self.retries = retries


class CredentialRejected(EngineError):
    """Disable this credential and tell the operator."""


class RequestRejected(EngineError):
    """This order cannot be painted as it is: fail it, give the credit back, say why. Trying again is no use.

    `reason` is "moderation" when the engine's rules on content forbid the picture, so that the visitor can be told.
    """

    def __init__(
        self,
        text: str,
        *,
        reason: Literal["moderation"] | None = None,
        secret: str | None = None,
        reconnect: bool = False,
    ) -> None:
        super().__init__(text, secret=secret, reconnect=reconnect)
        self.reason = reason


class EngineBroken(EngineError):
    """This engine cannot paint now: take the next engine."""


class DeadlinePassed(EngineBroken):
    """The time that this call was given is over."""


class ResultUnreadable(EngineBroken):
    """What came back is no picture; whoever proves the bytes raises it."""


class PaintingCancelled(EngineError):
    """The caller no longer wants the picture; nothing has failed."""


class Deadline:
    """A moment on the monotonic clock by which a call must have ended, whatever the engine does."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never less than zero."""
        return max(0.0, self._ends_at - time.monotonic())

    def check(self) -> None:
        """Raise DeadlinePassed when no time is left."""
        if self.remaining() <= 0:
            raise DeadlinePassed("The time for this call is over.")


class Engine(Protocol):
    """A way to make a picture. Engines are safe over threads; one object serves every task of a process."""

    name: str
    modes: frozenset[Mode]

    def paint(
        self,
        request: PaintRequest,
        *,
        credential: str | None,
        deadline: Deadline,
        on_news: Callable[[News], None],
        is_cancelled: Callable[[], bool],
    ) -> bytes:
        """Make the picture and return its bytes, in whatever format the engine gives; they are not yet proven.

        `on_news` and `is_cancelled` are called from the calling thread; what they raise ends the call and passes
        through. Otherwise raises EngineError's children only (OSError when a temporary file cannot be written), and
        returns or raises at the deadline, give or take two seconds.
        """
        ...

    def check(self, *, credential: str | None, deadline: Deadline) -> str:
        """Ask cheaply, without painting or spending anything, whether the engine would answer.

        Returns one line for an operator, such as its version; raises EngineError's children.
        """
        ...

    def close(self) -> None:
        """Let go of connections and threads."""
        ...


def masked(text: str, secret: str | None = None) -> str:
    """`text` fit for a log: this secret and everything that looks like a token replaced, at most 500 characters."""
    if secret:
        text = text.replace(secret, "[masked]")
    text = _BEARER.sub("[masked]", _HUB_TOKEN.sub("[masked]", text))
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
