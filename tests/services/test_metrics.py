"""What is counted, how it outlives processes and outages, and what GET /metrics makes of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import RedisError

from ghibli_flask import metrics, queueing
from ghibli_flask.clock import FixedClock
from ghibli_flask.extensions import runtime
from ghibli_flask.metrics import LEVEL_CHECKS
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import figures, order_desk, repair, service_levels
from ghibli_flask.services.service_levels import ENOUGH_TO_JUDGE, LEVELS, Level
from ghibli_flask.task_states import Outcome
from scripts.processes import wait_until
from tests.support.redis_server import RedisServer
from tests.support.runs import paint
from tests.support.visitor import Visitor

KEY = "the-operators-key-for-these-tests-4711"
NOON = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def clock() -> FixedClock:
    """Half past twelve, until it is moved."""
    return FixedClock(NOON)


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """An application with an operator's key and a token of the Hub, and guests who may order often."""
    return app_factory(
        clock=clock,
        admin_api_key=KEY,
        hugging_face_tokens=("hf_abcdefghijklmnop1234",),
        guest_daily_limit=100,
        guest_daily_limit_per_address=100,
        orders_per_minute=0,
    )


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A browser with a guest cookie."""
    return Visitor(app)


def figures_of(text: str) -> Figures:
    """Every sample of an exposition, by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(app: Flask) -> Figures:
    """What a scrape of this application shows, with all that it has counted itself."""
    with app.app_context():
        metrics.send_counts()
    answer = app.test_client().get("/metrics", headers={"X-API-Key": KEY})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return figures_of(answer.get_data(as_text=True))


def figure(found: Figures, name: str, **labels: str) -> float | None:
    """One figure, None when it is not there."""
    return found.get((name, frozenset(labels.items())))


def level(app: Flask, key: str) -> Level:
    """One service level as it stands."""
    with app.app_context():
        return next(level for level in service_levels.current() if level.key == key)


# --- The route ---


def test_the_figures_are_for_the_operator(app: Flask) -> None:
    """GET /metrics opens to ADMIN_API_KEY as X-API-Key or bearer, in Prometheus' text format, and to nobody else."""
    client = app.test_client()
    for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
        answer = client.get("/metrics", headers=headers)
        assert answer.status_code == 200
        assert answer.content_type.startswith("text/plain; version=")
        assert answer.headers["Cache-Control"] == "no-store"
    for headers in ({}, {"X-API-Key": "guess"}, {"Authorization": "Bearer guess"}):
        answer = client.get("/metrics", headers=headers)
        assert answer.status_code == 401
        assert answer.content_type == "application/problem+json"


def test_without_a_key_nobody_sees_them(app_factory: Callable[..., Flask]) -> None:
    """An installation without ADMIN_API_KEY shows its figures to nobody, an empty key included."""
    client = app_factory().test_client()
    for headers in ({}, {"X-API-Key": ""}, {"Authorization": "Bearer "}):
        assert client.get("/metrics", headers=headers).status_code == 401


def test_guesses_are_limited(app: Flask) -> None:
    """The key cannot be guessed at: after twenty wrong ones in a minute the address has to wait."""
    client = app.test_client()
    statuses = [client.get("/metrics", headers={"X-API-Key": "guess"}).status_code for _ in range(21)]
    assert statuses == [401] * 20 + [429]


def test_no_token_is_shown(app: Flask) -> None:
    """A token of the Hub is named by its mask, with what it has left and its state."""
    text = app.test_client().get("/metrics", headers={"X-API-Key": KEY}).get_data(as_text=True)
    assert "hf_abcdefghijklmnop1234" not in text
    found = figures_of(text)
    token = {"number": "1", "token": "hf_…1234"}
    assert figure(found, "ghibli_token_seconds_left", **token) == 300
    assert figure(found, "ghibli_token_state", **token, state="available") == 1
    assert figure(found, "ghibli_token_state", **token, state="resting") == 0


# --- What is counted ---


