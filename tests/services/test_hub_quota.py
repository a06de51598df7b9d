"""What the Hub says of a token, and what is made of it: readings, their lag, and a Hub that does not answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import gpu_tokens, hub_quota
from tests.support.standins.hub import HubStandIn, quota
from tests.support.tokens import ADA, BEA, EVENING, leased, status_of, use

IN_TWO_HOURS = "2026-11-20T22:00:00.000Z"


def test_the_hubs_reading_wins(token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock) -> None:
    """What the Hub says of seconds, limit and reset replaces our own count, for each token its own."""
    token_app(ADA, BEA)
    hub.accounts.update({ADA: quota(40, resets_at=IN_TWO_HOURS), BEA: quota(2000, base=2400)})
    gpu_tokens.refresh()
    ada, bea = gpu_tokens.statuses()
    assert (ada.state, ada.seconds_left, ada.seconds_used, ada.daily_limit) == ("spent", 40, 260, 300)
    assert (ada.source, ada.checked_at, ada.resets_at) == ("hub", EVENING, EVENING + timedelta(hours=2))
    assert (bea.state, bea.seconds_left, bea.daily_limit, bea.resets_at) == ("available", 2000, 2400, None)
    assert gpu_tokens.next_return() == EVENING + timedelta(hours=2)
    assert leased().token == BEA
    clock.advance(hours=2)
    assert status_of(ADA).seconds_left == 300


@pytest.mark.parametrize("used_first", [True, False])
def test_our_day_ends_with_the_hubs(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock, used_first: bool
) -> None:
    """When the Hub has named its reset, our own count begins anew at that moment too, whichever came first."""
    token_app(ADA)
    hub.accounts[ADA] = quota(250, resets_at=IN_TWO_HOURS)
    for step in (use, lambda _: gpu_tokens.refresh()) if used_first else (lambda _: gpu_tokens.refresh(), use):
        step(50)
    clock.advance(hours=2)
    assert (status_of(ADA).source, status_of(ADA).seconds_left) == ("own count", 300)


def test_a_reading_replaces_the_one_before_it_whole(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock
) -> None:
    """A limit of runs or a reset that the Hub no longer names is no longer believed."""
    token_app(ADA)
    hub.accounts[ADA] = quota(40, resets_at=IN_TWO_HOURS, runs={"used": 8, "limit": 8, "remaining": 0})
    gpu_tokens.refresh()
    assert gpu_tokens.lease() is None
    hub.accounts[ADA] = quota(300)
    clock.advance(seconds=60)
    gpu_tokens.refresh()
    assert status_of(ADA).resets_at is None
    assert leased().token == ADA


def test_a_rest_does_not_bring_an_old_reading_back(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock
) -> None:
    """A reading that has grown old stays so when a quota message names a time."""
    token_app(ADA)
    hub.accounts[ADA] = quota(2300, base=2400)
    gpu_tokens.refresh()
    clock.advance(seconds=601)
    gpu_tokens.rest(leased(), 3600)
    assert status_of(ADA).source == "own count"


def test_calls_since_the_reading_are_subtracted(token_app: Callable[..., Flask], hub: HubStandIn) -> None:
    """What was used since the reading and what is leased now are taken off what the Hub said."""
    token_app(ADA)
    hub.accounts[ADA] = quota(200)
    gpu_tokens.refresh()
    use(30)
    assert status_of(ADA).seconds_left == 170
    assert [gpu_tokens.lease() is None for _ in range(3)] == [False, False, True]


def test_a_lagging_reading_does_not_give_seconds_back(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock
) -> None:
    """A reading that has not counted our last calls yet is corrected by them, seconds and runs; one that has is taken
    as it is."""
    token_app(ADA)

    def seen_after(current: float, runs_left: int) -> tuple[float, int]:
        hub.accounts[ADA] = quota(current, runs={"used": 8 - runs_left, "limit": 8, "remaining": runs_left})
        clock.advance(seconds=60)
        gpu_tokens.refresh()
        return status_of(ADA).seconds_left, status_of(ADA).runs

    assert seen_after(200, 5) == (200, 3)
    use(30)
    assert seen_after(200, 5) == (170, 4)
    assert seen_after(170, 4) == (170, 4)
    use(20)
    assert seen_after(150, 3) == (150, 5)


def test_other_use_of_the_same_account_shows(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock
) -> None:
    """A reading below what we expected is believed at once: somebody else has used the account."""
    token_app(ADA)
    hub.accounts[ADA] = quota(200)
    gpu_tokens.refresh()
    use(10)
    hub.accounts[ADA] = quota(70)
    clock.advance(seconds=60)
    gpu_tokens.refresh()
    assert status_of(ADA).seconds_left == 70


def test_the_first_reading_is_held_against_our_own_count(token_app: Callable[..., Flask], hub: HubStandIn) -> None:
    """A first reading that has counted all of our calls is not lowered by them again."""
    token_app(ADA)
    use(100)
    hub.accounts[ADA] = quota(200)
    gpu_tokens.refresh()
    assert status_of(ADA).seconds_left == 200


def test_after_a_rest_the_hub_is_believed_whatever_we_counted(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock
) -> None:
    """When our calls have rested for longer than the Hub lags, its number stands, also when it is the higher one."""
    token_app(ADA)
    hub.accounts[ADA] = quota(200)
    gpu_tokens.refresh()
    use(100)
    hub.accounts[ADA] = quota(180)
    clock.advance(seconds=121)
    gpu_tokens.refresh()
    assert status_of(ADA).seconds_left == 180


def test_a_reading_that_names_no_reset_grows_old(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock
) -> None:
    """After ten minutes without another reading our own count is used, with the limit that the Hub had told."""
    token_app(ADA)
    hub.accounts[ADA] = quota(2300, base=2400)
    gpu_tokens.refresh()
    use(100)
    clock.advance(seconds=600)
    assert (status_of(ADA).source, status_of(ADA).seconds_left) == ("hub", 2200)
    clock.advance(seconds=1)
    assert (status_of(ADA).source, status_of(ADA).seconds_left) == ("own count", 2300)


def test_the_limit_of_runs_is_respected(token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock) -> None:
    """Two runs left are two leases, whatever the seconds; used up, the token comes back when the runs do."""
    token_app(ADA)
    runs = {"used": 6, "limit": 8, "remaining": 2, "resetsAt": IN_TWO_HOURS}
    hub.accounts[ADA] = quota(290, resets_at="2026-11-21T05:00:00Z", runs=runs)
    gpu_tokens.refresh()
    first, second = leased(), leased()
    assert gpu_tokens.lease() is None
    assert status_of(ADA).state == "leased"
    gpu_tokens.give_back(first, 5)
    gpu_tokens.give_back(second, 5)
    assert (status_of(ADA).state, status_of(ADA).runs) == ("spent", 8)
    assert gpu_tokens.next_return() == EVENING + timedelta(hours=2)
    clock.advance(hours=2)
    assert leased().token == ADA


@pytest.mark.parametrize("behave", ["busy", "garbage", "page", "redirect", "huge", "broken"])
def test_a_failed_reading_is_unknown_and_not_empty(
    token_app: Callable[..., Flask], hub: HubStandIn, behave: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the Hub answers instead of a quota, what we knew stays, the token stays in use, and the log says it
    without the token; no redirect is followed."""
    token_app(ADA)
    hub.accounts[ADA] = quota(120, resets_at=IN_TWO_HOURS)
    gpu_tokens.refresh()
    hub.behave = behave
    gpu_tokens.refresh(force=True)
    assert len(hub.asked) == 2
    assert hub.elsewhere == []
    assert (status_of(ADA).state, status_of(ADA).seconds_left) == ("available", 120)
    assert "quota of token hf_…0001 is unknown" in caplog.text
    assert ADA not in caplog.text


