"""The overview, the switches and the queues: right when all is well, empty, broken or away, and never with a secret."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from markupsafe import escape
from rq import SimpleWorker
from sqlalchemy import update

from ghibli_flask import queueing
from ghibli_flask.admin import charts
from ghibli_flask.clock import FixedClock
from ghibli_flask.database import transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import (
    administration,
    alerts,
    credits,
    files,
    flags,
    gpu_tokens,
    health,
    order_figures,
    overview,
    page_errors,
)
from ghibli_flask.services.concerns import ADVICE
from ghibli_flask.services.order_figures import Hour
from ghibli_flask.task_states import Outcome
from tests.support.member import Member, member
from tests.support.redis_server import RedisServer
from tests.support.runs import paint
from tests.support.visitor import Visitor

ADMIN, KEY = "boss@example.org", "the operator's own long key 4711"
TOKEN = "hf_averylongtokenthatnobodymaysee"
MARKUP = "<script>alert(1)</script>\"'"
PAGES = ("/admin/", "/admin/ui/tasks", "/admin/ui/users", "/admin/ui/shares", "/admin/ui/flags", "/admin/ui/queues",
         "/admin/ui/audit")  # fmt: skip


@pytest.fixture
def clock() -> FixedClock:
    """Half past twelve on a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 30, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """An application with one administrator, a key, a token and two engines."""
    return app_factory(
        clock=clock,
        admin_emails=(ADMIN,),
        admin_api_key=KEY,
        hugging_face_tokens=(TOKEN,),
        openai_api_key="sk-not-a-real-one-0815",
        guest_daily_limit=100,
        guest_daily_limit_per_address=100,
        orders_per_minute=0,
    )


@pytest.fixture
def admin(app: Flask) -> Member:
    """The administrator, signed in."""
    return member(app, ADMIN)


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A guest."""
    return Visitor(app)


def words(page: str) -> str:
    """A page's text without its elements, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def overview_of(admin: Member) -> str:
    """The overview as text."""
    answer = admin.get("/admin/")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return words(answer.get_data(as_text=True))


def everything_lives(app: Flask) -> None:
    """Play the workers, the scheduler, the sweep and the monitor as they tell of themselves."""
    with app.app_context():
        queueing.tell_load("paint-one", 8, 3, [20.0, 30.0, 40.0])
        queueing.tell_scheduler_lives()
        redis, queue = runtime().redis, queueing.maintenance_queue()
        redis.sadd(f"rq:workers:{queue.name}", "rq:worker:maintenance-one")
        redis.set("rq:worker:maintenance-one", 1)
        health.keep("sweep", ok=True, details={"broken": []})
        health.keep("monitor", ok=True, details={"disk": {"ok": True, "text": "11 GB free", "numbers": {}}})


def log_of(app: Flask) -> list[tuple[str, str, str]]:
    """The audit log, oldest first: who, what, to what."""
    with app.app_context():
        return [(entry.actor, entry.action, entry.subject) for entry in reversed(administration.audit())]


# --- The overview ---


def test_all_is_well(app: Flask, admin: Member, visitor: Visitor) -> None:
    """With every part alive the first words say so, and the figures are those of the orders."""
    everything_lives(app)
    painted, down, failed = visitor.ordered(), visitor.ordered(), visitor.ordered()
    paint(app, painted)
    paint(app, down)
    paint(app, failed, Outcome.FAILED, "engine_timeout")
    visitor.ordered()
    assert (
        visitor.post(f"/api/tasks/{painted}/rating", json={"verdict": "up", "word": "exactly the light"}).status_code
        == 204
    )
    assert visitor.post(f"/api/tasks/{down}/rating", json={"verdict": "down"}).status_code == 204
    text = overview_of(admin)
    for told in (
        "All is well", "1 painting worker", "Waiting 1 4 in the queue", "Painted 2 of 4 orders", "Failed 1 25 %",
        "Given back 1", "1 up 1 down", "gradio 2 painted, 1 failed", "The painting took too long and was stopped. 1",
        "paint-one 3 of 8 places busy lately 30 s a painting", "hf_…ysee ready 300 of 300 seconds left",
        "“exactly the light”", "11 GB free", "1 Jul 2026, 12:30 UTC", "No file went to another store",
    ):  # fmt: skip
        assert told in text


