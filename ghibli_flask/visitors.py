"""Who is asking: a guest by the signed cookie and the address, or a signed-in user. Called by the front doors.

Only pages and GET /api/csrf hand out the guest's cookie; a program without any cookie is counted by its address
alone. A user's session is Flask-Login's; what its cookie holds is a secret that `services.sessions` knows by its hash.
"""

from __future__ import annotations

import secrets

from flask import Flask, Request, Response, g, request, url_for
from flask import session as flask_session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from itsdangerous import BadSignature, URLSafeSerializer

from ghibli_flask.errors import Forbidden, FreshSignInNeeded, NotSignedIn, Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.services import sessions
from ghibli_flask.services.allowances import Guest, guest_of
from ghibli_flask.services.payers import Member, Payer
from ghibli_flask.services.sessions import SignedIn

ONE_YEAR_S = 365 * 24 * 3600
ID_BYTES = 16


class SessionUser(UserMixin):  # type: ignore[misc]
    """What Flask-Login holds for a request: the session's secret, and who it belongs to."""

    def __init__(self, secret: str, signed_in: SignedIn) -> None:
        self.secret = secret
        self.signed_in = signed_in

    def get_id(self) -> str:
        """What Flask-Login keeps in the signed cookie."""
        return self.secret


class CookieSessions(SecureCookieSessionInterface):
    """Flask's own sessions; a request without their cookie, such as most polls, does not pay for reading one."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session that the request brings, or an empty one."""
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)


def current_guest() -> Guest:
    """The guest of this request; raises nothing, a forged cookie counts as none."""
    return guest_of(_browser_id(), client_address())


def client_address() -> str:
    """Where the request comes from, with as many proxies believed as TRUSTED_PROXIES says."""
    return request.remote_addr or "unknown"


def signed_in() -> SignedIn | None:
    """Who is signed in, if anybody is."""
    return current_user.signed_in if isinstance(current_user._get_current_object(), SessionUser) else None


def signed_in_if_known() -> SignedIn | None:
    """Who is signed in, nobody while the database cannot tell: for the language and the frame of every page.

    An error page must not fail for the reason that it tells of.
    """
    if g.get("sessions_are_away"):
        return None
    try:
        return signed_in()
    except Unavailable:
        g.sessions_are_away = True
        return None


def current_payer() -> Payer:
    """Who owns and pays for what this request orders: the signed-in user, else the guest."""
    who = signed_in()
    return Member(who.user_id, current_guest(), who.is_blocked) if who else current_guest()


def require_user() -> SignedIn:
    """The signed-in user; raises NotSignedIn."""
    who = signed_in()
    if who is None:
        raise NotSignedIn
    return who


def require_fresh_user() -> SignedIn:
    """The signed-in user, if the sign-in is fresh; raises NotSignedIn and FreshSignInNeeded."""
    who = require_user()
    if not sessions.is_fresh(who):
        raise FreshSignInNeeded
    return who


def require_admin(*, fresh: bool = False) -> SignedIn:
    """The signed-in administrator; raises NotSignedIn, Forbidden and, when asked to be fresh, FreshSignInNeeded."""
    who = require_user()
    if not who.is_admin or who.is_blocked:
        raise Forbidden
    return require_fresh_user() if fresh else who


def begin_session(user_id: str) -> None:
    """Sign this browser in: everything kept before the sign-in is dropped, and the guest's pictures come along."""
    before = signed_in()
    secret = sessions.begin(user_id, request.user_agent.string, current_guest())
    if before:
        sessions.end(before.user_id, before.session_id)
    flask_session.clear()
    flask_session.permanent = True
    found = sessions.find(secret)
    assert found is not None
    login_user(SessionUser(secret, found))


def end_session() -> None:
    """Sign this browser out, here and in the database."""
    who = signed_in()
    if who:
        sessions.end(who.user_id, who.session_id)
    logout_user()
    flask_session.clear()


def safe_next() -> str:
    """Where a form wants to lead afterwards: a path of this site, never another site."""
    wished = request.values.get("next", "")
    # One slash and then no other: a path of ours. Browsers read a backslash as a slash, and ignore tabs and line ends.
    is_ours = wished.startswith("/") and not wished.startswith("//") and "\\" not in wished and wished.isprintable()
    return wished if is_ours else url_for("visitor.home")


def has_guest_cookie() -> bool:
    """Whether the request brought a guest cookie, forged or not."""
    return runtime().settings.guest_cookie in request.cookies


def greet() -> None:
    """Give this browser an id if it has none; the answer then carries the cookie."""
    if _browser_id() is None:
        g.new_browser_id = secrets.token_hex(ID_BYTES)


def install_visitors(app: Flask) -> None:
    """Let answers carry the cookie that `greet` decided on, and let Flask-Login find the signed-in user."""
    app.session_interface = CookieSessions()
    app.after_request(_hand_out_cookie)
    manager = LoginManager(app, add_context_processor=False)  # Templates get `who`, which asks once.
    manager.session_protection = None  # The session's row is the protection: it can be listed and ended.
    manager.user_loader(_load_user)


def _load_user(secret: str) -> SessionUser | None:
    found = sessions.find(secret)
    return SessionUser(secret, found) if found else None


def _browser_id() -> str | None:
    fresh: str | None = g.get("new_browser_id")
    if fresh:
        return fresh
    cookie = request.cookies.get(runtime().settings.guest_cookie)
    if not cookie:
        return None
    try:
        value = _serializer().loads(cookie)
    except BadSignature:
        return None
    return value if isinstance(value, str) else None


def _hand_out_cookie(response: Response) -> Response:
    fresh = g.get("new_browser_id")
    if fresh:
        response.set_cookie(
            runtime().settings.guest_cookie,
            _serializer().dumps(fresh),
            max_age=ONE_YEAR_S,
            httponly=True,
            samesite="Lax",
            secure=runtime().settings.is_production,
        )
    return response


def _serializer() -> URLSafeSerializer:
    """Signs with the newest key and accepts every configured one; itsdangerous wants the newest last."""
    return URLSafeSerializer(list(reversed(runtime().settings.signing_keys)), salt="guest")
