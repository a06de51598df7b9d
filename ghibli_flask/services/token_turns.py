"""What a process knows of the Hub's tokens while Redis is away: whose turn it is, and which it has put aside.

Called by `gpu_tokens` alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from flask import current_app

from ghibli_flask.extensions import runtime

log = logging.getLogger(__name__)

TURNS_KEY = "ghibli_token_turns"


class _Turns:
    """One application's memory; safe over threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.aside: dict[str, datetime] = {}
        self.is_away = False


def next_of(tokens: Sequence[str]) -> str | None:
    """The token whose turn it is, of those that are not put aside; None when all are."""
    turns, now = _turns(), runtime().clock.now()
    with turns.lock:
        for _ in tokens:
            token = tokens[turns.count % len(tokens)]
            turns.count += 1
            if turns.aside.get(token, now) <= now:
                return token
    return None


def put_aside(token: str, seconds: float) -> None:
    """Leave a token out for so long."""
    turns = _turns()
    with turns.lock:
        turns.aside[token] = runtime().clock.now() + timedelta(seconds=seconds)


def aside_until(token: str) -> datetime | None:
    """Until when a token is left out; None when it is not."""
    until = _turns().aside.get(token)
    return until if until and until > runtime().clock.now() else None


def say_away(error: Exception) -> None:
    """Log once that Redis cannot be asked, until it can be again."""
    turns = _turns()
    with turns.lock:
        if not turns.is_away:
            log.warning("Redis is away, so this process hands the tokens out in turn: %s", error)
        turns.is_away = True


def say_back() -> None:
    """Redis has answered."""
    turns = _turns()
    if turns.is_away:
        with turns.lock:
            turns.is_away = False
        log.info("Redis is back: the tokens are counted again")


def _turns() -> _Turns:
    return cast(_Turns, current_app.extensions.setdefault(TURNS_KEY, _Turns()))
