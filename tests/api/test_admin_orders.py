"""What operators do with orders, by page and by key: each once, each with its line in the audit log, nobody else."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading, transaction
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import administration, credits, order_desk
from ghibli_flask.task_states import Outcome
from tests.support.member import Member, member
from tests.support.runs import claim, paint, settle
from tests.support.visitor import Visitor, photo

ADMIN, KEY = "boss@example.org", "the operator's own long key 4711"
BY_KEY = {"X-API-Key": KEY}
SECRET_WORDS = "a harbour that nobody knows"


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """An application with one administrator and an operator's key."""
    return app_factory(clock=clock, admin_emails=(ADMIN,), admin_api_key=KEY, guest_daily_limit=100)


@pytest.fixture
def admin(app: Flask) -> Member:
    """The administrator, signed in."""
    return member(app, ADMIN)


@pytest.fixture
def ada(app: Flask) -> Member:
    """A user like any other, with the month's pictures."""
    return member(app)


def log_of(app: Flask) -> list[tuple[str, str, str]]:
    """The audit log, oldest first: who, what, to what."""
    with app.app_context():
        return [(entry.actor, entry.action, entry.subject) for entry in reversed(administration.audit())]


def balance(app: Flask, user: Member) -> int:
    """What a user has left; the ledger must agree."""
    with app.app_context():
        assert credits.differences() == []
        return credits.balance_of(user.user_id).credits


def by_key(client: FlaskClient, task_id: str, deed: str) -> int:
    """The status of one of the operator's calls."""
    return client.post(f"/admin/tasks/{task_id}/{deed}", headers=BY_KEY).status_code


# --- Failing ---


@pytest.mark.parametrize("is_running", [False, True], ids=["waiting", "running"])
def test_a_failed_order_is_given_back_once(app: Flask, admin: Member, ada: Member, is_running: bool) -> None:
    """Failing ends an order under way and returns its price; a second time is refused and leaves no line."""
    task_id = ada.ordered()
    run = claim(app, task_id) if is_running else None
    assert balance(app, ada) == 29
    answer = admin.post(f"/admin/ui/tasks/{task_id}/fail")
    assert (answer.status_code, answer.location) == (303, f"/admin/ui/tasks/{task_id}")
    told = ada.poll(task_id)
    assert (told["status"], told["code"], told["refunded"]) == ("FAILED", "stopped", True)
    assert balance(app, ada) == 30
    assert admin.post(f"/admin/ui/tasks/{task_id}/fail").status_code == 409
    assert run is None or settle(app, run, Outcome.PAINTED) is False
    assert balance(app, ada) == 30
    assert log_of(app) == [(ADMIN, "fail-order", task_id)]


# --- Giving back ---


def test_a_painted_order_is_given_back_once_and_kept(app: Flask, admin: Member, ada: Member) -> None:
    """A refund of a painted order returns its price once; the picture stays; the live status tells of it."""
    task_id = ada.ordered()
    assert admin.post(f"/admin/ui/tasks/{task_id}/refund").status_code == 409
    paint(app, task_id)
    assert admin.post(f"/admin/ui/tasks/{task_id}/refund").status_code == 303
    assert balance(app, ada) == 30
    assert ada.get(f"/api/image/{task_id}").status_code == 200
    assert admin.post(f"/admin/ui/tasks/{task_id}/refund").status_code == 409
    assert balance(app, ada) == 30
    assert log_of(app) == [(ADMIN, "refund-order", task_id)]


def test_what_was_given_back_at_its_end_is_not_given_back_again(app: Flask, client: FlaskClient, ada: Member) -> None:
    """A failed order's price came back with its failure, so there is nothing left to give back."""
    task_id = ada.ordered()
    paint(app, task_id, Outcome.FAILED, "engine_timeout")
    assert by_key(client, task_id, "refund") == 409
    assert (balance(app, ada), log_of(app)) == (30, [])


def test_a_guest_gets_the_try_back(app_factory: Callable[..., Flask], clock: FixedClock) -> None:
    """A refund of a guest's order gives the day's try back, so that one more order is taken."""
    app = app_factory(clock=clock, admin_api_key=KEY, guest_daily_limit=1)
    guest = Visitor(app)
    task_id = guest.ordered()
    paint(app, task_id)
    assert guest.order().status_code == 401
    assert by_key(app.test_client(), task_id, "refund") == 200
    assert guest.order().status_code == 202


# --- Painting again ---