@pytest.mark.parametrize("behave", ["hang", "drip"])
def test_a_slow_hub_is_not_waited_for(
    token_app: Callable[..., Flask], hub: HubStandIn, behave: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Hub that says nothing, or one byte after the other, is left alone when the time is over."""
    token_app(ADA)
    monkeypatch.setattr(hub_quota, "TIMEOUT_S", 0.2)
    hub.behave = behave
    gpu_tokens.refresh()
    assert len(hub.asked) == 1
    assert status_of(ADA).source == "own count"


def test_a_hub_that_is_away_changes_nothing(token_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture) -> None:
    """With nobody at the address the token is leased by our own count, and the log has no token."""
    token_app(ADA, hf_endpoint="http://127.0.0.1:1")
    with caplog.at_level(logging.DEBUG):
        gpu_tokens.refresh()
    assert leased().token == ADA
    assert "is unknown" in caplog.text
    assert ADA not in caplog.text


def test_a_proxy_that_is_away_is_named(
    token_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the proxy does not answer, the log says so with its host and port, without its password and the token."""
    monkeypatch.setenv("https_proxy", "http://somebody:word-of-the-proxy@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    token_app(ADA, hf_endpoint="https://huggingface.co", gradio_token_hosts=("huggingface.co",))
    gpu_tokens.refresh()
    assert "The proxy http://127.0.0.1:1 does not answer" in caplog.text
    assert "word-of-the-proxy" not in caplog.text
    assert ADA not in caplog.text


@pytest.mark.parametrize(
    ("answer", "left", "resets_at", "runs_left"),
    [
        ({"base": 300, "current": 12.5, "resetsAt": None}, 12.5, None, None),
        ({"base": 300, "current": -4, "resetsAt": "2026-11-20T22:00:00"}, 0, EVENING + timedelta(hours=2), None),
        ({"base": 300, "current": 9, "resetsAt": "soon", "runs": {"limit": 8}}, 9, None, None),
        ({"base": 300, "current": 9, "runs": {"limit": 8, "remaining": 3}, "new": []}, 9, None, 3),
    ],
)
def test_forms_of_the_answer(
    hub: HubStandIn, answer: dict[str, object], left: float, resets_at: datetime | None, runs_left: int | None
) -> None:
    """Fields that are missing, new or of another form are left out; a number below zero counts as nothing left."""
    hub.accounts[ADA] = answer
    reading = hub_quota.read(hub.url, ADA)
    assert (reading.base, reading.left, reading.resets_at, reading.runs_left) == (300, left, resets_at, runs_left)


def test_a_token_is_asked_about_once_a_minute(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock
) -> None:
    """However many processes ask at once, the Hub hears of each token once a minute; `force` asks at any time."""
    app = token_app(ADA, BEA)
    hub.accounts.update({ADA: quota(300), BEA: quota(300)})

    def ask(_number: int) -> None:
        with app.app_context():
            gpu_tokens.refresh()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(16)))
    assert sorted(hub.asked) == [ADA, BEA]
    clock.advance(seconds=59)
    gpu_tokens.refresh()
    assert len(hub.asked) == 2
    clock.advance(seconds=1)
    gpu_tokens.refresh()
    assert len(hub.asked) == 4
    gpu_tokens.refresh(force=True)
    assert len(hub.asked) == 6


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"RateLimit": '"api";r=0;t=180'}, 180),
        ({"RateLimit": '"api";r=0;t=180', "Retry-After": "240"}, 240),
        ({"Retry-After": "5"}, 60),
        ({"Retry-After": "86400"}, 600),
        ({}, 60),
    ],
)
def test_the_hubs_wish_not_to_be_asked_is_respected(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock, fields: dict[str, str], seconds: int
) -> None:
    """After 429 the Hub is asked again when it said, within a minute and ten minutes, and not before."""
    token_app(ADA)
    hub.behave, hub.limit_fields = "busy", fields
    gpu_tokens.refresh()
    clock.advance(seconds=seconds - 1)
    gpu_tokens.refresh()
    assert len(hub.asked) == 1
    clock.advance(seconds=1)
    gpu_tokens.refresh()
    assert len(hub.asked) == 2


