"""The monitor: each part failing for real, what is kept, what is told, and the commands that show it."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from ghibli_flask import queueing
from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading, transaction
from ghibli_flask.errors import Unavailable
from ghibli_flask.models import ImageTask
from ghibli_flask.services import files, flags, gpu_tokens, health, monitor, repair, tasks
from ghibli_flask.services.monitor import MonitorReport
from ghibli_flask.task_states import Outcome
from jobs.schedule import OwnScheduler, periodic_jobs
from jobs.worker import ApplicationWorker
from tests.support.http_sink import Sink, http_sink
from tests.support.redis_server import RedisServer
from tests.support.runs import paint
from tests.support.visitor import Visitor

KEY = "operator-key-for-this-test-0123456789"
NOWHERE = "mysql+pymysql://nobody@127.0.0.1:1/none"


@pytest.fixture
def clock() -> FixedClock:
    """A clock that a test moves."""
    return FixedClock(datetime.now(UTC))


@pytest.fixture
def hook() -> Iterator[Sink]:
    """The receiver of the webhook."""
    with http_sink() as sink:
        yield sink


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock, hook: Sink) -> Flask:
    """An application whose alerts go to the webhook."""
    return app_factory(clock=clock, alert_webhook_url=hook.url, admin_api_key=KEY, guest_daily_limit=100)


@pytest.fixture
def all_well(app: Flask) -> Flask:
    """An installation in which every part has just been heard of."""
    with app.app_context():
        queueing.tell_load("ghibli-paint-here-1", 32, 2, [3.0])
        queueing.tell_scheduler_lives()
        worker = ApplicationWorker(app, queueing.maintenance_queue(), "ghibli-maintenance-here-2")
        worker.register_birth()
        repair.sweep()
    return app


def check(app: Flask) -> MonitorReport:
    """One run of the monitor."""
    with app.app_context():
        return monitor.check()


def wrong(report: MonitorReport) -> set[str]:
    """What is known to be wrong."""
    return {name for name, look in report.looks.items() if look.ok is False}


def unknown(report: MonitorReport) -> set[str]:
    """What nobody can know."""
    return {name for name, look in report.looks.items() if look.ok is None}


def causes(hook: Sink) -> list[tuple[str, str]]:
    """What people were told."""
    return [(message["cause"], message["state"]) for message in hook.messages]


def test_all_well(all_well: Flask, hook: Sink) -> None:
    """With every part there the monitor says so, tells nobody, and leaves no file behind."""
    report = check(all_well)
    assert (report.ok, wrong(report), unknown(report)) == (True, set(), set()), report
    assert report.line == "monitor: all well"
    assert report.looks["workers"].numbers == {"workers": 1, "slots": 32, "busy": 2}
    assert hook.bodies == []
    with all_well.app_context():
        files.drain()
    assert [path for path in (Path(all_well.instance_path) / "files").rglob("*") if path.is_file()] == []


def test_nobody_there(app: Flask, hook: Sink) -> None:
    """Without any worker or scheduler the monitor says who is missing, and each is told."""
    report = check(app)
    assert wrong(report) == {"workers", "maintenance_worker", "scheduler"}
    assert {cause for cause, _state in causes(hook)} == {"dead_worker", "no_maintenance_worker", "scheduler_silent"}


def test_redis_away(all_well: Flask, redis_server: RedisServer, hook: Sink) -> None:
    """A lost Redis is one alert: whether workers live is then unknown, and neither told nor taken back."""
    redis_server.stop()
    report = check(all_well)
    assert wrong(report) == {"redis"}
    assert unknown(report) >= {"workers", "maintenance_worker", "scheduler"}
    redis_server.start()
    assert causes(hook) == [("redis_away", "alert")]


def test_redis_back(all_well: Flask, redis_server: RedisServer, hook: Sink, clock: FixedClock) -> None:
    """When Redis answers again that is told once."""
    redis_server.pause()
    assert "redis" in wrong(check(all_well))
    redis_server.resume()
    with all_well.app_context():
        all_well.extensions["ghibli_runtime"].redis._away_until = 0.0
    check(all_well)
    check(all_well)
    assert causes(hook)[:2] == [("redis_away", "alert"), ("redis_away", "mended")]
    assert ("redis_away", "mended") not in causes(hook)[2:]


def test_database_away(app_factory: Callable[..., Flask], hook: Sink, clock: FixedClock) -> None:
    """With the database away the monitor still runs and tells it; what needs the database is unknown."""
    report = check(app_factory(clock=clock, database_url=NOWHERE, alert_webhook_url=hook.url))
    assert "database" in wrong(report)
    assert unknown(report) >= {"queue", "sweep", "engines"}
    assert ("database_away", "alert") in causes(hook)


def test_storage_away(all_well: Flask, hook: Sink) -> None:
    """A store that cannot be written to is found by writing to it."""
    folder = Path(all_well.instance_path) / "files"
    check(all_well)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()
    folder.write_text("A file where the folder should be.")
    assert wrong(check(all_well)) == {"storage"}
    assert causes(hook) == [("storage_away", "alert")]


def test_full_disk(all_well: Flask, hook: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less free disk than wanted is told, with the number."""
    monkeypatch.setattr(monitor, "LEAST_FREE_BYTES", 2**60)
    report = check(all_well)
    assert wrong(report) == {"disk"}
    assert re.search(r"nearly full: [\d.]+ GB free", report.looks["disk"].text)
    assert causes(hook) == [("full_disk", "alert")]


