"""The engines in their order, with credentials, breakers and retries around every call. Called by `jobs.paint`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ghibli_flask import metrics
from ghibli_flask.engine_catalogue import ENGINES, EngineFacts, Mode
from ghibli_flask.extensions import runtime
from ghibli_flask.images import Picture
from ghibli_flask.services import flags
from ghibli_flask.task_states import Stage
from jobs.credentials import Credential, FixedKey, credentials_for
from jobs.engines.base import (
    PAINTING,
    CredentialRejected,
    Deadline,
    DeadlinePassed,
    Engine,
    EngineBroken,
    EngineBusy,
    EngineError,
    News,
    PaintingCancelled,
    PaintRequest,
    QuotaExhausted,
    RequestRejected,
    ResultUnreadable,
)
from jobs.process import PaintingProcess
from jobs.retrying import busy_retries

log = logging.getLogger(__name__)

PROBE_S = 5.0
LEAST_FOR_A_CALL_S = 5.0

# What a task's row keeps as the reason, by what the engine said. What stands first is matched first.
CODES: tuple[tuple[type[EngineError], str], ...] = (
    (DeadlinePassed, "engine_timeout"),
    (ResultUnreadable, "result_unreadable"),
    (EngineBusy, "engine_busy"),
    (QuotaExhausted, "quota"),
    (RequestRejected, "engine_rejected"),
    (EngineError, "engine_unavailable"),
)


# How a call ended, for the metrics. What stands first is matched first; anything else is "broken".
RESULTS: tuple[tuple[type[EngineError], str], ...] = (
    (PaintingCancelled, "cancelled"),
    (DeadlinePassed, "timeout"),
    (EngineBusy, "busy"),
    (QuotaExhausted, "quota"),
    (CredentialRejected, "credential_rejected"),
    (RequestRejected, "rejected"),
)


@dataclass
class Failures:
    """What the engines that were tried said, so that the ending can be chosen."""

    quota: bool = False
    codes: list[str] = field(default_factory=list)

    def add(self, engine: str, error: EngineError) -> None:
        """Remember one engine's refusal and log it; its text is already masked."""
        log.warning("engine %s: %s: %s", engine, type(error).__name__, error.safe_text)
        self.quota = self.quota or isinstance(error, QuotaExhausted)
        self.codes.append(next(code for kind, code in CODES if isinstance(error, kind)))

    @property
    def code(self) -> str:
        """The reason that the visitor is told: the last engine's, which had the last chance."""
        return self.codes[-1] if self.codes else "engine_unavailable"


class NothingPaintedError(Exception):
    """No engine painted; `failures` says why each did not."""

    def __init__(self, failures: Failures) -> None:
        super().__init__(", ".join(failures.codes) or "no engine was tried")
        self.failures = failures


class NoTokenLeft(QuotaExhausted):
    """Every token rests, is used up or is in use, so the engine was not asked."""


class Listener(Protocol):
    """Whom a painting is told to: `jobs.pulse` for an order."""

    def enter(self, stage: Stage, engine: str | None = None) -> None:
        """The work moved on to this stage."""

    def tell(self, news: News, engine: str) -> None:
        """Take an engine's news."""

    def is_cancelled(self) -> bool:
        """Whether nobody wants the picture any more."""


@dataclass(frozen=True)
class Errand:
    """One order on its way through the engines: what to ask each for, how long there is, and whom to tell."""

    mode: Mode
    request_for: Callable[[EngineFacts], PaintRequest]
    seconds_left: Callable[[], float]
    pulse: Listener


Finisher = Callable[[EngineFacts, bytes], Picture]
"""Proves an engine's answer and brings it into the order's shape; raises ResultUnreadable."""


def paint_with_any(process: PaintingProcess, errand: Errand, finish: Finisher) -> tuple[str, Picture]:
    """The first engine that paints: its name and the finished picture.

    An answer that `finish` finds unreadable is a failure of its engine like any other, so the next one is tried.
    Raises NothingPaintedError when none did, RequestRejected when the order is against an engine's rules, and
    PaintingCancelled.
    """
    failures = Failures()
    for engine in _usable(process, errand.mode):
        request = errand.request_for(ENGINES[engine.name])
        try:
            return engine.name, _paint_with(engine, process, request, errand, finish)
        except PaintingCancelled:
            raise
        except EngineError as error:
            failures.add(engine.name, error)
            if isinstance(error, RequestRejected) and error.reason == "moderation":
                raise
    raise NothingPaintedError(failures)


