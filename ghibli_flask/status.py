"""The live status of a task in Redis, `task:{id}:status`: what pollers read most of the time.

Written by the worker's run and by `services`; a cache of the row and never more. One Lua script compares and sets,
so that whichever order two writers arrive in, a terminal value stays and progress never goes back in an attempt.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError

from ghibli_flask.clock import epoch_ms
from ghibli_flask.extensions import runtime
from ghibli_flask.mailbox import Mailbox
from ghibli_flask.task_states import RANK, TaskState

TTL_S = 3600
BELIEVED_FOR_MS = 10_000

# KEYS[1] the status; ARGV: attempt, rank of the state, progress, the new JSON, time to live in seconds.
_PUBLISH = """
local old = redis.call('GET', KEYS[1])
if old then
  local was = cjson.decode(old)
  local attempt, rank, progress = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
  if was.rank >= 2 then return 0 end
  if attempt < was.attempt then return 0 end
  if attempt == was.attempt then
    if rank < was.rank then return 0 end
    if rank == was.rank and progress < was.progress then return 0 end
  end
end
redis.call('SET', KEYS[1], ARGV[4], 'EX', ARGV[5])
return 1
"""


# What stands in place of a deleted task's status: it tells nothing, and no run's value replaces it.
_BURIED = json.dumps({"rank": 9})


@dataclass(frozen=True)
class LiveStatus:
    """One published value. Times are epoch milliseconds; `eta` and `engine_rank` are the engine's own words.

    `outside` marks a task that is kept under its caller's id: only holders of the process secret are told of it.
    """

    status: str
    attempt: int
    ring: int
    progress: float
    stage: str
    start_time: int
    updated_at: int
    user_id: str | None
    prompt: str
    deadline: int
    engine: str | None = None
    engine_rank: int | None = None
    engine_eta: float | None = None
    paint_started: int | None = None
    finished: int | None = None
    refunded: bool = False
    has_result: bool = False
    outside: bool = False
    note: str | None = None
    code: str | None = None

    @property
    def state(self) -> TaskState:
        """The state as its enum."""
        return TaskState(self.status)

    def is_believed(self, now: datetime) -> bool:
        """Whether this may be shown without looking at the row: it ended, or it was said a moment ago."""
        return self.state.is_terminal or epoch_ms(now) - self.updated_at <= BELIEVED_FOR_MS


# The wire spells these in camelCase; earlier readers of the key know `startTime`, `updatedAt`, `userId`, `error`.
_WIRE = {
    "start_time": "startTime",
    "updated_at": "updatedAt",
    "user_id": "userId",
    "engine_rank": "engineRank",
    "engine_eta": "engineEta",
    "paint_started": "paintStarted",
    "has_result": "hasResult",
    "code": "error",
}
_FIELD = {wire: field for field, wire in _WIRE.items()}


def key(public_id: str) -> str:
    """The Redis key of a task's live status."""
    return f"task:{public_id}:status"


def publish(public_id: str, value: LiveStatus, redis: Redis | None = None) -> bool:
    """Put a value forward; False when a newer one stands. An outage of Redis counts as False too."""
    wire: dict[str, Any] = {_WIRE.get(name, name): item for name, item in asdict(value).items() if item is not None}
    rank = RANK[value.state]
    wire["rank"] = rank
    try:
        answer = (redis or runtime().redis).eval(
            _PUBLISH, 1, key(public_id), value.attempt, rank, value.progress, json.dumps(wire), TTL_S
        )
    except RedisError:
        return False
    return bool(answer)


def read(public_id: str) -> LiveStatus | None:
    """The published value; None when there is none or Redis is away."""
    try:
        raw = cast("bytes | None", runtime().redis.get(key(public_id)))
    except RedisError:
        return None
    if raw is None:
        return None
    wire = json.loads(raw)
    wire.pop("rank", None)
    known = LiveStatus.__dataclass_fields__
    fields = {_FIELD.get(name, name): item for name, item in wire.items()}
    if "status" not in fields or "attempt" not in fields:
        return None  # Deleted, or written by an earlier installation: the row is the answer.
    return LiveStatus(**{"user_id": None, **{name: item for name, item in fields.items() if name in known}})


def mailbox() -> Mailbox:
    """The pictures and reports that outside processors and we leave for one another."""
    return Mailbox(runtime().redis, runtime().settings.queue_prefix)


def bury(public_id: str) -> None:
    """Drop the live status of a deleted task, and keep a late run from publishing it again."""
    mailbox().drop_picture(public_id)
    try:
        runtime().redis.set(key(public_id), _BURIED, ex=TTL_S)
    except RedisError:
        return  # It expires within the hour, and the routes ask the row about a deleted task when it is stale.
