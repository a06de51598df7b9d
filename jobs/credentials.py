"""The secret that a call of an engine travels with: a leased Hub token, a key of the settings, or none.

`jobs.chain` asks for one credential after the other and says how each call ended. A secret lives in these objects
alone, is never part of their representation, and is never kept beyond the call.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Protocol

from ghibli_flask.extensions import runtime
from ghibli_flask.services import gpu_tokens
from ghibli_flask.services.gpu_tokens import Lease
from ghibli_flask.token_hosts import may_carry_token
from jobs.engines.base import QuotaExhausted

log = logging.getLogger(__name__)


class Credential(Protocol):
    """One secret for one call, and what the call taught about it."""

    @property
    def secret(self) -> str | None:
        """What the engine is handed."""

    def used(self, seconds: float) -> None:
        """The call ended, well or not, after this many seconds of GPU."""

    def exhausted(self, refusal: QuotaExhausted) -> None:
        """The call was refused for want of quota."""

    def rejected(self) -> None:
        """The secret itself was refused."""


class FixedKey:
    """A key of the settings, or none: there is no other to take in its place."""

    def __init__(self, engine: str, secret: str | None) -> None:
        self._engine, self.__secret = engine, secret

    @property
    def secret(self) -> str | None:
        """What the engine is handed."""
        return self.__secret

    def used(self, seconds: float) -> None:
        """Nothing is counted for a key of the settings."""

    def exhausted(self, refusal: QuotaExhausted) -> None:
        """The engine's own account is empty: the operator has to know."""
        log.error("engine %s: its account is used up: %s", self._engine, refusal.safe_text)

    def rejected(self) -> None:
        """The operator has to know."""
        log.error("engine %s: its key is refused", self._engine)


class LeasedToken:
    """A Hub token, leased for this call."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    @property
    def secret(self) -> str:
        """What the engine is handed."""
        return self._lease.token

    def used(self, seconds: float) -> None:
        """The lease ends, and the seconds count."""
        gpu_tokens.give_back(self._lease, seconds)

    def exhausted(self, refusal: QuotaExhausted) -> None:
        """The token rests as long as the refusal says, and what a run reserves is learnt from it."""
        if refusal.requested_seconds:
            gpu_tokens.learn_reservation(refusal.requested_seconds)
        gpu_tokens.rest(self._lease, refusal.retry_after)

    def rejected(self) -> None:
        """The token is taken out of use."""
        gpu_tokens.reject(self._lease)


def key_of(engine: str) -> str | None:
    """The key of the settings that this engine has; None for `gradio`, whose tokens are leased."""
    settings = runtime().settings
    keys = {
        "gradio": None,
        "kie": settings.kie_ai_api_key,
        "openai": settings.openai_api_key,
        "processor": settings.process_secret,
    }
    return keys[engine]


def credentials_for(engine: str) -> Iterator[Credential]:
    """The credentials to try for one order, one after the other; none when every token rests or is used up."""
    settings = runtime().settings
    if engine != "gradio":
        yield FixedKey(engine, key_of(engine))
    elif not (gpu_tokens.is_configured() and may_carry_token(settings.gradio_url or "", settings.gradio_token_hosts)):
        yield FixedKey(engine, None)
    else:
        gpu_tokens.refresh()
        for _turn in settings.hugging_face_tokens:
            lease = gpu_tokens.lease()
            if lease is None:
                return
            yield LeasedToken(lease)