def test_nothing_has_happened_yet(admin: Member) -> None:
    """On a new installation every part says that there is nothing, and what does not run is told with what to do."""
    text = overview_of(admin)
    for told in (
        "3 things need you", "No painting worker is heard of.", "scripts/check_status.sh", "The scheduler is silent.",
        "The monitor has not run for a while.", "No orders in the last 24 hours.", "Waiting 0", "None failed.",
        "Nothing was painted", "Nobody has said anything yet.", "None were reported within a week.", "too few to tell",
    ):  # fmt: skip
        assert told in text
    assert "All is well" not in text


def test_redis_is_away(app: Flask, admin: Member, visitor: Visitor, redis_server: RedisServer) -> None:
    """Without Redis the pages answer from the database, say what is unknown, and what to do about it."""
    paint(app, visitor.ordered())
    redis_server.stop()
    text = overview_of(admin)
    for told in (
        "1 thing needs you", "Redis does not answer.", "systemctl status redis-server", "Painted 1 of 1 orders",
        "the queue is unknown", "Redis is away, so what it knows is missing here.", "Unknown while Redis is away.",
    ):  # fmt: skip
        assert told in text
    assert "No painting worker" not in text
    queues = admin.get("/admin/ui/queues")
    assert queues.status_code == 200
    assert "Redis is away, so nothing is known of the queues." in words(queues.get_data(as_text=True))


def test_what_the_monitor_noted_stands_until_it_is_mended(app: Flask, admin: Member) -> None:
    """What no quick look can see is believed of the monitor; what one can see is not, once it is well again."""
    everything_lives(app)
    with app.app_context():
        alerts.raise_alert("full_disk", "Only 0.4 GB are free.")
        alerts.raise_alert("dead_worker", "No painting worker is heard of.")
    text = overview_of(admin)
    assert "1 thing needs you" in text
    assert "The disk is nearly full." in text
    assert "Only 0.4 GB are free. (since 1 Jul 2026, 12:30 UTC" in text
    with app.app_context():
        alerts.mended("full_disk")
    assert "All is well" in overview_of(admin)


def test_an_old_order_is_an_alarm(app: Flask, admin: Member, visitor: Visitor, clock: FixedClock) -> None:
    """An order that has been waiting for more than half of its time is told of, with how long."""
    visitor.ordered()
    clock.advance(minutes=9)
    everything_lives(app)
    assert "All is well" in overview_of(admin)
    clock.advance(minutes=2)
    everything_lives(app)
    text = overview_of(admin)
    assert "1 thing needs you" in text
    assert "The oldest order has been waiting for too long." in text
    assert "The oldest waits 11 min since 12:30" in text


def test_what_the_operator_switched_is_told(app: Flask, admin: Member) -> None:
    """Maintenance, engines that are off and closed sign-ups are no alarms, and are not forgotten either."""
    everything_lives(app)
    with app.app_context():
        for name, value in (("maintenance", "We are back at noon."), ("engine-openai", "off"), ("sign-ups", "off")):
            flags.switch(name, value, by=ADMIN)
    text = overview_of(admin)
    for told in (
        "It works, and something wants a look", "Visitors read: “We are back at noon.”", "Switched off: openai.",
        "No new accounts are taken.",
    ):  # fmt: skip
        assert told in text


def test_a_refused_token_is_an_alarm(app: Flask, admin: Member) -> None:
    """A token that the Hub refuses is told of, by its mask."""
    everything_lives(app)
    with app.app_context():
        lease = gpu_tokens.lease()
        assert lease
        gpu_tokens.reject(lease)
    text = overview_of(admin)
    assert "The Hub refuses a token." in text
    assert "hf_…ysee refused" in text