def test_orders_are_counted_from_beginning_to_end(app: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """Accepted, ended by outcome and reason, refunded, and how long visitors waited: as it was, on both ways to end."""
    painted, failed, cancelled = (visitor.ordered(style="night") for _ in range(3))
    clock.advance(seconds=30)
    paint(app, painted)
    paint(app, failed, Outcome.FAILED, "engine_busy")
    visitor.post(f"/api/tasks/{cancelled}/cancel")
    late = visitor.ordered(style="night")
    clock.advance(seconds=1300)
    with app.app_context():
        assert repair.sweep().failed == 1, late
        order_desk.refund("operator", painted)
    found = scraped(app)
    assert figure(found, "ghibli_orders_accepted_total", mode="image-to-image", style="night") == 4
    ended = {"style": "night", "engine": "none"}
    for labels in (
        {**ended, "outcome": "painted", "reason": "none", "engine": "gradio"},
        {**ended, "outcome": "failed", "reason": "engine_busy", "engine": "gradio"},
        {**ended, "outcome": "failed", "reason": "too_late"},
        {**ended, "outcome": "cancelled", "reason": "none"},
    ):
        assert figure(found, "ghibli_orders_ended_total", **labels) == 1, labels
    assert figure(found, "ghibli_orders_refunded_total", outcome="failed") == 2
    assert figure(found, "ghibli_orders_refunded_total", outcome="cancelled") == 1
    assert figure(found, "ghibli_orders_refunded_total", outcome="painted") == 1
    whole = {"stage": "whole", "engine": "gradio"}
    assert figure(found, "ghibli_order_duration_seconds_sum", **whole) == 30
    assert figure(found, "ghibli_order_duration_seconds_count", **whole) == 1
    assert figure(found, "ghibli_order_duration_seconds_bucket", **whole, le="20.0") == 0
    assert figure(found, "ghibli_order_duration_seconds_bucket", **whole, le="40.0") == 1
    assert figure(found, "ghibli_storage_writes_total", store="local", result="kept") == 5


def test_what_waits_is_shown(app: Flask, visitor: Visitor, clock: FixedClock) -> None:
    """The queue, its oldest order, workers, engines that rest, the sweep's age and each part are read at the scrape."""
    first = visitor.ordered()
    clock.advance(seconds=45)
    visitor.ordered()
    with app.app_context():
        repair.sweep()
        queueing.tell_load("one", 8, 3, [1.0], ["gradio"])
        queueing.tell_load("two", 4, 1, [1.0])
    clock.advance(seconds=5)
    found = scraped(app)
    assert figure(found, "ghibli_queue_jobs", queue="paint") == 2, first
    assert figure(found, "ghibli_queue_jobs", queue="maintenance") == 0
    assert figure(found, "ghibli_orders_in_flight", state="queued") == 2
    assert figure(found, "ghibli_orders_in_flight", state="processing") == 0
    assert figure(found, "ghibli_queue_oldest_wait_seconds") == 50
    assert figure(found, "ghibli_workers") == 2
    assert figure(found, "ghibli_worker_slots") == 12
    assert figure(found, "ghibli_worker_busy_slots") == 4
    assert figure(found, "ghibli_engine_resting_workers", engine="gradio") == 1
    assert figure(found, "ghibli_engine_enabled", engine="gradio") == 1
    assert figure(found, "ghibli_sweep_age_seconds") == 5
    up = {part: figure(found, "ghibli_up", part=part) for part in ("database", "redis", "workers", "scheduler")}
    assert up == {"database": 1, "redis": 1, "workers": 1, "scheduler": 0}


def test_requests_are_counted_by_route(app: Flask, visitor: Visitor) -> None:
    """Labels are templates and classes: task ids, wrong addresses and strange methods make no series of their own."""
    task_id = visitor.ordered()
    for _ in range(3):
        visitor.poll(task_id)
    visitor.get(f"/api/image/{task_id}")
    visitor.get("/no/such/page")
    app.test_client().open("/no/such/other", method="BREW")
    found = scraped(app)
    name = "ghibli_http_request_duration_seconds_count"
    assert figure(found, name, method="GET", route="/api/poll-task", status="2xx") == 3
    assert figure(found, name, method="POST", route="/api/generate-image", status="2xx") == 1
    assert figure(found, name, method="GET", route="/api/image/<task_id>", status="4xx") == 1
    assert figure(found, name, method="GET", route="unmatched", status="4xx") == 1
    assert figure(found, name, method="other", route="unmatched", status="4xx") == 1
    assert not [labels for _name, labels in found if any(task_id in value for _label, value in labels)]


# --- How it is kept ---


def test_two_applications_are_one_installation(app: Flask, app_factory: Callable[..., Flask]) -> None:
    """What two processes counted is one figure, whichever is asked, and what they counted last is not lost."""
    other = app_factory(admin_api_key=KEY, gradio_url="http://127.0.0.1:1")
    for one in (app, other):
        for _ in range(5):
            one.test_client().get("/health")
        metrics.close_metrics(one)
    found = scraped(app)
    labels = {"method": "GET", "route": "/health", "status": "2xx"}
    assert figure(found, "ghibli_http_request_duration_seconds_count", **labels) == 10


def test_counts_are_sent_without_being_asked(app: Flask) -> None:
    """A second after something was counted Redis has it; nobody needs to ask, and no thread stays behind."""
    app.test_client().get("/health")
    with app.app_context():
        assert wait_until(lambda: bool(metrics.totals()), 5)


def test_an_outage_of_redis_costs_neither_time_nor_counts(app: Flask, redis_server: RedisServer) -> None:
    """With Redis away answers are given as ever, the scrape says that it is away, and the counts arrive later."""
    client = app.test_client()
    redis_server.stop()
    for _ in range(7):
        assert client.get("/health").status_code == 200
    found = scraped(app)
    assert figure(found, "ghibli_up", part="redis") == 0
    assert figure(found, "ghibli_up", part="database") == 1
    assert not [name for name, _labels in found if name.startswith("ghibli_http")]
    redis_server.start()
    assert wait_until(lambda: _is_back(app), 5)
    labels = {"method": "GET", "route": "/health", "status": "2xx"}
    assert figure(scraped(app), "ghibli_http_request_duration_seconds_count", **labels) == 7


def _is_back(app: Flask) -> bool:
    with app.app_context():
        try:
            return bool(runtime().redis.ping())
        except RedisError:
            return False


def test_a_batch_that_may_have_arrived_is_not_sent_twice(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the answer to a batch is lost, its counts stand once: what may have arrived is never sent again."""
    with app.app_context():
        tally = metrics._tally()
        write = tally._write

        def without_answer(counts: Any) -> None:
            write(counts)
            raise RedisError("the connection broke before the answer")

        monkeypatch.setattr(tally, "_write", without_answer)
        metrics.count(metrics.STORAGE_WRITES, "local", "kept")
        metrics.send_counts()
        monkeypatch.undo()
        metrics.send_counts()
        assert metrics.totals() == {("ghibli_storage_writes_total", "local", "kept"): 1}


def test_after_a_loss_counting_begins_again(app: Flask, redis_server: RedisServer) -> None:
    """A Redis that has forgotten everything shows counters from zero, which Prometheus takes for a restart."""
    client = app.test_client()
    client.get("/health")
    scraped(app)
    redis_server.empty()
    client.get("/health")
    labels = {"method": "GET", "route": "/health", "status": "2xx"}
    assert figure(scraped(app), "ghibli_http_request_duration_seconds_count", **labels) == 1


def test_what_an_earlier_release_counted_otherwise_is_left_out(app: Flask) -> None:
    """Keys of a metric that is no more, or that had other labels, break no scrape."""
    with app.app_context():
        metrics.count(metrics.STORAGE_WRITES, "local", "kept")
        metrics.count(metrics.STORAGE_WRITES, "local")
        metrics.count(metrics.Counter("ghibli_gone_total", "No more."))
        metrics.send_counts()
        found = figures_of(figures.exposition().decode())
    assert figure(found, "ghibli_storage_writes_total", store="local", result="kept") == 1
    assert not [name for name, _labels in found if "gone" in name]


# --- Service levels ---


def _check(app: Flask, key: str, met: int, missed: int) -> None:
    with app.app_context():
        for verdict, number in (("yes", met), ("no", missed)):
            for _ in range(number):
                metrics.count(LEVEL_CHECKS, key, verdict)
        metrics.send_counts()


def test_levels_are_met_missed_or_unknown(app: Flask) -> None:
    """A level is judged by its share of the last day's events, and not at all by too few of them."""
    _check(app, "api_answer", 99, 1)
    _check(app, "no_error", 98, 2)
    _check(app, "order_completed", ENOUGH_TO_JUDGE - 1, 0)
    shown = {key: level(app, key) for key in LEVELS}
    assert [shown[key].is_met for key in ("api_answer", "no_error", "order_completed", "upload_works")] == [
        True, False, None, None,
    ]  # fmt: skip
    assert (shown["api_answer"].goal, shown["api_answer"].shown) == ("99 %", "99 % (100)")
    assert shown["upload_works"].shown == "–"


def test_a_share_is_not_rounded_up(app: Flask) -> None:
    """98.96 % of 99 % is missed, and shown as 98.9 and not as 99."""
    _check(app, "no_error", 1904, 20)
    assert (level(app, "no_error").shown, level(app, "no_error").is_met) == ("98.9 % (1924)", False)


def test_levels_forget_what_is_a_day_old(app: Flask, clock: FixedClock) -> None:
    """What happened counts for a day and no longer, whatever the counters of Prometheus keep."""
    _check(app, "no_error", 0, 100)
    clock.advance(hours=23)
    assert level(app, "no_error").is_met is False
    _check(app, "no_error", 50, 0)
    assert level(app, "no_error").shown == "33.3 % (150)"
    clock.advance(hours=1)
    assert (level(app, "no_error").shown, level(app, "no_error").is_met) == ("100 % (50)", True)


def test_levels_are_unknown_without_redis(app: Flask, redis_server: RedisServer) -> None:
    """With Redis away every level is unknown, and asking fails nobody."""
    _check(app, "no_error", 50, 0)
    redis_server.stop()
    with app.app_context():
        assert {level.is_met for level in service_levels.current()} == {None}


def _checks(app: Flask) -> dict[tuple[str, ...], float]:
    with app.app_context():
        metrics.send_counts()
        return metrics.lately(LEVEL_CHECKS)


IN_TIME, LATE = ("order_accepted", "yes"), ("order_accepted", "no")
FINE, BROKEN = ("no_error", "yes"), ("no_error", "no")
UPLOADED, NOT_UPLOADED = ("upload_works", "yes"), ("upload_works", "no")
ANSWERS: tuple[tuple[tuple[str, str, int, float], set[tuple[str, str]]], ...] = (
    (("/api/poll-task", "GET", 200, 0.1), {FINE, ("api_answer", "yes")}),
    (("/api/poll-task", "GET", 404, 1.2), {FINE, ("api_answer", "no")}),
    (("/api/generate-image", "POST", 202, 4.9), {FINE, IN_TIME, UPLOADED}),
    (("/paint", "POST", 303, 5.1), {FINE, LATE, UPLOADED}),
    (("/api/generate-image", "POST", 402, 0.1), {FINE}),
    (("/api/upload-image", "POST", 503, 0.1), {BROKEN, NOT_UPLOADED}),
    (("/api/upload-image", "POST", 415, 0.1), {FINE}),
    (("/gallery", "GET", 500, 0.1), {BROKEN}),
    (("/api/health", "GET", 503, 3.0), set()),
    (("/metrics", "GET", 200, 3.0), set()),
)


def test_an_answer_is_judged_by_its_own_levels(app: Flask, redis_server: RedisServer) -> None:
    """Each kind of answer counts for the levels that speak of it, on the right side."""
    for answered, expected in ANSWERS:
        with app.app_context():
            service_levels.answered(*answered)
        assert set(_checks(app)) == expected, answered
        redis_server.empty()


IN_4_MINUTES, NOT_IN_4_MINUTES = ("picture_in_time", "yes"), ("picture_in_time", "no")
COMPLETED, NOT_COMPLETED = ("order_completed", "yes"), ("order_completed", "no")
ENDINGS: tuple[tuple[int, Outcome, str | None, set[tuple[str, str]]], ...] = (
    (239, Outcome.PAINTED, None, {COMPLETED, IN_4_MINUTES}),
    (241, Outcome.PAINTED, None, {COMPLETED, NOT_IN_4_MINUTES}),
    (10, Outcome.ORIGINAL, "quota", {NOT_COMPLETED}),
    (10, Outcome.FAILED, "internal", {NOT_COMPLETED}),
    (10, Outcome.FAILED, "moderation", set()),
    (10, Outcome.CANCELLED, None, set()),
)


def test_an_ending_is_judged_by_what_the_visitor_got(app: Flask) -> None:
    """A painting counts, in time or late; an original or a failure counts against us; a visitor's own stop does not."""
    for seconds, outcome, reason, expected in ENDINGS:
        accepted, finished = NOON, NOON + timedelta(seconds=seconds)
        task = ImageTask(outcome=outcome.value, error_code=reason, created_at=accepted, finished_at=finished)
        before = _checks(app)
        with app.app_context():
            service_levels.ended(task)
        after = _checks(app)
        assert {key for key in after if after[key] > before.get(key, 0)} == expected, (outcome, reason)


def test_the_judged_routes_are_there(app: Flask) -> None:
    """Every route that a level names is one of the application's."""
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert rules >= service_levels.ORDER_RULES | service_levels.UPLOAD_RULES | service_levels.UNJUDGED_RULES
