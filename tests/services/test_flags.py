"""The operator's switches and what they do to orders."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO

import pytest
from flask import Flask
from sqlalchemy import func, select

from ghibli_flask.clock import FixedClock
from ghibli_flask.database import reading
from ghibli_flask.errors import InvalidFields, SignUpsClosed
from ghibli_flask.models import AuditEntry, User
from ghibli_flask.services import flags, google
from ghibli_flask.services.google import Identity
from tests.support.member import PASSWORD, member
from tests.support.runs import paint
from tests.support.visitor import Visitor, photo


def switch(app: Flask, name: str, value: str | None) -> None:
    """Set a flag as an operator would."""
    with app.app_context():
        flags.switch(name, value, by="operator")


def test_maintenance_takes_no_orders_and_says_why(app: Flask) -> None:
    """During maintenance an order is refused with the operator's own words, and those under way go on."""
    visitor = Visitor(app)
    before = visitor.ordered()
    switch(app, "maintenance", "We paint the walls, 100 % done by noon.")
    refused = visitor.order()
    assert (refused.status_code, refused.get_json()["code"]) == (503, "maintenance")
    assert refused.get_json()["detail"] == "We paint the walls, 100 % done by noon."
    assert refused.headers["Retry-After"]
    paint(app, before)
    assert visitor.poll(before)["status"] == "SUCCESS"
    switch(app, "maintenance", "")
    assert visitor.order().status_code == 202


def test_the_form_without_scripts_says_it_too(app: Flask) -> None:
    """The page's own form shows the operator's words."""
    visitor = Visitor(app)
    switch(app, "maintenance", "We paint the walls.")
    page = visitor.post("/paint", data={"csrf_token": visitor.token, "style": "ghibli"})
    assert page.status_code in {422, 503}
    with_photo = visitor.client.post(
        "/paint",
        data={"csrf_token": visitor.token, "style": "ghibli", "image": (BytesIO(photo()), "a.jpg")},
    )
    assert with_photo.status_code == 503
    assert "We paint the walls." in with_photo.text


def test_the_whole_site_has_a_limit_of_a_day(app_factory: Callable[..., Flask], clock: FixedClock) -> None:
    """GLOBAL_DAILY_LIMIT counts orders of everybody; a refusal charges nobody and names tomorrow; a repeat passes."""
    app = app_factory(clock=clock, global_daily_limit=2)
    first, second = Visitor(app, "192.0.2.1"), Visitor(app, "192.0.2.2")
    data = photo()
    assert first.order(data, headers={"Idempotency-Key": "once"}).status_code == 202
    assert second.order().status_code == 202
    refused = Visitor(app, "192.0.2.3").order()
    assert (refused.status_code, refused.get_json()["code"]) == (503, "site_limit")
    assert int(refused.headers["Retry-After"]) == pytest.approx(12 * 3600, abs=2)
    repeated = first.order(data, headers={"Idempotency-Key": "once"})
    assert (repeated.status_code, repeated.get_json()["duplicate"]) == (200, True)
    assert second.order().get_json()["code"] == "site_limit"
    clock.advance(hours=12)
    assert second.order().status_code == 202


def test_a_flag_replaces_the_limit(app: Flask) -> None:
    """The operator's limit counts in place of the setting's, from the next order on."""
    switch(app, "global-daily-limit", "0")
    assert Visitor(app).order().get_json()["code"] == "site_limit"
    switch(app, "global-daily-limit", None)
    assert Visitor(app).order().status_code == 202


def test_closed_sign_ups_take_nobody_new(app: Flask) -> None:
    """With sign-ups off no account is made, whoever asks; those who have one sign in, and on again all is as before."""
    known = member(app)
    switch(app, "sign-ups", "off")
    stranger = Visitor(app)
    page = stranger.get("/auth/signup")
    assert page.status_code == 200
    assert "New accounts are not taken in" in page.text
    assert 'name="password"' not in page.text
    for email in ("new@example.org", known.email):
        refused = stranger.post("/auth/signup", data={"email": email, "password": PASSWORD})
        assert (refused.status_code, "No new accounts for now" in refused.text) == (403, True)
    identity = Identity("google-sub", "new@example.org", is_authoritative=True, name="Ada")
    with app.app_context():
        with pytest.raises(SignUpsClosed):
            google.sign_in(identity, "en", "192.0.2.1")
        with reading() as session:
            assert session.scalar(select(func.count()).select_from(User)) == 1
    known.sign_in()
    switch(app, "sign-ups", None)
    assert stranger.post("/auth/signup", data={"email": "new@example.org", "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [("no-such", "on"), ("sign-ups", "maybe"), ("global-daily-limit", "-1"), ("maintenance", "x" * 501)],
)
def test_what_no_switch_can_be_set_to(app: Flask, name: str, value: str) -> None:
    """Unknown names and values are refused and change nothing."""
    with pytest.raises(InvalidFields):
        switch(app, name, value)
    with app.app_context():
        assert flags.current().values == {}


def test_every_switch_leaves_a_line_in_the_audit_log(app: Flask) -> None:
    """Setting and clearing are both remembered, with who did it."""
    switch(app, "sign-ups", "off")
    switch(app, "sign-ups", None)
    with app.app_context(), reading() as session:
        lines = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [(line.actor, line.subject, line.details["value"]) for line in lines] == [
        ("operator", "sign-ups", "off"),
        ("operator", "sign-ups", ""),
    ]


def test_the_command_line_lists_and_sets(app: Flask) -> None:
    """`flask flags` shows every switch, sets one, clears it, and refuses what there is not."""
    runner = app.test_cli_runner()
    assert runner.invoke(args=["flags", "set", "engine-gradio", "off"]).output == "engine-gradio is set to off.\n"
    listed = runner.invoke(args=["flags", "list"]).output
    assert all(name in listed for name in flags.NAMES)
    assert runner.invoke(args=["flags", "set", "engine-gradio"]).output == "engine-gradio is cleared.\n"
    assert runner.invoke(args=["flags", "set", "engine-nobody", "off"]).exit_code == 1


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))
