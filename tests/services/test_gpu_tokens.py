"""The Hub's tokens: who gets which, how long one rests, what a refusal does, and our own count."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import gpu_tokens
from ghibli_flask.services.gpu_tokens import Lease
from tests.support.tokens import ADA, BEA, EVENING, TOKENS, leased, status_of, use

# --- Who gets which ---


def test_nothing_is_leased_without_tokens(token_app: Callable[..., Flask]) -> None:
    """Without tokens nothing is configured, nothing is leased, and every question has an empty answer."""
    token_app()
    assert not gpu_tokens.is_configured()
    assert gpu_tokens.lease() is None
    assert gpu_tokens.statuses() == []
    assert gpu_tokens.next_return() is None
    gpu_tokens.refresh(force=True)


def test_the_token_with_most_seconds_left_comes_first(token_app: Callable[..., Flask]) -> None:
    """A lease takes the token with most seconds left, and a lease that is out counts as one run's reservation."""
    token_app(ADA, BEA)
    assert use(100) == ADA
    assert [leased().token for _ in range(4)] == [BEA, BEA, ADA, BEA]


def test_a_token_with_less_than_a_run_reserves_is_not_handed_out(token_app: Callable[..., Flask]) -> None:
    """With 61 s left and 60 s reserved a token is handed out once more, with 59 s left not; it says `spent`."""
    token_app(ADA)
    assert gpu_tokens.is_configured()
    use(239)
    use(2)
    assert gpu_tokens.lease() is None
    assert status_of(ADA).state == "spent"
    assert status_of(ADA).seconds_left == 59


def test_a_reservation_that_a_message_named_counts_from_then_on(token_app: Callable[..., Flask]) -> None:
    """After "90s requested" a token with 80 s left stays where it is; another Space is not concerned."""
    token_app(ADA)
    use(220)
    gpu_tokens.learn_reservation(90)
    gpu_tokens.learn_reservation(0)
    gpu_tokens.learn_reservation(10**9)
    assert gpu_tokens.lease() is None
    token_app(ADA, gradio_url="https://other-painter.hf.space")
    assert leased().token == ADA


def test_a_token_is_leased_out_when_its_seconds_are_promised(token_app: Callable[..., Flask]) -> None:
    """300 s are five reservations of 60 s: the sixth call gets nothing until one of them is given back."""
    token_app(ADA)
    leases = [leased() for _ in range(5)]
    assert gpu_tokens.lease() is None
    assert status_of(ADA).state == "leased"
    gpu_tokens.give_back(leases[0], 0)
    assert status_of(ADA).state == "available"
    assert leased().token == ADA


def test_a_lease_ends_once(token_app: Callable[..., Flask]) -> None:
    """Giving a lease back twice counts its seconds once."""
    token_app(ADA)
    lease = leased()
    gpu_tokens.give_back(lease, 30)
    gpu_tokens.give_back(lease, 30)
    assert (status_of(ADA).seconds_used, status_of(ADA).runs, status_of(ADA).calls) == (30, 1, 1)


@pytest.mark.parametrize("seconds", [0, 12])
def test_equal_tokens_are_used_equally(token_app: Callable[..., Flask], clock: FixedClock, seconds: float) -> None:
    """Of 300 leases, up to 9 at a time, each of three equal tokens gets 100, give or take ten, also when the calls
    cost nothing."""
    token_app(*TOKENS, hf_daily_seconds=100_000)
    counts: Counter[str] = Counter()
    running: list[Lease] = []
    for _ in range(300):
        clock.advance(seconds=1)
        running.append(leased())
        counts[running[-1].token] += 1
        if len(running) > 9:
            gpu_tokens.give_back(running.pop(len(counts) % 3), seconds)
    assert set(counts) == set(TOKENS)
    assert all(90 <= count <= 110 for count in counts.values()), counts


def test_of_equal_seconds_the_token_with_fewer_calls_under_way_comes_first(
    token_app: Callable[..., Flask], clock: FixedClock
) -> None:
    """With as many seconds to give, a token without a call under way goes before one that has rested longer."""
    token_app(ADA, BEA)
    assert leased().token == ADA
    clock.advance(seconds=1)
    assert use(60) == BEA
    clock.advance(seconds=1)
    assert leased().token == BEA


def test_threads_never_lease_more_than_there_is(token_app: Callable[..., Flask]) -> None:
    """32 threads ask at once, five times each: three tokens of 300 s are leased 15 times, each of them five times."""
    app = token_app(*TOKENS)
    together = threading.Barrier(32)

    def ask(_number: int) -> list[Lease | None]:
        with app.app_context():
            together.wait()
            return [gpu_tokens.lease() for _ in range(5)]

    with ThreadPoolExecutor(32) as pool:
        answers = [lease for leases in pool.map(ask, range(32)) for lease in leases]
    assert Counter(lease.token for lease in answers if lease) == dict.fromkeys(TOKENS, 5)


# --- Resting, refused ---


def test_a_token_rests_until_the_named_time(token_app: Callable[..., Flask], clock: FixedClock) -> None:
    """After "try again in 0:09:48" a token is handed to nobody for that long, whatever our count says, then again."""
    token_app(ADA)
    use(260)
    assert gpu_tokens.lease() is None
    clock.advance(hours=24)
    gpu_tokens.rest(leased(), 588)
    assert gpu_tokens.lease() is None
    assert status_of(ADA).state == "resting"
    assert status_of(ADA).cooling_until == clock.now() + timedelta(seconds=588)
    assert gpu_tokens.next_return() == clock.now() + timedelta(seconds=588)
    clock.advance(seconds=587)
    assert gpu_tokens.lease() is None
    clock.advance(seconds=1)
    assert leased().token == ADA
    assert status_of(ADA).failures == 1