def test_an_operators_retry_is_free_and_the_owners(app: Flask, admin: Member, ada: Member) -> None:
    """A retry is a new order of the same owner that nobody pays, also when it fails; it is made once."""
    task_id = ada.ordered(prompt=SECRET_WORDS)
    assert admin.post(f"/admin/ui/tasks/{task_id}/retry").status_code == 409
    paint(app, task_id)
    answer = admin.post(f"/admin/ui/tasks/{task_id}/retry")
    assert answer.status_code == 303
    new_id = answer.location.rsplit("/", 1)[1]
    assert new_id != task_id
    assert balance(app, ada) == 29
    assert [item["taskId"] for item in ada.get("/api/tasks").get_json()["items"]] == [new_id, task_id]
    paint(app, new_id, Outcome.FAILED, "engine_timeout")
    assert balance(app, ada) == 29
    assert admin.post(f"/admin/ui/tasks/{new_id}/refund").status_code == 409
    assert admin.post(f"/admin/ui/tasks/{task_id}/retry").status_code == 409
    assert admin.post(f"/admin/ui/tasks/{new_id}/retry").status_code == 303
    assert log_of(app) == [(ADMIN, "retry-order", task_id), (ADMIN, "retry-order", new_id)]


def test_a_retry_stays_made_when_its_key_is_forgotten(
    app: Flask, client: FlaskClient, ada: Member, clock: FixedClock
) -> None:
    """Two days later, when an Idempotency-Key is no longer remembered, the second retry is refused all the same."""
    task_id = ada.ordered()
    paint(app, task_id)
    assert by_key(client, task_id, "retry") == 202
    clock.advance(hours=48)
    assert by_key(client, task_id, "retry") == 409


def test_a_retry_needs_the_photo_and_the_order(app: Flask, client: FlaskClient, ada: Member) -> None:
    """Without the photograph a retry is refused as gone, and a deleted order is not there any more."""
    without_photo, deleted = ada.ordered(), ada.ordered()
    for task_id in (without_photo, deleted):
        paint(app, task_id)
    with app.app_context():
        gone = ImageTask.__table__.update().where(ImageTask.public_id == without_photo).values(source_key=None)
        transaction(lambda session: session.execute(gone))
    ada.delete(f"/api/tasks/{deleted}")
    assert by_key(client, without_photo, "retry") == 410
    assert by_key(client, deleted, "retry") == 404
    assert log_of(app) == []


# --- The pages ---


def test_each_action_is_asked_for_once_more(app: Flask, admin: Member, ada: Member) -> None:
    """The order's page offers only what can be done; each leads to a page that asks, and asking changes nothing."""
    task_id = ada.ordered()
    page = admin.get(f"/admin/ui/tasks/{task_id}").get_data(as_text=True)
    assert f"/admin/ui/tasks/{task_id}/fail" in page
    assert f"/admin/ui/tasks/{task_id}/refund" not in page
    assert "Fail this order?" in admin.get(f"/admin/ui/tasks/{task_id}/fail").get_data(as_text=True)
    assert admin.get(f"/admin/ui/tasks/{task_id}/refund").status_code == 409
    assert admin.get(f"/admin/ui/tasks/{task_id}/bury").status_code == 404
    assert admin.post(f"/admin/ui/tasks/{task_id}/bury").status_code == 404
    assert ada.poll(task_id)["status"] == "PENDING"
    paint(app, task_id)
    page = admin.get(f"/admin/ui/tasks/{task_id}").get_data(as_text=True)
    assert f"/admin/ui/tasks/{task_id}/refund" in page
    assert f"/admin/ui/tasks/{task_id}/retry" in page
    assert f"/admin/ui/tasks/{task_id}/fail" not in page


def test_a_picture_is_seen_by_an_entry_in_the_log_alone(app: Flask, admin: Member, ada: Member) -> None:
    """No page shows a visitor's picture; asking for result or photo gives it, uncached, and logs who looked."""
    task_id = ada.ordered()
    paint(app, task_id)
    for address in ("/admin/", "/admin/ui/tasks", f"/admin/ui/tasks/{task_id}"):
        page = admin.get(address).get_data(as_text=True)
        assert "<img" not in page
        assert "/api/image/" not in page
    for sheet in ("painting", "photo"):
        answer = admin.post(f"/admin/ui/tasks/{task_id}/look", data={"sheet": sheet})
        assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
        assert answer.headers["Cache-Control"] == "no-store"
    assert admin.post(f"/admin/ui/tasks/{task_id}/look", data={"sheet": "diary"}).status_code == 404
    ada.delete(f"/api/tasks/{task_id}")
    assert admin.post(f"/admin/ui/tasks/{task_id}/look", data={"sheet": "photo"}).status_code == 404
    assert log_of(app) == [(ADMIN, "look-at-painting", task_id), (ADMIN, "look-at-photo", task_id)]