def test_broken_data_breaks_no_page(app: Flask, admin: Member, visitor: Visitor) -> None:
    """Codes that nobody knows, markup in what pages report and visitors say, and odd kept checks are shown as text."""
    task_id = visitor.ordered()
    paint(app, task_id, Outcome.FAILED, "engine_timeout")
    with app.app_context():
        odd = update(ImageTask).values(error_code="no_such_code", engine="no-such-engine", style="no-such-style")
        transaction(lambda session: session.execute(odd))
        page_errors.note(f"TypeError: {MARKUP} for ada@example.org at https://host/page?token=4711", task_id)
        health.keep("monitor", ok=False, details={"disk": {"ok": False, "text": MARKUP}})
        runtime().redis.hset(files.fallbacks_key(), "r2>local", 3)
    pages = [admin.get(address).get_data(as_text=True) for address in ("/admin/", "/admin/ui/tasks")]
    assert str(escape(MARKUP)) in pages[0]
    assert "<script>alert" not in pages[0]
    assert "3 files went to local instead of r2" in words(pages[0])
    assert "TypeError" in pages[0]
    assert "ada@example.org" not in pages[0]
    assert "4711" not in pages[0]
    for page in pages:
        assert "no_such_code" in page
        assert "no-such-engine" in page
    assert admin.get(f"/admin/ui/tasks/{task_id}").status_code == 200


def test_only_the_latest_page_errors_are_kept(app: Flask) -> None:
    """However much is reported, the latest twenty are kept, each cut, without the secrets of the settings."""
    with app.app_context():
        for number in range(30):
            page_errors.note(f"error {number} {TOKEN} " + "x" * 900)
        kept = page_errors.recent()
    assert kept is not None
    assert [error.text[:9].strip() for error in kept] == [f"error {number}" for number in range(29, 9, -1)]
    assert all(len(error.text) <= 300 and TOKEN not in error.text for error in kept)


def test_no_page_holds_a_secret_or_anything_inline(app: Flask, admin: Member, visitor: Visitor) -> None:
    """No page of the desk holds a token or key, runs inline script or style, or asks another host for anything."""
    paint(app, visitor.ordered())
    for address in PAGES:
        answer = admin.get(address)
        page = answer.get_data(as_text=True)
        assert answer.status_code == 200
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        for secret in (TOKEN, KEY, "sk-not-a-real-one-0815"):
            assert secret not in page
        assert not re.search(r"<script(?![^>]*src=)(?![^>]*application/json)|<style|\sstyle=|\son\w+=", page)
        assert not re.search(r"(src|href|action)=\"(https?:)?//", page)


# --- The figures ---


