"""The administrators' pages about orders: the list with its filters, one order, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, send_file, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.admin.door import administrators_only
from ghibli_flask.errors import TASK_FAILURES, FieldError, InvalidFields, NotFound, WrongState, _
from ghibli_flask.models.task import ImageTask
from ghibli_flask.services import order_desk
from ghibli_flask.services.order_desk import Filters, OwnerKind, Page, Sheet
from ghibli_flask.settings import ALL_ENGINES
from ghibli_flask.storage import content_type
from ghibli_flask.styles import STYLES
from ghibli_flask.task_states import TaskState
from ghibli_flask.visitors import require_admin

order_pages = Blueprint("order_pages", __name__, url_prefix="/admin")
order_pages.before_request(administrators_only)

FILTERS = ("state", "engine", "style", "owner", "reason", "since", "user", "id")


@dataclass(frozen=True)
class Deed:
    """What can be done to an order: when, how it is asked, what the button says, and what is said afterwards."""

    may: Callable[[ImageTask], bool]
    do: Callable[[str, str], ImageTask]
    question: str
    consequence: str
    button: str
    done: str
    refused: str


DEEDS: dict[str, Deed] = {
    "fail": Deed(
        order_desk.may_fail,
        order_desk.fail,
        _("Fail this order?"),
        _("It ends at once, a painting in hand is thrown away, and its price goes back to whoever paid it."),
        _("Fail it"),
        _("The order has failed, and its price is given back."),
        order_desk.HAS_ENDED,
    ),
    "retry": Deed(
        order_desk.may_retry,
        order_desk.retry,
        _("Paint this order again?"),
        _("A new order with the same photo and wishes goes to the same owner, free of charge. It can be done once."),
        _("Paint it again"),
        _("It is painted again: this is the new order."),
        order_desk.HAS_NOT_ENDED,
    ),
    "refund": Deed(
        order_desk.may_refund,
        order_desk.refund,
        _("Give its price back?"),
        _("Whoever paid gets one picture back, and keeps this one if it was painted. It can be done once."),
        _("Give it back"),
        _("The price is given back."),
        order_desk.NOTHING_TO_GIVE_BACK,
    ),
}


@order_pages.get("/ui/tasks")
def orders() -> str:
    """The newest orders that fit the filters."""
    asked = {name: request.args.get(name, "").strip() for name in FILTERS}
    before = request.args.get("before", type=int)
    searched, filters = asked["id"], _filters(asked)
    found = Page(order_desk.by_id(searched), None, None) if searched else order_desk.page(filters, before)
    kept: dict[str, Any] = {name: value for name, value in asked.items() if value}
    return render_template(
        "admin/orders.html",
        found=found,
        asked=asked,
        kept=kept,
        older=url_for("order_pages.orders", before=found.older, **kept) if found.older else None,
        is_first=before is None,
        states=[state.value for state in TaskState],
        engines=[(name, name) for name in ALL_ENGINES],
        styles={key: gettext(style.name) for key, style in STYLES.items()},
        reasons={code: gettext(words) for code, words in TASK_FAILURES.items()},
    )


@order_pages.get("/ui/tasks/<task_id>")
def order(task_id: str) -> str:
    """One order, with everything that is known of it but its pictures."""
    task = order_desk.find(task_id)
    before, after = order_desk.tries_of(task)
    return render_template(
        "admin/order.html",
        task=task,
        before=before,
        after=after,
        deeds={
            name: gettext(deed.button) for name, deed in DEEDS.items() if deed.may(task) and not _is_done(name, after)
        },
        reason=gettext(TASK_FAILURES.get(task.error_code, TASK_FAILURES["internal"])) if task.error_code else None,
    )


@order_pages.get("/ui/tasks/<task_id>/<deed>")
def ask(task_id: str, deed: str) -> str:
    """Ask once more before something is done to an order; raises WrongState when it cannot be done."""
    chosen, task = _deed(deed), order_desk.find(task_id)
    if not chosen.may(task):
        raise WrongState(chosen.refused)
    return render_template("admin/confirm.html", task=task, name=deed, deed=_told(chosen))


@order_pages.post("/ui/tasks/<task_id>/<deed>")
def act(task_id: str, deed: str) -> AnyResponse:
    """Do it, and lead to the order, or to the new one."""
    chosen = _deed(deed)
    task = chosen.do(require_admin().email, task_id)
    flash(gettext(chosen.done))
    return redirect(url_for("order_pages.order", task_id=task.public_id), code=303)


@order_pages.post("/ui/tasks/<task_id>/look")
def look(task_id: str) -> Response:
    """Show a picture of a visitor's; that somebody looked is in the audit log."""
    try:
        sheet = Sheet(request.form.get("sheet", ""))
    except ValueError:
        raise NotFound from None
    file, data = order_desk.look_at(require_admin().email, task_id, sheet)
    response = send_file(BytesIO(data), mimetype=content_type(file.key))
    response.headers["Cache-Control"] = "no-store"
    return response


def _deed(name: str) -> Deed:
    if name not in DEEDS:
        raise NotFound
    return DEEDS[name]


def _is_done(name: str, after: ImageTask | None) -> bool:
    return name == "retry" and after is not None


def _told(deed: Deed) -> dict[str, str]:
    return {name: gettext(getattr(deed, name)) for name in ("question", "consequence", "button")}


def _filters(asked: Mapping[str, str]) -> Filters:
    """The filters of a query; raises InvalidFields for a word that is none."""
    try:
        return Filters(
            state=TaskState(asked["state"]) if asked["state"] else None,
            engine=asked["engine"] or None,
            style=asked["style"] or None,
            owner=OwnerKind(asked["owner"]) if asked["owner"] else None,
            reason=asked["reason"] or None,
            since=datetime.fromisoformat(asked["since"]).replace(tzinfo=UTC) if asked["since"] else None,
            user_id=asked["user"] or None,
        )
    except ValueError:
        raise InvalidFields(fields=(FieldError("filter", _("There is no such filter.")),)) from None