def test_every_kind_of_entry_of_the_log_leads_somewhere(app: Flask, admin: Member, ada: Member) -> None:
    """The audit log shows orders, switches and pictures looked at with links that open."""
    task_id = ada.ordered()
    paint(app, task_id)
    admin.post(f"/admin/ui/tasks/{task_id}/look", data={"sheet": "photo"})
    admin.post(f"/admin/ui/tasks/{task_id}/retry")
    admin.post("/admin/ui/flags/sign-ups", data={"value": "off"})
    page = admin.get("/admin/ui/audit").get_data(as_text=True)
    assert page.count(f'href="/admin/ui/tasks/{task_id}"') == 2
    assert 'href="/admin/ui/flags#sign-ups"' in page


# --- Finding ---


@pytest.fixture
def assortment(app: Flask, ada: Member, clock: FixedClock) -> dict[str, str]:
    """Orders of all kinds by a name each; the failed one came an hour before the others."""
    found = {"failed": ada.ordered(style="night")}
    paint(app, found["failed"], Outcome.FAILED, "engine_timeout")
    clock.advance(hours=1)
    found |= {"painted": Visitor(app).ordered(), "waiting": ada.ordered(style="golden")}
    paint(app, found["painted"])
    program = app.test_client().post("/api/generate-image", data={"image": (BytesIO(photo()), "photo.jpg")})
    return found | {"nobody's": str(program.get_json()["taskId"])}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, {"failed", "painted", "waiting", "nobody's"}),
        ({"state": "queued"}, {"waiting", "nobody's"}),
        ({"engine": "gradio"}, {"failed", "painted"}),
        ({"style": "golden"}, {"waiting"}),
        ({"owner": "user"}, {"failed", "waiting"}),
        ({"owner": "guest"}, {"painted"}),
        ({"owner": "nobody"}, {"nobody's"}),
        ({"reason": "engine_timeout"}, {"failed"}),
        ({"since": "2026-07-02"}, set()),
        ({"state": "failed", "owner": "guest"}, set()),
    ],
)
def test_filters_find_what_fits(
    app: Flask, admin: Member, assortment: dict[str, str], query: dict[str, str], names: set[str]
) -> None:
    """Each filter, alone and together, gives the same orders on the page and by the operator's call."""
    wanted = {assortment[name] for name in names}
    lines = app.test_client().get("/admin/tasks", headers=BY_KEY, query_string=query).get_json()
    assert {line["taskId"] for line in lines} == wanted
    page = admin.get("/admin/ui/tasks", query_string=query).get_data(as_text=True)
    assert {task_id for task_id in assortment.values() if f"/admin/ui/tasks/{task_id}" in page} == wanted


def test_orders_are_found_by_id_user_and_moment(app: Flask, ada: Member, assortment: dict[str, str]) -> None:
    """The beginning of an id, an account, and a moment to the second find what they should and nothing else."""
    client, failed = app.test_client(), assortment["failed"]

    def ids(**query: str) -> set[str]:
        lines = client.get("/admin/tasks", headers=BY_KEY, query_string=query).get_json()
        return {line["taskId"] for line in lines}

    assert ids(id=failed[:8]) == {failed}
    assert ids(id=failed[:3]) == ids(id="____") == ids(id="zzzzzzzz") == set()
    assert ids(userId=ada.user_id) == {failed, assortment["waiting"]}
    assert ids(since="2026-07-01T12:30:00Z") == set(assortment.values()) - {failed}
    assert ids(since="2026-07-01T12:30:00") == set(assortment.values()) - {failed}


@pytest.mark.parametrize("query", [{"state": "lost"}, {"owner": "king"}, {"since": "yesterday"}], ids=str)
def test_a_filter_that_is_none_is_refused(admin: Member, client: FlaskClient, query: dict[str, str]) -> None:
    """A word that no filter knows is told as such, on the page and by the call."""
    assert admin.get("/admin/ui/tasks", query_string=query).status_code == 422
    assert client.get("/admin/tasks", headers=BY_KEY, query_string=query).status_code == 422


def test_pages_lead_through_all_orders(app: Flask, client: FlaskClient, ada: Member) -> None:
    """`Link` leads from the newest order to the oldest, each once, and the last page has no next one."""
    ordered = [ada.ordered() for _number in range(5)]
    seen, address = [], "/admin/tasks?limit=2"
    while address:
        answer = client.get(address, headers=BY_KEY)
        seen += [line["taskId"] for line in answer.get_json()]
        address = answer.headers.get("Link", "").partition(">")[0].lstrip("<")
    assert seen == ordered[::-1]