def test_the_named_time_ends_the_day_that_we_count(token_app: Callable[..., Flask], clock: FixedClock) -> None:
    """A token that is used up by our own count comes back when the message says so, and not a day later."""
    token_app(ADA)
    use(200)
    gpu_tokens.rest(leased(), 3600)
    clock.advance(seconds=3600)
    assert status_of(ADA).seconds_left == 300
    assert leased().token == ADA


def test_a_shorter_rest_does_not_shorten_a_longer_one(token_app: Callable[..., Flask], clock: FixedClock) -> None:
    """Of two calls that were refused at once, the longer rest counts."""
    token_app(ADA)
    first, second = leased(), leased()
    gpu_tokens.rest(first, 7200)
    gpu_tokens.rest(second, 120)
    assert status_of(ADA).cooling_until == clock.now() + timedelta(hours=2)


def test_a_short_rest_leaves_our_count_as_it_is(token_app: Callable[..., Flask], clock: FixedClock) -> None:
    """A rest of two minutes, for running tasks to end, brings no seconds back."""
    token_app(ADA)
    use(200)
    gpu_tokens.rest(leased(), 120)
    clock.advance(seconds=120)
    assert (status_of(ADA).state, status_of(ADA).seconds_left) == ("available", 100)


def test_a_refusal_ends_the_lease(token_app: Callable[..., Flask], clock: FixedClock) -> None:
    """A call that was refused holds no seconds back, whether for its quota or for its token."""
    token_app(ADA)
    leases = [leased() for _ in range(5)]
    gpu_tokens.rest(leases[0], 120)
    gpu_tokens.reject(leases[1])
    gpu_tokens.enable("0001")
    clock.advance(seconds=120)
    assert [gpu_tokens.lease() is None for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(("named", "seconds"), [(-5, 1), (1e12, 7 * 86_400)])
def test_a_rest_has_bounds(token_app: Callable[..., Flask], clock: FixedClock, named: float, seconds: float) -> None:
    """Whatever a message names, a token rests for a second at least and a week at most."""
    token_app(ADA)
    gpu_tokens.rest(leased(), named)
    assert status_of(ADA).cooling_until == clock.now() + timedelta(seconds=seconds)


def test_a_spent_token_that_rests_comes_back_when_both_are_over(token_app: Callable[..., Flask]) -> None:
    """A short rest does not promise a token earlier than its seconds come back."""
    token_app(ADA)
    first, second = leased(), leased()
    gpu_tokens.give_back(first, 280)
    gpu_tokens.rest(second, 120)
    assert gpu_tokens.next_return() == EVENING + timedelta(hours=24) - timedelta(seconds=280)


def test_the_first_return_of_several(token_app: Callable[..., Flask], clock: FixedClock) -> None:
    """The next return is the earliest of the resting and the spent; with nothing resting there is none."""
    token_app(ADA, BEA)
    assert gpu_tokens.next_return() is None
    gpu_tokens.rest(leased(), 7200)
    use(280)
    assert gpu_tokens.lease() is None
    assert gpu_tokens.next_return() == clock.now() + timedelta(hours=2)
    clock.advance(hours=2)
    assert gpu_tokens.next_return() == EVENING + timedelta(hours=24) - timedelta(seconds=280)


def test_a_refused_token_is_disabled_and_the_operator_told(
    token_app: Callable[..., Flask], clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused token is handed to nobody for a day; the alert names it by its mask, once for all refused calls."""
    token_app(ADA)
    first, second = leased(), leased()
    gpu_tokens.reject(first)
    gpu_tokens.reject(second)
    assert gpu_tokens.lease() is None
    assert status_of(ADA).state == "disabled"
    assert gpu_tokens.next_return() is None
    said = [record.getMessage() for record in caplog.records if record.name == "ghibli_flask.services.alerts"]
    assert len(said) == 1
    assert "hf_…0001" in said[0]
    clock.advance(hours=24)
    assert leased().token == ADA


def test_the_operator_enables_a_token(token_app: Callable[..., Flask]) -> None:
    """`enable` takes the mask or the last four characters, and no more than what it names."""
    token_app(ADA, BEA)
    for _ in range(2):
        gpu_tokens.reject(leased())
    assert gpu_tokens.lease() is None
    assert [gpu_tokens.enable(name) for name in ("", "hf_…9999", "hf_…0001", "0001")] == [0, 0, 1, 0]
    assert (status_of(ADA).state, status_of(BEA).state) == ("available", "disabled")


# --- Our own count ---


def test_our_day_ends_24_hours_after_the_first_use(token_app: Callable[..., Flask], clock: FixedClock) -> None:
    """Used at eight in the evening, a token is still used up after midnight, and whole again at eight."""
    token_app(ADA)
    use(0)
    assert status_of(ADA).resets_at is None
    use(250)
    first_use = EVENING - timedelta(seconds=250)
    assert status_of(ADA).resets_at == first_use + timedelta(hours=24)
    clock.moment = datetime(2026, 11, 21, 0, 1, tzinfo=UTC)
    assert (status_of(ADA).seconds_left, status_of(ADA).runs) == (50, 1)
    assert gpu_tokens.lease() is None
    clock.moment = first_use + timedelta(hours=24)
    assert (status_of(ADA).seconds_left, status_of(ADA).runs) == (300, 0)
    use(40)
    assert (status_of(ADA).seconds_left, status_of(ADA).runs) == (260, 1)
    assert status_of(ADA).source == "own count"
