"""What the texts of Gradio, gradio_client and ZeroGPU mean, as a table; `gradio.py` reads refusals through it.

A Space says why it refuses only in prose, and the prose depends on the version of the `spaces` package that the
Space was last built with. So the rules hold every generation from 0.18 to 0.51. The message is tested before the
title: `No GPU was available` also came under the title `ZeroGPU quota exceeded`.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from enum import Enum

from jobs.engines.base import (
    CredentialRejected,
    EngineBroken,
    EngineBusy,
    EngineError,
    QuotaExhausted,
    RequestRejected,
    masked,
)

log = logging.getLogger(__name__)

UNCOUNTED_REST_S = 3600.0
DAY_S = 86_400.0
PENDING_CREDITS_S = 120.0
"""Credits that running tasks hold come free when those tasks end: minutes, not a day."""


class Kind(Enum):
    """The five things that a refusal can ask the caller to do."""

    QUOTA = "quota"
    BUSY = "busy"
    AUTH = "auth"
    REJECTED = "rejected"
    BROKEN = "broken"


@dataclass(frozen=True)
class Rule:
    """A text that matches `pattern` (case-insensitive, anywhere in it) is of this kind.

    `rest_s` is how long a credential rests when the text names no time, `retries` bounds how often trying again is
    sensible, and `reconnect` says that a fresh connection may cure it.
    """

    pattern: re.Pattern[str]
    kind: Kind
    rest_s: float = DAY_S
    retries: int | None = None
    reconnect: bool = False


def _rule(
    pattern: str, kind: Kind, *, rest_s: float = DAY_S, retries: int | None = None, reconnect: bool = False
) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE | re.DOTALL), kind, rest_s, retries, reconnect)


MESSAGE_RULES: tuple[Rule, ...] = (
    _rule(r"no gpu (was|is currently) available", Kind.BUSY),
    # The proxy token ages while a call waits in the Space's own queue; a new call carries a new one.
    _rule(r"expired zerogpu proxy token", Kind.BUSY, retries=1, reconnect=True),
    _rule(
        r"too many zerogpu credits|pending credits exceeded",
        Kind.QUOTA,
        rest_s=PENDING_CREDITS_S,
    ),
    _rule(r"gpu quota exceeded", Kind.QUOTA),
    _rule(r"exceed(ed)? (your )?(free |pro )?(zero)?gpu quota", Kind.QUOTA),
    _rule(r"exceeded your .*gpu quota", Kind.QUOTA),
    _rule(r"exceeded your (zerogpu )?runs limit", Kind.QUOTA),
    _rule(r"runn+ing out of daily zerogpu quotas", Kind.QUOTA),
    _rule(r"space app has reached its gpu limit", Kind.QUOTA),
    _rule(r"\bout of .* quota", Kind.QUOTA),
    # The Space asks for more seconds than the account may take in one call. Nothing in the order could change
    # that, so the next engine is asked rather than the visitor.
    _rule(r"gpu duration .* larger than the maximum allowed", Kind.BROKEN),
    _rule(r"gpu task aborted", Kind.BUSY, retries=1),
    # A failed GPU worker reports the name of the exception's class and nothing else.
    _rule(r"^(\w+\.)*(ValueError|TypeError|KeyError|IndexError|AssertionError)$", Kind.REJECTED),
    _rule(r"^(\w+\.)*\w+(Error|Exception)$", Kind.BUSY, retries=1),
    _rule(r"queue is (full|stopped)", Kind.BUSY),
    _rule(r"too many requests", Kind.BUSY),
    _rule(r"server stopped|session not found", Kind.BUSY, reconnect=True),
    _rule(r"zerogpu api /schedule error|unexpected end of stream|after queue disconnect", Kind.BUSY),
    _rule(r"connection closed by visitor while queueing", Kind.BUSY),
    _rule(r"has not enabled verbose error reporting", Kind.BUSY),
    _rule(r"internal gradio error", Kind.BROKEN),
    _rule(r"invalid credentials|credentials were not provided", Kind.AUTH),
    _rule(r"space is in the invalid state|could not find space", Kind.BROKEN),
    _rule(r"could not (fetch|get) .*(config|api info)", Kind.BROKEN),
    _rule(r"\bvalue .* is (less|greater) than|not in the list of choices", Kind.REJECTED),
    _rule(r"failed validation|exceeds the maximum file size", Kind.REJECTED),
)

TITLE_RULES: tuple[Rule, ...] = (
    _rule(r"zerogpu pending credits exceeded", Kind.QUOTA, rest_s=PENDING_CREDITS_S),
    _rule(r"zerogpu quota exceeded", Kind.QUOTA),
    _rule(r"zerogpu queue timeout", Kind.BUSY),
    _rule(r"zerogpu illegal duration", Kind.BROKEN),
    _rule(r"zerogpu worker error", Kind.BUSY, retries=1),
    _rule(r"zerogpu client error", Kind.BUSY),
)

# What nobody has told us of: another engine may still paint, so the visitor is not refused.
UNKNOWN = _rule("", Kind.BROKEN)

# Said only to callers whom ZeroGPU does not know. After a call with a token it means that the token did not take.
ANONYMOUS = re.compile(
    r"authenticate with a hugging face token|create a free account|unlogged user|sign-?up on hugging face",
    re.IGNORECASE,
)

# Who is known is called "free" or "Pro" since 0.30. Before, everybody was addressed like this, so it proves nothing.
NO_PREFIX = re.compile(r"exceeded your (zero)?gpu quota", re.IGNORECASE)

HIDDEN = "The Space has raised an exception but has not enabled verbose error reporting (show_error)."
"""What is said here of an error whose text the Space keeps to itself."""

TOKEN_NOT_TAKEN = re.compile(r"falling back to ip-based quotas", re.IGNORECASE)
"""A log event of a Space whose visitor's token was not accepted; the call goes on without it."""

