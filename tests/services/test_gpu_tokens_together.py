"""The Hub's tokens between processes, without Redis, and hidden from everybody who looks."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.extensions import runtime
from ghibli_flask.services import gpu_tokens
from tests.support.checkout import offline_env
from tests.support.redis_server import RedisServer
from tests.support.standins.hub import HubStandIn, quota
from tests.support.tokens import ADA, BEA, CYD, SPACE, TOKENS, leased, status_of, use

# --- Processes ---

LEASES_UNTIL_NONE_IS_LEFT = """
import sys
from ghibli_flask.factory import create_app
from ghibli_flask.services import gpu_tokens
with create_app(for_worker=True).app_context():
    print("ready", flush=True)
    sys.stdin.readline()
    while lease := gpu_tokens.lease():
        print(lease.mask, flush=True)
    print("none", flush=True)
    sys.stdin.readline()
"""


def start_leasing(checkout: Path, folder: Path, redis_url: str) -> subprocess.Popen[str]:
    """A process of its own that leases, once it is told to, until nothing is left."""
    env = offline_env(
        REDIS_URL=redis_url,
        INSTANCE_DIR=str(folder),
        GRADIO_URL=SPACE,
        HUGGING_FACE_TOKENS=f"{ADA},{BEA}",
        HUGGING_FACE_TOKEN_1=CYD,
    )
    process = subprocess.Popen(
        [sys.executable, "-c", LEASES_UNTIL_NONE_IS_LEFT],
        cwd=checkout, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    return process


def told(process: subprocess.Popen[str], last: str) -> list[str]:
    """What a process prints until the line `last`."""
    assert process.stdout
    return list(iter(lambda: process.stdout.readline().strip(), last))  # type: ignore[union-attr]


def test_processes_share_the_tokens_and_a_killed_one_gives_them_back(
    token_app: Callable[..., Flask], clock: FixedClock, checkout: Path, tmp_path: Path, redis_url: str
) -> None:
    """Two processes at once lease no more than there is; both are killed, and a minute after the longest call all
    of their leases are free again."""
    clock.moment = datetime.now(UTC)
    token_app(*TOKENS)
    processes = [start_leasing(checkout, tmp_path / str(number), redis_url) for number in range(2)]
    try:
        for process in processes:
            assert told(process, "ready") == []
        for process in processes:
            print(file=process.stdin, flush=True)
        masks = [mask for process in processes for mask in told(process, "none")]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert Counter(masks) == {gpu_tokens.mask(token): 5 for token in TOKENS}
    assert gpu_tokens.lease() is None
    clock.moment = datetime.now(UTC) + timedelta(seconds=runtime().settings.task_timeout_s + 59)
    assert gpu_tokens.lease() is None
    clock.advance(seconds=2)
    assert [leased().token for _ in range(15)]
    assert gpu_tokens.lease() is None


def test_expired_leases_are_forgotten(token_app: Callable[..., Flask], clock: FixedClock) -> None:
    """A day after it has expired a lease takes no room in Redis any more."""
    token_app(ADA)
    leased()
    clock.advance(hours=25)
    leased()
    (key,) = runtime().redis.keys("*:leases")  # type: ignore[misc]
    assert runtime().redis.zcard(key) == 1


# --- Redis away ---


def test_without_redis_tokens_are_handed_out_in_turn(
    token_app: Callable[..., Flask], redis_server: RedisServer, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With Redis away every verb still works: tokens go round, resting and refused ones are left out, the log says it
    once, and with Redis back the script decides again."""
    token_app(*TOKENS)
    redis_server.stop()
    assert [leased().token for _ in range(4)] == [ADA, BEA, CYD, ADA]
    gpu_tokens.give_back(leased(), 20)
    gpu_tokens.rest(leased(), 600)
    gpu_tokens.reject(leased())
    gpu_tokens.learn_reservation(90)
    gpu_tokens.refresh()
    assert [leased().token for _ in range(2)] == [BEA, BEA]
    assert [status.state for status in gpu_tokens.statuses()] == ["resting", "available", "resting"]
    assert gpu_tokens.next_return() is None
    gpu_tokens.rest(leased(), 600)
    assert gpu_tokens.lease() is None
    clock.advance(seconds=600)
    assert leased().token in {BEA, CYD}
    assert caplog.text.count("Redis is away, so") == 1
    redis_server.start()
    wait_until_redis_is_asked_again()
    assert status_of(ADA).calls == 0
    assert "Redis is back" in caplog.text


def wait_until_redis_is_asked_again() -> None:
    """Let the client forget that the server was away."""
    runtime().redis._away_until = 0.0  # type: ignore[attr-defined]


# --- Nobody ever sees a token ---


def test_nothing_in_redis_contains_a_token(token_app: Callable[..., Flask], hub: HubStandIn, redis_url: str) -> None:
    """After every verb no key, field or value in Redis holds a token or a good part of one, and every key of ours
    begins with the installation's prefix."""
    token_app(*TOKENS, queue_prefix="other")
    hub.accounts.update(
        {ADA: quota(200, runs={"used": 1, "limit": 8, "remaining": 7}), BEA: quota(200), CYD: quota(300)}
    )
    gpu_tokens.refresh()
    use(10)
    gpu_tokens.rest(leased(), 600)
    gpu_tokens.reject(leased())
    leased()
    gpu_tokens.learn_reservation(90)
    everything = everything_in_redis()
    assert len(everything) > 10
    for text in everything:
        for token in TOKENS:
            assert token[3:12] not in text
            assert token[-8:] not in text
    assert all(key.startswith("other:") for key in (raw.decode() for raw in runtime().redis.keys("*")))  # type: ignore[union-attr]


def everything_in_redis() -> list[str]:
    """Every key, field and value."""
    redis = runtime().redis
    found: list[str] = []
    for key in redis.keys("*"):  # type: ignore[union-attr]
        kinds: dict[bytes, Callable[[], object]] = {
            b"string": lambda key=key: redis.get(key),
            b"hash": lambda key=key: redis.hgetall(key),
            b"zset": lambda key=key: redis.zrange(key, 0, -1, withscores=True),
        }
        value = kinds[redis.type(key)]()  # type: ignore[index]
        parts = [*value, *value.values()] if isinstance(value, dict) else [value]
        found += [key.decode(), *map(str, parts)]
    return found


def test_a_lease_and_a_status_show_the_mask_alone(token_app: Callable[..., Flask]) -> None:
    """Neither a lease nor a status shows more of a token than its last four characters, and of a short one nothing."""
    token_app(ADA, "hf_short")
    lease = leased()
    assert (lease.token, lease.mask) == (ADA, "hf_…0001")
    for text in (repr(lease), str(lease), f"{lease}", repr(gpu_tokens.statuses())):
        assert "Ada" not in text
        assert "short" not in text
    assert [status.mask for status in gpu_tokens.statuses()] == ["hf_…0001", "hf_…"]


@pytest.mark.parametrize("token", ["hf_with a line\nend of its own", "hf_mit Umläuten — und mehr"])
def test_a_token_that_cannot_be_sent_is_not_logged(
    token_app: Callable[..., Flask], token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that no header can carry is an unknown quota, and its text is in no log."""
    token_app(token)
    with caplog.at_level(logging.DEBUG):
        gpu_tokens.refresh()
    assert status_of(token).source == "own count"
    assert "its own" not in caplog.text
    assert "und mehr" not in caplog.text