def test_a_token_that_the_hub_does_not_know_is_disabled(
    token_app: Callable[..., Flask], hub: HubStandIn, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """401 of the quota endpoint disables the token with one alert; when the Hub knows it again it comes back, yet not
    within ten minutes."""
    token_app(ADA, BEA)
    hub.accounts[BEA] = quota(300)
    for _ in range(3):
        gpu_tokens.refresh(force=True)
    assert [status.state for status in gpu_tokens.statuses()] == ["disabled", "available"]
    assert len([record for record in caplog.records if record.name == "ghibli_flask.services.alerts"]) == 1
    assert status_of(ADA).failures == 1
    hub.accounts[ADA] = quota(300)
    clock.advance(minutes=9)
    gpu_tokens.refresh()
    assert status_of(ADA).state == "disabled"
    clock.advance(minutes=1)
    gpu_tokens.refresh()
    assert status_of(ADA).state == "available"


def test_tokens_go_to_named_hosts_alone(token_app: Callable[..., Flask], hub: HubStandIn) -> None:
    """A Hub whose host is not in GRADIO_TOKEN_HOSTS is never asked; plain http goes to loopback hosts alone."""
    token_app(ADA, gradio_token_hosts=("*.hf.space", "huggingface.co"))
    hub.accounts[ADA] = quota(10)
    assert not gpu_tokens.hub_may_be_asked()
    gpu_tokens.refresh(force=True)
    assert hub.asked == []
    assert status_of(ADA).source == "own count"
    token_app(ADA, hf_endpoint="http://huggingface.co", gradio_token_hosts=("huggingface.co",))
    assert not gpu_tokens.hub_may_be_asked()


def test_a_netrc_file_does_not_replace_the_token(
    token_app: Callable[..., Flask], hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a .netrc file says of the Hub's host is not sent in the token's place."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    token_app(ADA)
    gpu_tokens.refresh()
    assert hub.asked == [ADA]
