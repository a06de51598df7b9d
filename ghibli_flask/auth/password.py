"""Signing up, in and out with an address and a password, and the links that come by mail."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_babel import get_locale, gettext
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask.errors import AppError, NotFound, SignUpsClosed, TooManyRequests, WrongCredentials
from ghibli_flask.extensions import runtime
from ghibli_flask.i18n import told
from ghibli_flask.services import accounts, flags, mail
from ghibli_flask.visitors import begin_session, client_address, end_session, greet, safe_next, signed_in

passwords = Blueprint("auth", __name__, url_prefix="/auth")


@passwords.before_request
def welcome() -> None:
    """A browser gets its guest cookie here too, so that its forms carry a token."""
    if request.method == "GET":
        greet()


@passwords.get("/signin")
def sign_in() -> AnyResponse:
    """The form to sign in, or onwards when somebody is signed in already."""
    if signed_in() and not request.args.get("fresh"):
        return redirect(safe_next())
    return _page("auth/signin.html")


@passwords.post("/signin")
def sign_in_now() -> AnyResponse:
    """Sign in, and on to where the visitor came from."""
    form = request.form
    try:
        account = accounts.sign_in(form.get("email", ""), form.get("password", ""), client_address())
    except AppError as error:
        return _page("auth/signin.html", error)
    begin_session(account.user.id)
    return redirect(safe_next(), code=303)


@passwords.get("/signup")
def sign_up() -> AnyResponse:
    """The form to make an account."""
    if signed_in():
        return redirect(safe_next())
    return _page("auth/signup.html", closed=not flags.current().takes_sign_ups)


@passwords.post("/signup")
def sign_up_now() -> AnyResponse:
    """Prepare the account; the answer is the same whether or not there was one."""
    form = request.form
    try:
        accounts.sign_up(
            form.get("email", ""), form.get("password", ""), form.get("name", ""), locale(), client_address()
        )
    except AppError as error:
        return _page("auth/signup.html", error, closed=isinstance(error, SignUpsClosed))
    return _page("auth/check_mail.html", email=form.get("email", ""))


@passwords.post("/signout")
def sign_out() -> AnyResponse:
    """Sign this browser out."""
    end_session()
    return redirect(url_for("visitor.home"), code=303)


@passwords.get("/forgot")
def forgot() -> AnyResponse:
    """The form to ask for a new password."""
    return _page("auth/forgot.html")


@passwords.post("/forgot")
def forgot_now() -> AnyResponse:
    """Have a link sent; the answer is the same whether or not there is an account."""
    try:
        accounts.ask_for_reset(request.form.get("email", ""), locale(), client_address())
    except AppError as error:
        return _page("auth/forgot.html", error)
    return _page("auth/check_mail.html", email=request.form.get("email", ""))


@passwords.get("/confirm/<token>")
def confirm(token: str) -> AnyResponse:
    """Ask for a click: programs that look into mails open links too, and must not use them up."""
    account, _argument = accounts.open_link(accounts.CONFIRM, token)
    return _page("auth/confirm.html", email=account.user.email)


@passwords.post("/confirm/<token>")
def confirm_now(token: str) -> AnyResponse:
    """Confirm the address and sign in, with the password that was chosen: the link alone proves only the mailbox."""
    try:
        account = accounts.confirm(token, request.form.get("password", ""), client_address())
    except (WrongCredentials, TooManyRequests) as error:
        return _page("auth/confirm.html", error, email=accounts.open_link(accounts.CONFIRM, token)[0].user.email)
    begin_session(account.user.id)
    flash(gettext("Your address is confirmed. Welcome."))
    return redirect(url_for("visitor.home"), code=303)


@passwords.get("/reset/<token>")
def reset(token: str) -> AnyResponse:
    """The form for a new password."""
    account, _argument = accounts.open_link(accounts.RESET, token)
    return _page("auth/reset.html", email=account.user.email)


@passwords.post("/reset/<token>")
def reset_now(token: str) -> AnyResponse:
    """Set the new password and sign in; every other session has ended."""
    try:
        account = accounts.reset_password(token, request.form.get("password", ""))
    except AppError as error:
        if error.status != 422:
            raise
        return _page("auth/reset.html", error, email=accounts.open_link(accounts.RESET, token)[0].user.email)
    begin_session(account.user.id)
    flash(gettext("Your new password is set. You were signed out everywhere else."))
    return redirect(url_for("visitor.home"), code=303)


@passwords.get("/mails")
def development_mails() -> AnyResponse:
    """The mails that development kept instead of sending; there is no such page in production."""
    if runtime().settings.is_production or runtime().settings.mail_url:
        raise NotFound
    letters = [
        {"to": letter["To"], "subject": letter["Subject"], "text": letter.get_content(), "date": letter["Date"]}
        for letter in mail.kept()
    ]
    return _page("auth/mails.html", letters=letters)


def locale() -> str:
    """The language of this request."""
    return str(get_locale() or "en")


def _page(template: str, error: AppError | None = None, **context: Any) -> AnyResponse:
    """A page of this door: with its form's earlier values, and what was wrong if anything was."""
    shown = told(error) if error else None
    response = make_response(
        render_template(
            template,
            error=shown,
            form={"email": request.form.get("email", ""), "name": request.form.get("name", "")},
            next=request.values.get("next", ""),
            google=runtime().settings.google_is_configured,
            shows_mails=not runtime().settings.is_production and not runtime().settings.mail_url,
            **context,
        ),
        error.status if error else 200,
    )
    response.headers["Cache-Control"] = "no-store"
    # The address of this page may be a secret link; no other site is told of it. (Not "no-referrer": with that,
    # browsers send the page's own forms with `Origin: null`.)
    response.headers["Referrer-Policy"] = "same-origin"
    if error and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response
