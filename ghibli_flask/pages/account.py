"""The account pages: balance and statement, profile, sessions, the download of everything, and deleting it all."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, send_file, url_for
from flask_babel import force_locale, format_date, gettext, ngettext
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.errors import AppError, FieldError, InvalidFields, NotFound, _
from ghibli_flask.extensions import runtime
from ghibli_flask.i18n import LOCALES, current, told
from ghibli_flask.services import accounts, credits, erasure, exports, sessions
from ghibli_flask.services.files import Leftover
from ghibli_flask.services.payers import Member
from ghibli_flask.services.sessions import SignedIn
from ghibli_flask.visitors import current_guest, end_session, require_fresh_user, require_user

account_pages = Blueprint("account", __name__, url_prefix="/account")


@account_pages.after_request
def keep_private(response: Response) -> Response:
    """No cache keeps a page of an account, so that it does not come back after signing out."""
    response.headers["Cache-Control"] = "no-store"
    return response


@account_pages.get("")
def account() -> AnyResponse:
    """The account at a glance."""
    return _account_page(require_user())


@account_pages.get("/credits")
def statement() -> str:
    """Every entry of the ledger, newest first, with a link to its picture while that is there."""
    who = require_user()
    lines = credits.lines(who.user_id, request.args.get("before", type=int), credits.PAGE + 1)
    shown = lines[: credits.PAGE]
    has_older = len(lines) > len(shown)
    return render_template(
        "account/credits.html",
        balance=credits.balance_of(who.user_id),
        entries=[_entry_of(line) for line in shown],
        older_url=url_for("account.statement", before=shown[-1].entry.id) if has_older else None,
    )


@account_pages.post("/profile")
def change_profile() -> AnyResponse:
    """Change name and language."""
    who = require_user()
    locale = request.form.get("locale") or None
    try:
        if locale is not None and locale not in LOCALES:
            raise InvalidFields(fields=(FieldError("locale", _("This language is not offered here.")),))
        accounts.update_profile(who.user_id, request.form.get("name", ""), locale)
    except AppError as error:
        return _account_page(who, error)
    with force_locale(locale or current()):  # The answer already speaks the language that was chosen.
        return _back(gettext("Your profile is saved."))


@account_pages.post("/password")
def change_password() -> AnyResponse:
    """Change the password, or set the first one of a Google account after a fresh sign-in."""
    who = require_user()
    if not accounts.find(who.user_id).user.password_hash:
        require_fresh_user()
    form = request.form
    try:
        accounts.change_password(who.user_id, form.get("old", ""), form.get("password", ""), who.session_id)
    except AppError as error:
        return _account_page(who, error)
    return _back(gettext("Your new password is set. Other browsers were signed out."))


@account_pages.post("/sessions/<public_id>/end")
def end_one_session(public_id: str) -> AnyResponse:
    """Sign one browser out."""
    if not sessions.end(require_user().user_id, public_id):
        raise NotFound
    return _back(gettext("That browser is signed out."))


@account_pages.post("/sessions/end-all")
def end_all_sessions() -> AnyResponse:
    """Sign out everywhere, here too."""
    sessions.end_all(require_user().user_id)
    end_session()
    return _back(gettext("You are signed out everywhere."))


@account_pages.post("/export")
def start_export() -> AnyResponse:
    """Have everything packed; a second click finds the first one running."""
    who = require_user()
    try:
        exports.start(who.user_id)
    except AppError as error:
        return _account_page(who, error)
    return _back(gettext("We are packing your pictures. The download shows up here when it is ready."))


@account_pages.get("/export")
def download_export() -> Response:
    """The finished zip, to its owner alone."""
    zipped = exports.ready(require_user().user_id)
    return send_file(zipped.path, "application/zip", as_attachment=True, download_name=zipped.name)


@account_pages.get("/delete")
def ask_to_delete() -> AnyResponse:
    """What deleting means, and the question for the password; without a password, a fresh sign-in is asked for."""
    return _delete_page(require_user())


@account_pages.post("/delete")
def delete() -> AnyResponse:
    """Delete the account and everything that belongs to it."""
    who = require_user()
    try:
        found = accounts.find(who.user_id)
        if found.user.password_hash:
            accounts.check_password(found, request.form.get("password", ""), "password")
        else:
            require_fresh_user()
        leftovers = erasure.erase(Member(who.user_id, current_guest()))
    except InvalidFields as error:
        return _delete_page(who, error)
    end_session()
    flash(gettext("Your account and everything in it is deleted. Thank you for having been here."))
    if leftovers:
        flash(_words_on(leftovers))
    return redirect(url_for("visitor.home"), code=303)


def _words_on(leftovers: list[Leftover]) -> str:
    """What could not be deleted at once, and until when it stays."""
    last = max(leftover.expires_at for leftover in leftovers)
    day = format_date(last, gettext("d MMMM yyyy"))
    words: str = ngettext(
        "One of your pictures lies with ImgBB, which cannot delete on request. It goes by itself by %(date)s.",
        "%(num)s of your pictures lie with ImgBB, which cannot delete on request. They go by themselves by %(date)s.",
        len(leftovers),
        date=day,
    )
    return words


def _account_page(who: SignedIn, error: AppError | None = None) -> AnyResponse:
    found = accounts.find(who.user_id)
    return _page(
        "account/account.html",
        error,
        account=found,
        balance=credits.balance_of(who.user_id),
        sessions=[
            {
                "public_id": kept.public_id,
                "user_agent": kept.user_agent,
                "created_at": kept.created_at,
                "last_seen_at": kept.last_seen_at,
                "is_this": kept.public_id == who.session_id,
            }
            for kept in sessions.of_user(who.user_id)
        ],
        has_password=found.user.password_hash is not None,
        google_linked=found.profile.google_sub is not None,
        google=runtime().settings.google_is_configured,
        export=exports.of_user(who.user_id),
        locales=list(LOCALES),
    )


def _delete_page(who: SignedIn, error: AppError | None = None) -> AnyResponse:
    found = accounts.find(who.user_id)
    if not found.user.password_hash:
        require_fresh_user()
    return _page("account/delete.html", error, account=found, has_password=found.user.password_hash is not None)


def _page(template: str, error: AppError | None, **context: Any) -> AnyResponse:
    shown = told(error) if error else None
    response = make_response(render_template(template, error=shown, **context), error.status if error else 200)
    if error and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _back(message: str) -> AnyResponse:
    flash(message)
    return redirect(url_for("account.account"), code=303)


def _entry_of(line: credits.Line) -> dict[str, Any]:
    entry = line.entry
    return {
        "amount": entry.amount,
        "kind": entry.kind,
        "reason": entry.reason,
        "task_url": url_for("visitor.task", task_id=line.picture) if line.has_picture else None,
        "created_at": entry.created_at,
    }
