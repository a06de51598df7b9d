"""What administrators do to people: only they, only freshly signed in, and never without an entry in the audit log."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask

from ghibli_flask.clock import FixedClock
from ghibli_flask.services import administration, credits
from tests.support.member import Member, member

ADMIN = "boss@example.org"


@pytest.fixture
def clock() -> FixedClock:
    """Noon of a summer day."""
    return FixedClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def app(app_factory: Callable[..., Flask], clock: FixedClock) -> Flask:
    """An application with one administrator."""
    return app_factory(clock=clock, admin_emails=(ADMIN,))


@pytest.fixture
def admin(app: Flask) -> Member:
    """The administrator, signed in."""
    return member(app, ADMIN)


@pytest.fixture
def ada(app: Flask) -> Member:
    """A user like any other."""
    return member(app)


def actions(app: Flask) -> list[tuple[str, str, str]]:
    """The audit log, oldest first: who, what, to whom."""
    with app.app_context():
        return [(entry.actor, entry.action, entry.subject) for entry in reversed(administration.audit())]


def test_a_confirmed_address_of_the_setting_makes_an_administrator(app: Flask, admin: Member, ada: Member) -> None:
    """ADMIN_EMAILS opens the desk to its owner at the sign-in, and to nobody else."""
    assert admin.get("/admin/").status_code == 200
    page = admin.get("/admin/ui/users").get_data(as_text=True)
    assert ADMIN in page
    assert ada.email in page
    assert ada.get("/admin/ui/users").status_code == 403


def test_an_address_taken_off_the_setting_is_no_administrator(app_factory: Callable[..., Flask], app: Flask) -> None:
    """The role goes with the next sign-in once the address is no longer listed."""
    member(app, ADMIN)
    assert member(app_factory(admin_emails=()), ADMIN).get("/admin/ui/users").status_code == 403


def test_a_blocked_user_is_out_at_once(app: Flask, admin: Member, ada: Member) -> None:
    """Blocking ends the sessions and refuses sign-in; letting in again opens the door; both are in the log."""
    answer = admin.post(f"/admin/ui/users/{ada.user_id}/block", data={"blocked": "1"})
    assert answer.status_code == 303
    assert ada.get("/account").status_code == 303
    refused = ada.post("/auth/signin", data={"email": ada.email, "password": ada.password})
    assert refused.status_code == 403
    admin.post(f"/admin/ui/users/{ada.user_id}/block", data={"blocked": "0"})
    ada.sign_in()
    assert ada.get("/account").status_code == 200
    assert actions(app) == [(ADMIN, "block", ada.user_id), (ADMIN, "unblock", ada.user_id)]


def test_a_balance_changes_with_a_reason(app: Flask, admin: Member, ada: Member) -> None:
    """A change is an entry like any other, with the reason in the user's statement, and stands in the log."""
    address = f"/admin/ui/users/{ada.user_id}/balance"
    assert admin.post(address, data={"amount": "5", "reason": "a picture went wrong"}).status_code == 303
    assert admin.post(address, data={"amount": "-10", "reason": "booked twice"}).status_code == 303
    with app.app_context():
        assert credits.balance_of(ada.user_id).credits == 25
        assert credits.differences() == []
    statement = ada.get("/account/credits").get_data(as_text=True)
    assert "a picture went wrong" in statement
    assert [action for _, action, _ in actions(app)] == ["adjust-balance", "adjust-balance"]
    assert "booked twice" in admin.get("/admin/ui/audit").get_data(as_text=True)


@pytest.mark.parametrize(
    ("amount", "reason", "status"),
    [("5", " ", 422), ("0", "why", 422), ("many", "why", 422), ("20000", "why", 422), ("-31", "why", 409)],
)
def test_a_change_that_cannot_be_is_refused(
    app: Flask, admin: Member, ada: Member, amount: str, reason: str, status: int
) -> None:
    """Without a reason, without an amount, or below zero nothing changes, and the log stays empty."""
    answer = admin.post(f"/admin/ui/users/{ada.user_id}/balance", data={"amount": amount, "reason": reason})
    assert answer.status_code == status
    assert actions(app) == []
    with app.app_context():
        assert credits.balance_of(ada.user_id).credits == 30


def test_a_stale_sign_in_may_look_but_not_touch(app: Flask, admin: Member, ada: Member, clock: FixedClock) -> None:
    """Ten minutes after the sign-in an administrator is asked to sign in again before anything changes."""
    clock.advance(minutes=11)
    assert admin.get(f"/admin/ui/users/{ada.user_id}").status_code == 200
    answer = admin.post(f"/admin/ui/users/{ada.user_id}/block", data={"blocked": "1"})
    assert answer.status_code in {303, 403}
    assert actions(app) == []
    assert ada.get("/account").status_code == 200


def test_an_unknown_user_is_not_found(admin: Member) -> None:
    """There is no page and no action for a user who does not exist."""
    assert admin.get("/admin/ui/users/nobody").status_code == 404
    assert admin.post("/admin/ui/users/nobody/block", data={"blocked": "1"}).status_code == 404


def test_the_list_is_searched_by_the_beginning_of_an_address(app: Flask, admin: Member, ada: Member) -> None:
    """A search shows who fits; its wildcards are letters like any other."""
    found = admin.get("/admin/ui/users?q=ada").get_data(as_text=True)
    assert ada.email in found
    assert f'">{ADMIN}<' not in found
    assert ada.email not in admin.get("/admin/ui/users?q=%25").get_data(as_text=True)