def test_a_look_is_bounded_and_can_go_on(
    app: Flask, admin: Member, ada: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rare filter looks at so many orders a page, says how far it got, and the next look finds what lies behind."""
    monkeypatch.setattr(order_desk, "SCANNED", 2)
    rare = ada.ordered(style="night")
    for _number in range(4):
        ada.ordered(style="golden")
    page = admin.get("/admin/ui/tasks?style=night").get_data(as_text=True)
    assert rare not in page
    assert "Look further back" in page
    client, seen, address = app.test_client(), [], "/admin/tasks?style=night"
    while address:
        answer = client.get(address, headers=BY_KEY)
        seen.append([line["taskId"] for line in answer.get_json()])
        address = answer.headers.get("Link", "").partition(">")[0].lstrip("<")
    assert seen == [[], [], [rare]]


def test_a_line_tells_what_the_row_says(app: Flask, client: FlaskClient, ada: Member, clock: FixedClock) -> None:
    """A line of the list has the shape of the contract, with the words of the Redis key."""
    task_id = ada.ordered(prompt=SECRET_WORDS, style="night")
    paint(app, task_id, Outcome.FAILED, "engine_timeout")
    answer = client.get("/admin/tasks", headers=BY_KEY)
    assert answer.headers["Cache-Control"] == "no-store"
    now = int(clock.now().timestamp() * 1000)
    expected = {
        "status": "failed", "startTime": now, "updatedAt": now, "progress": 0.0, "userId": f"user:{ada.user_id}",
        "prompt": SECRET_WORDS, "error": "engine_timeout", "engine": "gradio", "style": "night", "attempt": 1,
        "outcome": "failed", "charged": True, "refunded": True, "acceptedAt": "2026-07-01T12:00:00Z",
        "finishedAt": "2026-07-01T12:00:00Z", "note": None,
    }  # fmt: skip
    (line,) = answer.get_json()
    assert line["taskId"] == task_id
    assert line["status"].items() >= expected.items()


# --- Who may ---


def test_the_calls_are_for_the_key_alone(app_factory: Callable[..., Flask], app: Flask, admin: Member) -> None:
    """Without the key 401, with a wrong one too, for an administrator's browser too; without a configured key 404."""
    task_id = admin.ordered()
    calls = [
        ("GET", "/admin/tasks"),
        *(("POST", f"/admin/tasks/{task_id}/{deed}") for deed in ("fail", "retry", "refund")),
    ]
    for method, address in calls:
        stranger = app.test_client()
        assert stranger.open(address, method=method).status_code == 401
        assert stranger.open(address, method=method, headers={"X-API-Key": "wrong"}).status_code == 401
        assert admin.client.open(address, method=method, headers={"X-CSRFToken": admin.token}).status_code == 401
        keyless = app_factory(admin_api_key=None).test_client()
        assert keyless.open(address, method=method, headers=BY_KEY).status_code == 404
    assert log_of(app) == []


def test_what_the_key_did_is_logged_as_the_key(app: Flask, client: FlaskClient, ada: Member) -> None:
    """All three calls, each twice: the first answer is the order, the second 409, and the log names the key."""
    failing, painted = ada.ordered(), ada.ordered()
    paint(app, painted)
    assert [by_key(client, failing, "fail") for _try in range(2)] == [200, 409]
    assert [by_key(client, painted, "refund") for _try in range(2)] == [200, 409]
    assert [by_key(client, painted, "retry") for _try in range(2)] == [202, 409]
    assert log_of(app) == [
        ("key", "fail-order", failing), ("key", "refund-order", painted), ("key", "retry-order", painted),
    ]  # fmt: skip
    assert by_key(client, "nothing", "fail") == 404


def test_a_failing_that_meets_the_end_is_refused(app: Flask, ada: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the painting ends between the look and the deed, the deed is refused and leaves no line."""
    task_id = ada.ordered()
    with app.app_context():
        early = order_desk.find(task_id)
    paint(app, task_id)
    looks = iter([early])
    look = order_desk.find
    monkeypatch.setattr(order_desk, "find", lambda public_id: next(looks, None) or look(public_id))
    with app.app_context(), pytest.raises(order_desk.WrongState):
        order_desk.fail(ADMIN, task_id)
    assert log_of(app) == []
    assert balance(app, ada) == 29


def test_two_operators_at_once_make_one_retry(app: Flask, ada: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """When both have looked before either acts, the order's lock and key let one of them through."""
    task_id = ada.ordered()
    paint(app, task_id)
    monkeypatch.setattr(order_desk, "_repeat", lambda _session, _task: None)
    with app.app_context():
        order_desk.retry(ADMIN, task_id)
        with pytest.raises(order_desk.WrongState):
            order_desk.retry("another@example.org", task_id)
        with reading() as session:
            made = session.scalars(select(ImageTask).where(ImageTask.payer == "operator")).all()
    assert len(made) == 1
    assert [actor for actor, _action, _subject in log_of(app)] == [ADMIN]