def test_queue_too_old(all_well: Flask, clock: FixedClock) -> None:
    """An order that has waited for more than half of its time makes the queue too old; the depth is told."""
    Visitor(all_well).ordered()
    assert check(all_well).looks["queue"].numbers == {"depth": 1, "oldest_s": 0}
    clock.advance(minutes=11)
    look = check(all_well).looks["queue"]
    assert (look.ok, look.numbers) == (False, {"depth": 1, "oldest_s": 660})


def test_no_engine_left(all_well: Flask, hook: Sink, clock: FixedClock) -> None:
    """Engines are not well when all are switched off, or when none of the last orders was painted."""
    with all_well.app_context():
        flags.switch("engine-gradio", "off", by="test")
    assert "engines" in wrong(check(all_well))
    with all_well.app_context():
        flags.switch("engine-gradio", None, by="test")
    clock.advance(seconds=1)
    visitor = Visitor(all_well)
    for number in range(3):
        assert "engines" not in wrong(check(all_well))
        clock.advance(seconds=1)
        paint(all_well, visitor.ordered(seed=number), Outcome.FAILED, "engine_unavailable")
    assert wrong(check(all_well)) == {"engines"}
    paint(all_well, visitor.ordered(seed=9))
    assert check(all_well).ok
    assert [cause for cause, _state in causes(hook)] == ["no_engine_left"] * 2


def test_old_failures_are_forgotten(all_well: Flask, clock: FixedClock) -> None:
    """What failed over half an hour ago says nothing about now."""
    visitor = Visitor(all_well)
    for number in range(3):
        paint(all_well, visitor.ordered(seed=number), Outcome.FAILED, "engine_timeout")
    clock.advance(minutes=31)
    with all_well.app_context():
        queueing.tell_load("ghibli-paint-here-1", 32, 2, [3.0])
        repair.sweep()
    assert check(all_well).looks["engines"].numbers == {"painted": 0, "failed": 0}


def test_a_rejected_token(app_factory: Callable[..., Flask], clock: FixedClock, hook: Sink) -> None:
    """A token that the Hub refuses is named by its mask until it is enabled again."""
    tokens = ("hf_" + "a" * 30, "hf_" + "b" * 30)
    app = app_factory(
        clock=clock, alert_webhook_url=hook.url, hugging_face_tokens=tokens, hf_endpoint="https://example.org"
    )
    with app.app_context():
        lease = gpu_tokens.lease()
        assert lease is not None
        gpu_tokens.reject(lease)
        look = monitor.check().looks["tokens"]
        assert (look.ok, look.numbers["usable"], look.numbers["refused"]) == (False, 1, 1)
        assert lease.token not in look.text
        gpu_tokens.enable(lease.mask)
        assert monitor.check().looks["tokens"].ok
    assert [state for cause, state in causes(hook) if cause == "rejected_token"] == ["alert", "mended"]


def test_a_sweep_that_is_late(all_well: Flask, clock: FixedClock) -> None:
    """A sweep that has not finished for minutes is not well."""
    clock.advance(minutes=10)
    look = check(all_well).looks["sweep"]
    assert (look.ok, look.text) == (False, "The last sweep finished 10 minutes ago.")