def test_figures_are_those_of_the_last_day(each_database: str, app: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Each order is counted in the hour of its acceptance, those of yesterday's noon no more; on every database."""
    ages = (timedelta(hours=24, minutes=31), timedelta(hours=23), timedelta(hours=1), timedelta(0), timedelta(0))
    ordered = [visitor.ordered() for _age in ages]
    paint(app, ordered[1])
    paint(app, ordered[2], Outcome.FAILED, "quota")
    paint(app, ordered[3], Outcome.ORIGINAL)
    with app.app_context():
        now = clock.now()
        for task_id, age in zip(ordered, ages, strict=True):
            moved = {"created_at": now - age, "queued_at": now - age, "deadline_at": now - age + timedelta(minutes=20)}
            if age:
                moved |= {"started_at": now - age, "finished_at": now - age + timedelta(seconds=90)}
            one = update(ImageTask).where(ImageTask.public_id == task_id).values(**moved)
            transaction(lambda session, one=one: session.execute(one))
        hours = order_figures.by_hour(now)
        newest = order_figures.of_newest(now)
        waiting = order_figures.waiting()
        failures = order_figures.latest_failures(now)
    assert [hour.begins for hour in hours.hours] == [
        datetime(2026, 6, 30, 13, tzinfo=UTC) + number * timedelta(hours=1) for number in range(24)
    ]
    counted = {hour.begins.hour: (hour.finished, hour.failed, hour.under_way) for hour in hours.hours if hour.orders}
    assert counted == {13: (1, 0, 0), 11: (0, 1, 0), 12: (1, 0, 1)}
    assert (newest.orders, newest.painted, newest.originals, newest.failed, newest.refunded) == (4, 1, 1, 1, 2)
    assert newest.failures == [("quota", 1)]
    assert [(engine.name, engine.painted, engine.failed, engine.p50) for engine in newest.engines] == [
        ("gradio", 1, 1, 90.0)
    ]
    assert (waiting.orders, waiting.oldest_since) == (2, now - ages[0])
    assert [(failure.public_id, failure.reason) for failure in failures] == [(ordered[2], "quota")]
    assert not hours.is_cut
    assert not newest.is_cut


def test_what_is_not_counted_is_told(
    app: Flask, admin: Member, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more orders than are looked at, the page says of how many its figures are."""
    monkeypatch.setattr(order_figures, "NEWEST", 2)
    monkeypatch.setattr(order_figures, "COUNTED", 2)
    for _number in range(3):
        visitor.ordered()
    text = overview_of(admin)
    assert "are of the newest 2 orders" in text
    assert "the highest bars are too low" in text


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7.0], 0.95, 7.0), (list(range(1, 101)), 0.5, 50), (list(range(1, 101)), 0.95, 95),
     ([3.0, 1.0, 2.0], 0.5, 2.0)],
)  # fmt: skip
def test_percentiles(values: list[float], share: float, expected: float | None) -> None:
    """A percentile is a value that was measured: the smallest that this share does not exceed."""
    assert order_figures.percentile(values, share) == expected


def test_bars_stand_on_the_ground_to_one_scale() -> None:
    """The pieces of a bar lie on one another from the ground up, within the drawing, and one order can be seen."""
    begins = datetime(2026, 7, 1, tzinfo=UTC)
    chart = charts.bars_of([Hour(begins, finished=900, failed=99, under_way=1), Hour(begins), Hour(begins, failed=1)])
    assert chart.top == 1000
    full, empty, single = chart.bars
    assert full.pieces[0].y + full.pieces[0].height == chart.height
    assert full.pieces[1].y + full.pieces[1].height == pytest.approx(full.pieces[0].y, abs=0.02)
    assert [piece.part for piece in full.pieces] == ["finished", "failed", "under_way"]
    assert all(0 <= piece.y <= chart.height and piece.height >= 1.5 for bar in chart.bars for piece in bar.pieces)
    assert empty.pieces == []
    assert single.pieces[0].part == "failed"
    assert charts.bars_of([]).top == charts.bars_of([Hour(begins)]).top == 0


@pytest.mark.parametrize(
    ("most", "top"), [(0, 0), (1, 2), (2, 2), (3, 4), (9, 10), (10, 10), (11, 20), (61, 80), (99, 100), (1001, 2000)]
)
def test_the_top_of_a_scale(most: int, top: int) -> None:
    """The top of a scale is the next round number whose half is a whole one."""
    assert charts.round_number(most) == top


def test_every_alert_has_advice() -> None:
    """Whatever an operator can be told about, the overview says what it means and what to do."""
    assert set(ADVICE) == set(alerts.Cause)


# --- The switches ---


def test_a_switch_turns_and_turns_back(app: Flask, admin: Member, visitor: Visitor) -> None:
    """Maintenance refuses orders with the operator's words until it is cleared; twice does no harm; each is logged."""
    words_of_operator = "We are back at noon."
    for _time in range(2):
        answer = admin.post("/admin/ui/flags/maintenance", data={"value": words_of_operator})
        assert answer.status_code == 303
        refused = visitor.order()
        assert (refused.status_code, refused.get_json()["detail"]) == (503, words_of_operator)
    assert words_of_operator in admin.get("/admin/ui/flags").get_data(as_text=True)
    for _time in range(2):
        assert admin.post("/admin/ui/flags/maintenance", data={"value": ""}).status_code == 303
        assert visitor.order().status_code == 202
    assert log_of(app) == [(ADMIN, "flag", "maintenance")] * 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("engine-gradio", "off"), ("sign-ups", "off"), ("gallery-approval", "on"), ("global-daily-limit", "5")],
)
def test_every_switch_has_its_form(app: Flask, admin: Member, name: str, value: str) -> None:
    """Each switch is set by the page's own form, shown as set with who did it, and cleared again."""
    before = admin.get("/admin/ui/flags").get_data(as_text=True)
    assert f'action="/admin/ui/flags/{name}"' in before
    assert admin.post(f"/admin/ui/flags/{name}", data={"value": value}).status_code == 303
    with app.app_context():
        assert flags.current().values == {name: value}
    assert f"Set by {ADMIN}" in admin.get("/admin/ui/flags").get_data(as_text=True)
    assert admin.post(f"/admin/ui/flags/{name}").status_code == 303
    with app.app_context():
        assert flags.current().values == {}
    assert [action for _who, action, _what in log_of(app)] == ["flag", "flag"]


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("sign-ups", "perhaps", 422), ("global-daily-limit", "-1", 422), ("maintenance", "x" * 501, 422),
     ("gravity", "off", 404)],
)  # fmt: skip
def test_a_switch_that_cannot_be_set_so(app: Flask, admin: Member, name: str, value: str, status: int) -> None:
    """A value that makes no sense, and a switch that is none, are refused, and nothing is logged."""
    assert admin.post(f"/admin/ui/flags/{name}", data={"value": value}).status_code == status
    assert log_of(app) == []