def _usable(process: PaintingProcess, mode: Mode) -> list[Engine]:
    """The engines of this process that know the mode and that no operator has switched off."""
    on = flags.current().engines
    return [engine for engine in process.engines if engine.name in on and mode in engine.modes]


def _paint_with(
    engine: Engine, process: PaintingProcess, request: PaintRequest, errand: Errand, finish: Finisher
) -> Picture:
    """One engine, behind its breaker, with one credential after the other.

    What ends before the engine was asked, for want of time or of a token, tells its breaker nothing.
    """
    deadline = _deadline_of(errand)
    breaker = process.breakers[engine.name]
    if not breaker.allows(lambda: _answers(engine)):
        raise EngineBroken("It failed several times in a row and is left alone for a while.")
    try:
        picture = finish(ENGINES[engine.name], paint_with_credentials(engine, request, deadline, errand.pulse))
    except NoTokenLeft:
        raise
    except (EngineBroken, EngineBusy):
        breaker.failed()
        raise
    except (QuotaExhausted, RequestRejected):
        breaker.succeeded()
        raise
    breaker.succeeded()
    return picture


def paint_with_credentials(engine: Engine, request: PaintRequest, deadline: Deadline, pulse: Listener) -> bytes:
    """One engine with one credential after the other, while they have no quota left or are refused.

    Raises the last refusal, NoTokenLeft when there was nothing to ask with. Also called by `scripts.engine_check`.
    """
    last: EngineError = NoTokenLeft("No token has time left.", retry_after=0.0)
    for credential in credentials_for(engine.name):
        try:
            return _call(engine, request, credential, deadline, pulse)
        except QuotaExhausted as error:
            credential.exhausted(error)
            last = error
        except CredentialRejected as error:
            credential.rejected()
            last = error
    raise last


def _call(engine: Engine, request: PaintRequest, credential: Credential, deadline: Deadline, pulse: Listener) -> bytes:
    """One engine with one credential, tried again with growing pauses while it says that it is busy."""
    pulse.enter(Stage.CONNECTING, engine.name)
    log.info("engine %s is asked", engine.name)
    asked_at = time.monotonic()
    began: list[float] = []

    def on_news(news: News) -> None:
        if news.stage == PAINTING and not began:
            began.append(time.monotonic())
        pulse.tell(news, engine.name)

    try:
        picture: bytes = busy_retries(runtime().settings, deadline, pulse.is_cancelled)(
            engine.paint,
            request,
            credential=credential.secret,
            deadline=deadline,
            on_news=on_news,
            is_cancelled=pulse.is_cancelled,
        )
    except BaseException as error:
        metrics.count(metrics.ENGINE_CALLS, engine.name, _result_of(error))
        if not isinstance(error, QuotaExhausted | CredentialRejected):
            credential.used(_seconds_since(began))
        raise
    metrics.count(metrics.ENGINE_CALLS, engine.name, "painted")
    log.info("engine %s painted in %.1f s", engine.name, time.monotonic() - asked_at)
    credential.used(_seconds_since(began))
    return picture


def _result_of(error: BaseException) -> str:
    """How a call ended, in one word of the metric."""
    return next((word for kind, word in RESULTS if isinstance(error, kind)), "broken")


def _seconds_since(began: list[float]) -> float:
    return time.monotonic() - began[0] if began else 0.0


def _deadline_of(errand: Errand) -> Deadline:
    """TASK_TIMEOUT_S for one engine, and never so long that saving would miss the task's own deadline."""
    left = errand.seconds_left()
    if left < LEAST_FOR_A_CALL_S:
        raise DeadlinePassed("The order's time is over.")
    return Deadline(min(runtime().settings.task_timeout_s, left))


def _answers(engine: Engine) -> bool:
    """Ask an engine cheaply whether it is back, with the credential that a call would take."""
    credential = next(credentials_for(engine.name), FixedKey(engine.name, None))
    try:
        engine.check(credential=credential.secret, deadline=Deadline(PROBE_S))
    except CredentialRejected:
        return True  # It is there to refuse us; which credential it takes is found out by the call.
    except EngineError as error:
        log.info("engine %s is still away: %s", engine.name, error.safe_text)
        return False
    finally:
        credential.used(0.0)
    return True
