"""Counting attempts and requests: in Redis, and in this process's memory while Redis is away.

Called by `services.accounts` for sign-in, sign-up and reset, and by `security` for the limits of plain requests.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import redis
from flask import Flask, current_app
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ghibli_flask.errors import TooManyRequests, _
from ghibli_flask.extensions import AWAY_MEMORY_S
from ghibli_flask.settings import Settings

THROTTLE_KEY = "ghibli_throttle"


@dataclass(frozen=True)
class Rule:
    """How many attempts of a kind are allowed, in the words of the limits library."""

    kind: str
    limit: RateLimitItem


SIGN_IN_BY_ACCOUNT = Rule("sign-in-account", parse("10 per 15 minutes"))
SIGN_IN_BY_ADDRESS = Rule("sign-in-address", parse("50 per 15 minutes"))
MAIL_BY_ACCOUNT = Rule("mail-account", parse("5 per hour"))
MAIL_BY_ADDRESS = Rule("mail-address", parse("20 per hour"))


@dataclass(frozen=True)
class Standing:
    """How a subject stands with a rule: what is left in this window, and when the next begins (epoch seconds)."""

    rule: Rule
    allowed: bool
    left: int
    renews_at: float

    @property
    def wait_s(self) -> int:
        """Whole seconds until the next window, at least one."""
        return max(1, round(self.renews_at - time.time()))


class Throttle:
    """Counts by the machine's clock; safe over threads and processes."""

    def __init__(self, settings: Settings) -> None:
        pool = redis.ConnectionPool.from_url(
            settings.redis_address, socket_timeout=0.5, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0)
        )
        storage = RedisStorage(settings.redis_address, pool, key_prefix=f"{settings.queue_prefix}:throttle")
        self._shared = FixedWindowRateLimiter(storage)
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._away_until = 0.0

    def check(self, rule: Rule, subject: str) -> None:
        """Raise TooManyRequests when the attempts of this subject are used up; counts nothing."""
        standing = self.look(rule, subject)
        if not standing.allowed:
            raise TooManyRequests(
                _("That was tried too often. Please wait a while before the next attempt."), retry_after=standing.wait_s
            )

    def look(self, rule: Rule, subject: str) -> Standing:
        """How this subject stands; counts nothing."""
        return self._ask(rule, subject, FixedWindowRateLimiter.test)

    def count(self, rule: Rule, subject: str) -> Standing:
        """Count one attempt of this subject."""
        return self._ask(rule, subject, FixedWindowRateLimiter.hit)

    def _ask(self, rule: Rule, subject: str, ask: Callable[..., bool]) -> Standing:
        if time.monotonic() >= self._away_until:
            try:
                return _standing(self._shared, rule, subject, ask)
            except (RedisError, StorageError):
                self._away_until = time.monotonic() + AWAY_MEMORY_S
        return _standing(self._own, rule, subject, ask)


def _standing(counter: FixedWindowRateLimiter, rule: Rule, subject: str, ask: Callable[..., bool]) -> Standing:
    name = _hashed(subject)
    allowed = ask(counter, rule.limit, rule.kind, name)
    window = counter.get_window_stats(rule.limit, rule.kind, name)
    return Standing(rule, allowed, window.remaining, window.reset_time)


def install_throttle(app: Flask, settings: Settings) -> None:
    """Give an application its counters; nothing is connected yet."""
    app.extensions[THROTTLE_KEY] = Throttle(settings)


def throttle() -> Throttle:
    """The counters of the current application."""
    return cast(Throttle, current_app.extensions[THROTTLE_KEY])


def _hashed(subject: str) -> str:
    """Neither an address of a machine nor one of a person stands in Redis as it is."""
    return hashlib.sha256(subject.encode()).hexdigest()[:32]
