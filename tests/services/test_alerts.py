"""Alerts: once when it begins, once an hour, once when mended; by mail and webhook; with anything else away."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import alerts, incidents
from ghibli_flask.services.alerts import Cause
from tests.support.http_sink import Sink, http_sink
from tests.support.mail_server import MailServer, Postbox
from tests.support.redis_server import RedisServer

NOWHERE = "mysql+pymysql://nobody@127.0.0.1:1/none"


@pytest.fixture
def clock() -> FixedClock:
    """A clock that a test moves."""
    return FixedClock(datetime(2026, 11, 22, 12, 0, tzinfo=UTC))


@pytest.fixture
def hook() -> Iterator[Sink]:
    """The receiver of the webhook."""
    with http_sink() as sink:
        yield sink


@pytest.fixture
def make(app_factory: Callable[..., Flask], clock: FixedClock, hook: Sink) -> Callable[..., Flask]:
    """Make an application with the webhook and the clock of the test."""
    return lambda **settings: app_factory(**{"clock": clock, "alert_webhook_url": hook.url, **settings})


def states(hook: Sink) -> list[tuple[str, str]]:
    """What the webhook was told: cause and state."""
    return [(message["cause"], message["state"]) for message in hook.messages]


def test_once_an_hour_and_once_when_mended(
    each_database: str, make: Callable[..., Flask], clock: FixedClock, hook: Sink
) -> None:
    """A cause is told when it begins and each hour while it lasts, and its end once."""
    with make().app_context():
        assert alerts.raise_alert(Cause.FULL_DISK, "0.5 GB free")
        clock.advance(minutes=59)
        assert not alerts.raise_alert(Cause.FULL_DISK, "0.4 GB free")
        clock.advance(minutes=1)
        assert alerts.raise_alert(Cause.FULL_DISK, "0.3 GB free")
        (incident,) = incidents.open_incidents()
        assert (incident.text, incident.since.hour) == ("0.3 GB free", 12)
        assert alerts.mended(Cause.FULL_DISK)
        assert not alerts.mended(Cause.FULL_DISK)
        assert incidents.open_incidents() == []
    assert states(hook) == [("full_disk", "alert"), ("full_disk", "alert"), ("full_disk", "mended")]
    assert hook.messages[0] == {
        "cause": "full_disk",
        "text": "0.5 GB free",
        "state": "alert",
        "at": "2026-11-22T12:00:00+00:00",
        "site": "http://127.0.0.1:3000",
    }
    assert hook.messages[2]["text"].endswith("It was: 0.3 GB free")


def test_a_cause_that_comes_and_goes_is_told_once_an_hour(
    make: Callable[..., Flask], clock: FixedClock, hook: Sink
) -> None:
    """Coming again within the hour is quiet, and so is its end, until it is told again."""
    with make().app_context():
        alerts.raise_alert(Cause.REDIS_AWAY, "gone")
        clock.advance(minutes=5)
        alerts.mended(Cause.REDIS_AWAY)
        clock.advance(minutes=5)
        assert not alerts.raise_alert(Cause.REDIS_AWAY, "gone again")
        assert not alerts.mended(Cause.REDIS_AWAY)
        assert not alerts.raise_alert(Cause.REDIS_AWAY, "and again")
        clock.advance(minutes=50)
        assert alerts.raise_alert(Cause.REDIS_AWAY, "still")
        assert alerts.mended(Cause.REDIS_AWAY)
    assert [state for _cause, state in states(hook)] == ["alert", "mended", "alert", "mended"]


def test_causes_do_not_silence_one_another(make: Callable[..., Flask], hook: Sink) -> None:
    """Each cause has an hour of its own."""
    with make().app_context():
        assert all(alerts.raise_alert(cause, "not well") for cause in Cause)
    assert [cause for cause, _state in states(hook)] == [cause.value for cause in Cause]


def test_many_at_once_tell_once(each_database: str, make: Callable[..., Flask], hook: Sink) -> None:
    """Whoever meets a cause at the same moment, and whoever sees its end, people are told once."""
    app = make()

    def run(verb: Callable[[], bool]) -> None:
        with app.app_context():
            verb()

    for verb in (lambda: alerts.raise_alert(Cause.REDIS_AWAY, "gone"), lambda: alerts.mended(Cause.REDIS_AWAY)):
        threads = [threading.Thread(target=run, args=(verb,)) for _number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert states(hook) == [("redis_away", "alert"), ("redis_away", "mended")]


def test_mail_goes_to_the_operators(make: Callable[..., Flask], mail_server: MailServer, postbox: Postbox) -> None:
    """Without ALERT_EMAIL the administrators get the mail, each one of their own; with it, those named there."""
    mail_url = f"smtp://127.0.0.1:{mail_server.port}"
    with make(mail_url=mail_url, admin_emails=("a@example.org", "b@example.org")).app_context():
        assert alerts.raise_alert(Cause.DEAD_WORKER, "No painting worker is heard of.")
    assert postbox.recipients == [["a@example.org"], ["b@example.org"]]
    assert postbox.letters[0]["Subject"] == "[Painted Window] Alert: dead worker"
    assert "No painting worker is heard of." in postbox.letters[0].get_content()
    settings = {"admin_emails": ("a@example.org",), "alert_email": ("c@example.org",)}
    with make(mail_url=mail_url, **settings).app_context():
        assert alerts.mended(Cause.DEAD_WORKER)
    assert postbox.recipients[2:] == [["c@example.org"]]
    assert postbox.letters[2]["Subject"] == "[Painted Window] Mended: dead worker"


def test_a_channel_that_fails_keeps_nobody_from_hearing(
    make: Callable[..., Flask], mail_server: MailServer, hook: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    """With the mail server down the webhook is told; nothing is raised, and the hour counts."""
    mail_server.stop()
    app = make(mail_url=f"smtp://127.0.0.1:{mail_server.port}", alert_email=("a@example.org",))
    with app.app_context():
        assert alerts.raise_alert(Cause.FULL_DISK, "full")
        assert not alerts.raise_alert(Cause.FULL_DISK, "full")
    assert states(hook) == [("full_disk", "alert")]
    assert "could not go by mail: ConnectionRefusedError" in caplog.text


def test_what_nobody_took_is_said_at_the_next_look(
    make: Callable[..., Flask], hook: Sink, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An alert, or its end, that no channel took does not count as said; no address of a webhook reaches the log."""
    with make().app_context():
        hook.status = 500
        assert not alerts.raise_alert(Cause.FULL_DISK, "full")
        hook.status = 200
        clock.advance(minutes=5)
        assert alerts.raise_alert(Cause.FULL_DISK, "full")
        hook.status = 500
        assert not alerts.mended(Cause.FULL_DISK)
        hook.status = 200
        assert alerts.mended(Cause.FULL_DISK)
    assert [state for _cause, state in states(hook)] == ["alert", "alert", "mended", "mended"]
    assert "a-secret-part" not in caplog.text