def test_a_look_that_breaks_harms_no_other(all_well: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that raises is unknown, and the others are taken."""
    monkeypatch.setattr(queueing, "waiting", lambda: 1 / 0)
    report = check(all_well)
    assert unknown(report) == {"queue"}
    assert "ZeroDivisionError" in report.looks["queue"].text


def test_the_last_ten_are_kept_and_shown(all_well: Flask) -> None:
    """Ten results are kept; the operator's key shows them with what is open, a stranger sees neither."""
    for _run in range(11):
        check(all_well)
    with all_well.app_context():
        assert len(health.last_runs("monitor")) == 10
    client = all_well.test_client()
    details = client.get("/api/health", headers={"X-API-Key": KEY}).get_json()["details"]
    assert len(details["monitor"]) == 10
    newest = details["monitor"][0]
    assert newest["ok"] is True
    assert newest["checks"].keys() == monitor.LOOKS.keys()
    assert newest["checks"]["workers"]["numbers"]["slots"] == 32
    assert details["incidents"] == []
    assert "details" not in client.get("/api/health").get_json()


def test_open_incidents_are_shown(app: Flask) -> None:
    """The operator sees what is wrong and since when."""
    check(app)
    details = app.test_client().get("/api/health", headers={"X-API-Key": KEY}).get_json()["details"]
    assert {incident["cause"] for incident in details["incidents"]} >= {"dead_worker", "scheduler_silent"}
    assert details["monitor"][0]["ok"] is False


def test_commands_show_it(all_well: Flask, redis_server: RedisServer) -> None:
    """`flask monitor run` keeps a result, `status` does not; both print a line for each part and end with 0 or 1."""
    runner = all_well.test_cli_runner()
    done = runner.invoke(args=["monitor", "run"])
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) == len(monitor.LOOKS)
    assert re.search(r"^workers +well +1 painting, 2 of 32 slots busy$", done.output, re.MULTILINE)
    redis_server.stop()
    done = runner.invoke(args=["monitor", "status"])
    assert done.exit_code == 1
    assert re.search(r"^redis +NOT WELL ", done.output, re.MULTILINE)
    assert re.search(r"^last sweep +\d{4}-", done.output, re.MULTILINE)
    with all_well.app_context():
        assert len(health.last_runs("monitor")) == 1


def test_a_part_that_lacks_a_store_is_no_outage_of_the_database(
    app: Flask, hook: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later part of the sweep that meets a store that is away is told as that part, and the record is kept."""

    def away() -> int:
        raise Unavailable

    monkeypatch.setattr(files, "drain", away)
    with app.app_context():
        assert repair.sweep().broken == ["discarded files"]
        assert len(health.last_runs("sweep")) == 1
    assert causes(hook) == [("failing_sweep", "alert")]


@pytest.mark.filterwarnings("ignore::FutureWarning:rq_scheduler")
def test_the_scheduler_starts_it(app: Flask) -> None:
    """The monitor is a periodic job, at the time of MONITOR_CRON, and the maintenance worker runs it."""
    with app.app_context():
        jobs = {job.name: job for job in periodic_jobs()}
        assert jobs["monitor"].cron == "*/5 * * * *"
        scheduler = OwnScheduler("ghibli", periodic_jobs(), queueing.maintenance_queue().connection)
        scheduler.enqueue_jobs()
        job = next(job for job in scheduler.get_jobs() if job.id == "ghibli-monitor")
        scheduler.enqueue_job(job)
        queue = queueing.maintenance_queue()
    ApplicationWorker(app, queue, "tests-maintenance").work(burst=True, logging_level="WARNING")
    with app.app_context():
        assert len(health.last_runs("monitor")) == 1


# --- A sweep that fails ---


def late_orders(app: Flask, count: int) -> list[str]:
    """Orders that are past their deadline."""
    visitor = Visitor(app)
    ids = [visitor.ordered(seed=number) for number in range(count)]
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with app.app_context():
        transaction(lambda session: session.execute(update(ImageTask).values(deadline_at=long_ago)))
    return ids


def test_one_order_that_cannot_be_repaired_keeps_no_other(
    each_database: str, app: Flask, hook: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch with a broken order is taken one by one: the others end, the sweep says which did not, and it is told."""
    ids = late_orders(app, 3)
    end_values = tasks.end_values

    def breaks(task: ImageTask, *rest: Any) -> dict[str, Any]:
        if task.public_id == ids[1]:
            raise ArithmeticError
        return end_values(task, *rest)

    monkeypatch.setattr(tasks, "end_values", breaks)
    with app.app_context():
        report = repair.sweep()
        assert (report.failed, report.broken) == (2, [f"task {ids[1]}"])
        with reading() as session:
            states = {task.public_id: task.status for task in session.query(ImageTask)}
        assert states == {ids[0]: "failed", ids[1]: "queued", ids[2]: "failed"}
        assert not health.last_runs("sweep")[0].ok
        assert monitor.look().looks["sweep"].ok is False
    assert causes(hook) == [("failing_sweep", "alert")]
    monkeypatch.setattr(tasks, "end_values", end_values)
    with app.app_context():
        assert repair.sweep().failed == 1
    assert causes(hook) == [("failing_sweep", "alert"), ("failing_sweep", "mended")]


def test_one_part_that_fails_keeps_no_other(app: Flask, hook: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the files cannot be drained the orders are repaired all the same, and the sweep says what did not work."""
    late_orders(app, 1)
    monkeypatch.setattr(files, "drain", lambda: 1 / 0)
    with app.app_context():
        report = repair.sweep()
    assert (report.failed, report.broken) == (1, ["discarded files"])
    assert report.line.endswith("; did not work: discarded files")
    assert causes(hook) == [("failing_sweep", "alert")]
