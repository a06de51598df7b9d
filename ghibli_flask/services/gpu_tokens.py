"""The Hub's tokens: which one the next call takes, how much each has left, which rest and which are refused.

Called by the painting worker (`lease` and how it ends), the monitor (`refresh`), `api.tokens` and `flask tokens`. All
of it is decided by one script on Redis, gpu_tokens.lua, so that any number of processes and machines agree. Redis
knows a token by a fingerprint alone; without Redis each process hands its tokens out in turn.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from redis.exceptions import RedisError

from ghibli_flask.extensions import runtime
from ghibli_flask.services import alerts, hub_quota, token_turns
from ghibli_flask.services.hub_quota import QuotaUnknown, Reading, TokenRefused
from ghibli_flask.token_hosts import may_carry_token

log = logging.getLogger(__name__)

State = Literal["available", "leased", "resting", "disabled", "spent"]

USUAL_RESERVATION_S = 60
LONGEST_RESERVATION_S = 3600
RESERVATION_KEPT_S = 7 * 86_400
LONGEST_REST_S = 7 * 86_400.0
LEASE_SLACK_S = 60
READING_KEPT_S = 60
READERS = 8
SHORTEST_TOKEN_WITH_TAIL = 12

_SCRIPT = Path(__file__).with_suffix(".lua").read_text()
_FINGERPRINT_CONTEXT = b"ghibli_flask Hub token"


@dataclass(frozen=True)
class Lease:
    """One token for one call. `mask` is what may be shown and logged of it."""

    token: str = field(repr=False)
    mask: str
    lease_id: str


@dataclass(frozen=True)
class TokenStatus:
    """How one token is doing. Seconds are GPU seconds of the quota's present day; `daily_limit` is a day of them.

    `resets_at` is when that day ends, `cooling_until` when a rest does that a quota message named. `source` says
    whether the Hub told what is left, at `checked_at`, or our own count.
    """

    mask: str
    state: State
    seconds_used: float
    seconds_left: float
    daily_limit: float
    runs: int
    cooling_until: datetime | None
    resets_at: datetime | None
    calls: int
    failures: int
    checked_at: datetime | None
    source: Literal["hub", "own count"]


def is_configured() -> bool:
    """Whether any token is set."""
    return bool(_tokens())


def lease() -> Lease | None:
    """Take the token with the most seconds left for one call; None when none can be used now.

    A lease counts as one run's reservation until it is given back, and ends by itself when its process has died.
    """
    tokens = _tokens()
    if not tokens:
        return None
    lease_id = secrets.token_hex(8)
    lasts = runtime().settings.task_timeout_s + LEASE_SLACK_S
    try:
        number = int(_run("lease", tokens, lease_id=lease_id, lasts=lasts))
    except RedisError as error:
        token_turns.say_away(error)
        taken = token_turns.next_of(tokens)
        return Lease(taken, mask(taken), lease_id) if taken else None
    if number == 0:
        return None
    token = tokens[number - 1]
    return Lease(token, mask(token), lease_id)


def give_back(lease: Lease, seconds: float) -> None:
    """End a lease whose call has used this many seconds of GPU as far as we know; 0 when it never began."""
    _tell("give_back", lease.token, lease_id=lease.lease_id, seconds=max(0.0, seconds))


def rest(lease: Lease, seconds: float) -> None:
    """End a lease, and hand its token to nobody for as long as a quota message has named."""
    seconds = min(LONGEST_REST_S, max(1.0, seconds))
    log.info("token %s rests for %d s", lease.mask, seconds)
    if _tell("rest", lease.token, lease_id=lease.lease_id, seconds=seconds) is None:
        token_turns.put_aside(lease.token, seconds)


def reject(lease: Lease) -> None:
    """End a lease whose token was refused: it is disabled for a day and the operator is told.

    It comes back earlier when `enable` says so, or when the Hub answers for it ten minutes later; a new token in the
    settings is another one.
    """
    newly = _tell("disable", lease.token, lease_id=lease.lease_id)
    if newly is None:
        token_turns.put_aside(lease.token, LONGEST_REST_S)
    if newly != 0:
        _alert(lease.token)


def learn_reservation(seconds: int) -> None:
    """Remember how many seconds one run of this Space reserves, as a quota message has said."""
    if not 1 <= seconds <= LONGEST_RESERVATION_S:
        log.warning("a reservation of %d s cannot be; it is ignored", seconds)
        return
    try:
        runtime().redis.set(_reservation_key(), seconds, ex=RESERVATION_KEPT_S)
    except RedisError as error:
        token_turns.say_away(error)


def reservation() -> float:
    """Seconds that one run reserves: as a quota message has said lately, else what is usual."""
    try:
        return float(cast(bytes | None, runtime().redis.get(_reservation_key())) or USUAL_RESERVATION_S)
    except RedisError as error:
        token_turns.say_away(error)
        return USUAL_RESERVATION_S


def next_return() -> datetime | None:
    """When the first of the tokens that rest or are spent can be used again; None when none does, or nobody knows."""
    moments = [view["back_at"] for view in _views() or () if "back_at" in view]
    return _moment(min(moments, default=None))


def statuses() -> list[TokenStatus]:
    """How each token is doing, in the order of the settings. Without Redis only what this process knows."""
    tokens = _tokens()
    views = _views()
    if views is None:
        return [_status_without_redis(token) for token in tokens]
    return [_status(token, view) for token, view in zip(tokens, views, strict=True)]


def enable(name: str) -> int:
    """Bring back the disabled tokens with this mask, or with these last four characters; gives their number."""
    matching = [token for token in _tokens() if name in {mask(token), _tail(token)} - {""}]
    return sum(1 for token in matching if _tell("enable", token))


def refresh(force: bool = False) -> None:
    """Ask the Hub for the quota of each token that nobody has asked about for a minute; `force` asks for all.

    Takes some seconds at worst and never raises: what the Hub does not say stays as it was. Not for a request of the
    web process.
    """
    settings, tokens = runtime().settings, _tokens()
    if not tokens or not hub_may_be_asked():
        return
    try:
        numbers = cast(list[int], _run("claim", tokens, force=force, lasts=READING_KEPT_S))
    except RedisError as error:
        token_turns.say_away(error)
        return
    if not numbers:
        return
    due = [tokens[number - 1] for number in numbers]
    with ThreadPoolExecutor(min(READERS, len(due)), thread_name_prefix="hub-quota") as pool:
        answers = list(pool.map(_answer_for, [settings.hf_endpoint] * len(due), due))
    for token, answer in zip(due, answers, strict=True):
        _learn(token, answer)


def hub_may_be_asked() -> bool:
    """Whether HF_ENDPOINT's host is one that a token may be sent to."""
    settings = runtime().settings
    return may_carry_token(settings.hf_endpoint, settings.gradio_token_hosts)


