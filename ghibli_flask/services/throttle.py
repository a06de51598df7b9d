"""Slowing down after failed attempts: counted in Redis, and in this process's memory while Redis is away.

Called by `services.accounts` for sign-in, sign-up and reset; the limits of plain requests are in `security`.
"""

from __future__ import annotations

import hashlib
import time
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


class Throttle:
    """Counts attempts; safe over threads and processes."""

    def __init__(self, settings: Settings) -> None:
        pool = redis.ConnectionPool.from_url(
            settings.redis_address, socket_timeout=0.5, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0)
        )
        storage = RedisStorage(settings.redis_address, pool, key_prefix=f"{settings.queue_prefix}:throttle")
        self._shared = FixedWindowRateLimiter(storage)
        self._own = FixedWindowRateLimiter(MemoryStorage())

    def check(self, rule: Rule, subject: str) -> None:
        """Raise TooManyRequests when the attempts of this subject are used up."""
        name = _hashed(subject)
        try:
            allowed, stats = (
                self._shared.test(rule.limit, rule.kind, name),
                self._shared.get_window_stats(rule.limit, rule.kind, name),
            )
        except (RedisError, StorageError):
            allowed = self._own.test(rule.limit, rule.kind, name)
            stats = self._own.get_window_stats(rule.limit, rule.kind, name)
        if not allowed:
            wait = max(1, round(stats.reset_time - time.time()))
            raise TooManyRequests(
                _("That was tried too often. Please wait a while before the next attempt."), retry_after=wait
            )

    def count(self, rule: Rule, subject: str) -> None:
        """Count one attempt of this subject."""
        name = _hashed(subject)
        try:
            self._shared.hit(rule.limit, rule.kind, name)
        except (RedisError, StorageError):
            self._own.hit(rule.limit, rule.kind, name)


def install_throttle(app: Flask, settings: Settings) -> None:
    """Give an application its counters; nothing is connected yet."""
    app.extensions[THROTTLE_KEY] = Throttle(settings)


def throttle() -> Throttle:
    """The counters of the current application."""
    return cast(Throttle, current_app.extensions[THROTTLE_KEY])


def _hashed(subject: str) -> str:
    """Neither an address of a machine nor one of a person stands in Redis as it is."""
    return hashlib.sha256(subject.encode()).hexdigest()[:32]
