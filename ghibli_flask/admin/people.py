"""The administrators' pages about people: the list, one person with block and balance, and the audit log."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.admin.door import administrators_only
from ghibli_flask.errors import FieldError, InvalidFields, _
from ghibli_flask.services import administration
from ghibli_flask.visitors import require_admin

people = Blueprint("admin", __name__, url_prefix="/admin")


people.before_request(administrators_only)


@people.get("/ui/users")
def users() -> str:
    """Users by address."""
    search, after = request.args.get("q", "").strip(), request.args.get("after", "")
    found = administration.people(search, after)
    last = found[-1].email if len(found) == administration.PAGE else None
    return render_template("admin/users.html", people=found, search=search, after=last)


@people.get("/ui/users/<user_id>")
def user(user_id: str) -> str:
    """One user: balance, latest entries, and what can be done."""
    account, entries = administration.statement_of(user_id)
    return render_template("admin/user.html", account=account, entries=entries)


@people.post("/ui/users/<user_id>/block")
def block(user_id: str) -> AnyResponse:
    """Block a user, or let a blocked one in again."""
    who = require_admin()
    if request.form.get("blocked") == "1":
        administration.block(who.email, user_id)
        flash(gettext("This account is blocked and signed out everywhere."))
    else:
        administration.unblock(who.email, user_id)
        flash(gettext("This account can sign in again."))
    return redirect(url_for("admin.user", user_id=user_id), code=303)


@people.post("/ui/users/<user_id>/balance")
def balance(user_id: str) -> AnyResponse:
    """Change a balance with a reason."""
    try:
        amount = int(request.form.get("amount", ""))
    except ValueError:
        raise InvalidFields(fields=(FieldError("amount", _("Please give a whole number other than 0.")),)) from None
    administration.adjust_balance(require_admin().email, user_id, amount, request.form.get("reason", ""))
    flash(gettext("The balance is changed, and the reason stands in the statement."))
    return redirect(url_for("admin.user", user_id=user_id), code=303)


@people.get("/ui/audit")
def audit() -> str:
    """What administrators did, newest first."""
    before = request.args.get("before", type=int)
    entries = administration.audit(before)
    older = entries[-1].id if len(entries) == administration.PAGE else None
    return render_template("admin/audit.html", entries=entries, older=older)