def mask(token: str) -> str:
    """What may be shown of a token: that it is one of the Hub's, and its last four characters."""
    return f"{'hf_' if token.startswith('hf_') else ''}…{_tail(token)}"


def _tail(token: str) -> str:
    """The last four characters, unless they would be a good part of the whole."""
    return token[-4:] if len(token) >= SHORTEST_TOKEN_WITH_TAIL else ""


def _answer_for(endpoint: str, token: str) -> Reading | QuotaUnknown | TokenRefused:
    try:
        return hub_quota.read(endpoint, token)
    except (QuotaUnknown, TokenRefused) as answer:
        return answer


def _learn(token: str, answer: Reading | QuotaUnknown | TokenRefused) -> None:
    match answer:
        case Reading():
            _learn_reading(token, answer)
        case TokenRefused():
            if _tell("disable", token):
                _alert(token)
        case QuotaUnknown():
            log.warning("the quota of token %s is unknown: %s", mask(token), answer)
            if answer.pause_s is not None:
                _tell("postpone", token, seconds=max(answer.pause_s, READING_KEPT_S))


def _learn_reading(token: str, reading: Reading) -> None:
    came_back = _tell(
        "learn",
        token,
        base=reading.base,
        left=reading.left,
        resets_at=_seconds(reading.resets_at),
        runs_limit=reading.runs_limit,
        runs_left=reading.runs_left,
        runs_reset_at=_seconds(reading.runs_reset_at),
    )
    if came_back:
        log.info("token %s is enabled again, because the Hub answers for it", mask(token))


def _alert(token: str) -> None:
    text = f"The token {mask(token)} was refused and is disabled. Make a new one at the Hub and put it in its place."
    alerts.raise_alert(alerts.Cause.REJECTED_TOKEN, text)


def _status(token: str, view: dict[str, Any]) -> TokenStatus:
    return TokenStatus(
        mask=mask(token),
        state=view["state"],
        seconds_used=float(view["used"]),
        seconds_left=float(view["left"]),
        daily_limit=float(view["limit"]),
        runs=int(view["runs"]),
        cooling_until=_moment(view.get("rests_until")),
        resets_at=_moment(view.get("resets_at")),
        calls=int(view["calls"]),
        failures=int(view["failures"]),
        checked_at=_moment(view.get("checked_at")),
        source=view["source"],
    )


def _status_without_redis(token: str) -> TokenStatus:
    until = token_turns.aside_until(token)
    limit = float(runtime().settings.hf_daily_seconds)
    return TokenStatus(
        mask(token), "resting" if until else "available", 0.0, limit, limit, 0, until, None, 0, 0, None, "own count"
    )


def _views() -> list[dict[str, Any]] | None:
    """What the script knows of each token; None when Redis is away."""
    tokens = _tokens()
    if not tokens:
        return []
    try:
        return cast(list[dict[str, Any]], json.loads(_run("view", tokens)))
    except RedisError as error:
        token_turns.say_away(error)
        return None


def _tell(verb: str, token: str, **fields: object) -> int | None:
    """Run a verb about one token; None when Redis is away."""
    try:
        return int(_run(verb, (token,), **fields))
    except RedisError as error:
        token_turns.say_away(error)
        return None


def _run(verb: str, tokens: Sequence[str], **fields: object) -> Any:
    """Run the script; raises RedisError. What is None stays away, because cjson has no Lua nil."""
    settings = runtime().settings
    ask = {
        "verb": verb,
        "now": runtime().clock.now().timestamp(),
        "daily_seconds": settings.hf_daily_seconds,
        "reservation": USUAL_RESERVATION_S,
        **{name: value for name, value in fields.items() if value is not None},
    }
    script = runtime().redis.register_script(_SCRIPT)
    answer = script(keys=[*_keys(tokens), _reservation_key()], args=[json.dumps(ask)])
    token_turns.say_back()
    return answer


def _keys(tokens: Sequence[str]) -> list[str]:
    names = [f"{runtime().settings.queue_prefix}:tokens:{_fingerprint(token)}" for token in tokens]
    return [key for name in names for key in (name, f"{name}:leases")]


def _reservation_key() -> str:
    settings = runtime().settings
    space = hashlib.sha256((settings.gradio_url or "").encode()).hexdigest()[:16]
    return f"{settings.queue_prefix}:tokens:reservation:{space}"


def _fingerprint(token: str) -> str:
    """A name for a token that nobody can turn back into it."""
    return hmac.new(_FINGERPRINT_CONTEXT, token.encode(), hashlib.sha256).hexdigest()[:16]


def _tokens() -> tuple[str, ...]:
    return runtime().settings.hugging_face_tokens


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