WAITING_FOR_GPU_TEXT = re.compile(r"waiting for a gpu|zerogpu init", re.IGNORECASE)
"""Log events and progress descriptions that ZeroGPU sends while there is no GPU yet."""

_RETRY_IN = re.compile(
    r"(?:try again|retry) in\s+"
    r"(?:(?P<only_days>\d+) days?\b(?!,)"
    r"|(?:(?P<days>-?\d+) days?, )?(?P<hours>\d+):(?P<minutes>\d{2}):(?P<seconds>\d{2}(?:\.\d+)?))",
    re.IGNORECASE,
)

# The order was the other one before 0.30.
_SECONDS = re.compile(
    r"\((?:(?P<first>\d+)s requested vs\. -?\d+s left|-?\d+s left vs\. (?P<last>\d+)s requested)\)", re.IGNORECASE
)


def rule_for(message: str, title: str | None = None) -> Rule:
    """The first rule that the message matches, else the first that the title matches, else UNKNOWN."""
    for rules, text in ((MESSAGE_RULES, message.strip()), (TITLE_RULES, title or "")):
        for rule in rules:
            if rule.pattern.search(text):
                return rule
    return UNKNOWN


def retry_seconds(message: str) -> float | None:
    """The wait that a quota message names (`1 day, 2:03:04`, `0:09:48`, `2 days`), in seconds; None without one."""
    found = _RETRY_IN.search(message)
    if not found:
        return None
    if found["only_days"]:
        return int(found["only_days"]) * DAY_S
    hours = int(found["days"] or 0) * 24 + int(found["hours"])
    # A time that has just passed is written as a day less: `-1 day, 23:59:58`.
    return max(0.0, hours * 3600.0 + int(found["minutes"]) * 60.0 + float(found["seconds"]))


def requested_seconds(message: str) -> int | None:
    """The seconds of GPU time that the Space wanted to reserve, when a quota message names them."""
    found = _SECONDS.search(message)
    return int(found["first"] or found["last"]) if found else None


def refusal(message: str, title: str | None = None, *, credential: str | None = None) -> EngineError:
    """The error to raise for what an upstream said to a call that carried this credential."""
    rule = rule_for(message, title)
    text = f"{title}: {message}" if title and title != "Error" else message
    match rule.kind:
        case Kind.QUOTA:
            return _quota(message, text, rule, credential)
        case Kind.BUSY:
            return EngineBusy(text, retries=rule.retries, secret=credential, reconnect=rule.reconnect)
        case Kind.AUTH if credential:
            return CredentialRejected(text, secret=credential, reconnect=True)
        case Kind.REJECTED:
            return RequestRejected(text, secret=credential)
        case _:
            return EngineBroken(text, secret=credential)


def _quota(message: str, text: str, rule: Rule, credential: str | None) -> QuotaExhausted:
    """A quota message. One that is meant for a caller without a token says nothing about this token's own quota.

    A fresh connection may let the token count; when it does not, the token rests for an hour at most, because it is
    good elsewhere. Only a 401 or 403 disables it.
    """
    named = retry_seconds(message)
    rest = rule.rest_s if named is None else named
    seems_anonymous = bool(credential and (ANONYMOUS.search(message) or NO_PREFIX.search(message)))
    if seems_anonymous:
        _warn_of_anonymous_call(text, credential)
        rest = min(rest, UNCOUNTED_REST_S)
    return QuotaExhausted(
        text,
        retry_after=rest,
        requested_seconds=requested_seconds(message),
        secret=credential,
        reconnect=seems_anonymous,
    )


def _warn_of_anonymous_call(text: str, credential: str | None) -> None:
    log.warning(
        "The Space answered as if the call had carried no token. Either the token is not valid any more, or the Space "
        "is built with a Gradio older than 5.12, which does not pass it on. It said: %s",
        masked(text, credential),
    )