def test_redis_is_not_needed(make: Callable[..., Flask], redis_server: RedisServer, hook: Sink) -> None:
    """With Redis away alerts are sent, and repeats held back."""
    redis_server.stop()
    with make().app_context():
        assert alerts.raise_alert(Cause.REDIS_AWAY, "Redis does not answer.")
        assert not alerts.raise_alert(Cause.REDIS_AWAY, "Redis does not answer.")
    assert states(hook) == [("redis_away", "alert")]


def test_the_database_is_not_needed(make: Callable[..., Flask], hook: Sink, clock: FixedClock, tmp_path: Path) -> None:
    """With the database away a file of the machine remembers, over processes; its end is told by the database's."""
    for _process in range(2):
        with make(database_url=NOWHERE).app_context():
            alerts.raise_alert(Cause.DATABASE_AWAY, "The database does not answer.")
            assert [incident.cause for incident in incidents.open_incidents()] == ["database_away"]
    noted = tmp_path / "instance/run/incidents.json"
    assert [entry["cause"] for entry in json.loads(noted.read_text())] == ["database_away"]
    clock.advance(minutes=5)
    with make().app_context():
        assert alerts.mended(Cause.DATABASE_AWAY)
        assert not alerts.mended(Cause.DATABASE_AWAY)
    assert states(hook) == [("database_away", "alert"), ("database_away", "mended")]
    assert not noted.exists()


def test_neither_database_nor_disk_is_needed(
    make: Callable[..., Flask], hook: Sink, tmp_path: Path, clock: FixedClock
) -> None:
    """Where nothing can be written at all, the process itself remembers, until it can be noted again."""
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance/run").write_text("No folder can be made here.")
    with make(database_url=NOWHERE).app_context():
        assert alerts.raise_alert(Cause.FULL_DISK, "full")
        assert not alerts.raise_alert(Cause.FULL_DISK, "full")
        assert [incident.cause for incident in incidents.open_incidents()] == ["full_disk"]
    (tmp_path / "instance/run").unlink()
    clock.advance(minutes=5)
    with make().app_context():
        assert alerts.mended(Cause.FULL_DISK)
        assert not alerts.mended(Cause.FULL_DISK)
    assert states(hook) == [("full_disk", "alert"), ("full_disk", "mended")]
    assert incidents._unwritten == {}


def test_no_secret_leaves(make: Callable[..., Flask], hook: Sink, caplog: pytest.LogCaptureFixture) -> None:
    """What is set as a secret, and what looks like one, is taken out of the text."""
    caplog.set_level(logging.INFO)
    secret = "correct-horse-battery-staple-4711"
    token = "hf_abcdefghijklmnop"
    with make(admin_api_key=secret).app_context():
        alerts.raise_alert(Cause.REJECTED_TOKEN, f"{token} and {secret} and redis://:word-of-mouth@host/0")
    (message,) = hook.messages
    assert message["text"] == "[masked] and [masked] and redis://[masked]@host/0"
    assert secret not in caplog.text
    assert token not in caplog.text