def test_an_engine_that_is_not_configured_has_no_switch(admin: Member) -> None:
    """The page offers the engines that are there."""
    page = admin.get("/admin/ui/flags").get_data(as_text=True)
    assert "Engine gradio" in page
    assert "Engine kie" not in page


# --- The queues ---


def fail_with_a_secret() -> None:
    """A job that fails and tells too much."""
    raise RuntimeError(f"refused with {TOKEN} at redis://user:geheimnis@host/0")


def test_a_failed_job_tells_why_without_secrets(app: Flask, admin: Member, visitor: Visitor) -> None:
    """The page shows what waits and what failed, with tracebacks from which the secrets are taken, and no arguments."""
    task_id = visitor.ordered()
    with app.app_context():
        queue = queueing.maintenance_queue()
        queue.enqueue_call(f"{__name__}.fail_with_a_secret", description="mail confirm", result_ttl=0)
        queue.enqueue_call("os.getcwd", args=("a-private-argument",), description="export part 3")
        SimpleWorker([queue], connection=runtime().redis).work(burst=True, max_jobs=1, logging_level="CRITICAL")
    page = admin.get("/admin/ui/queues").get_data(as_text=True)
    text = words(page)
    assert f"paint {task_id}" in text
    assert "waiting 1 begun 0 failed 1" in text
    assert "RuntimeError: refused with [masked] at redis://[masked]@host/0" in text
    assert "export part 3" in text
    for secret in (TOKEN, "geheimnis", "a-private-argument"):
        assert secret not in page


# --- Who may ---


@pytest.mark.parametrize("address", PAGES)
def test_the_desk_is_for_administrators(app: Flask, address: str) -> None:
    """A stranger is led to the sign-in, and a user who is no administrator is refused."""
    stranger = app.test_client().get(address)
    assert (stranger.status_code, stranger.location.split("?")[0]) == (303, "/auth/signin")
    assert member(app).get(address).status_code == 403


def test_a_stale_sign_in_may_look_but_turn_nothing(app: Flask, admin: Member, clock: FixedClock) -> None:
    """Ten minutes after the sign-in the pages still open, and every change asks for a fresh sign-in first."""
    task_id = admin.ordered()
    clock.advance(minutes=11)
    assert all(admin.get(address).status_code == 200 for address in PAGES)
    for address in ("flags/sign-ups", f"tasks/{task_id}/fail", f"tasks/{task_id}/look"):
        answer = admin.post(f"/admin/ui/{address}", data={"value": "off", "sheet": "photo"})
        assert answer.status_code in {303, 403}
        assert not answer.location or answer.location.startswith("/auth/signin")
    assert log_of(app) == []
    assert admin.poll(task_id)["status"] == "PENDING"


def test_the_books_are_right_after_everything(app: Flask, admin: Member) -> None:
    """After a failure, a refund and a retry of one user's orders every balance is the sum of its entries."""
    failed, painted = admin.ordered(), admin.ordered()
    paint(app, painted)
    for address in (f"{failed}/fail", f"{painted}/refund", f"{painted}/retry"):
        assert admin.post(f"/admin/ui/tasks/{address}").status_code == 303
    with app.app_context():
        assert credits.differences() == []
        assert credits.balance_of(admin.user_id).credits == 30
        assert overview.of_now().newest.refunded == 2
