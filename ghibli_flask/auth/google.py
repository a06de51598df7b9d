"""Signing in with Google: the way there, the way back, and the pages beside it. The rules are `services.google`'s.

OpenID Connect by Authlib: authorization code with PKCE (S256), state and nonce; the ID token's signature, issuer,
audience, times and nonce are checked before a claim is believed.
"""

from __future__ import annotations

import logging
from typing import Any, cast
from urllib.parse import quote

from authlib.integrations.flask_client import OAuth, OAuthError
from flask import Blueprint, Flask, current_app, flash, make_response, redirect, render_template, request, url_for
from flask import session as browser_session
from flask_babel import gettext
from joserfc.errors import JoseError
from requests import RequestException
from werkzeug.wrappers import Response as AnyResponse

from ghibli_flask import errors
from ghibli_flask.auth.password import locale
from ghibli_flask.errors import AppError, GoogleAway, GoogleDenied, GoogleSignInFailed, NotFound
from ghibli_flask.extensions import runtime
from ghibli_flask.services import accounts
from ghibli_flask.services import google as google_accounts
from ghibli_flask.services.google import Identity
from ghibli_flask.services.sessions import SignedIn, is_fresh
from ghibli_flask.settings import Settings
from ghibli_flask.visitors import begin_session, client_address, greet, require_fresh_user, safe_next, signed_in

log = logging.getLogger(__name__)

google = Blueprint("google", __name__)

CALLBACK = "/api/auth/callback/google"
UNDER_WAY = "google_under_way"
STATE_PREFIX = "_state_google_"
# Seconds to connect, and between two bytes of an answer: a neighbour that is away holds up a request only so long.
TIMEOUT_S = (2, 4)

# What the error page can be asked to tell: refusals of this door, and the general ones that it passes on.
_REASONS: tuple[type[AppError], ...] = (
    GoogleSignInFailed,
    *GoogleSignInFailed.__subclasses__(),
    errors.Blocked,
    errors.FreshSignInNeeded,
    errors.SignUpsClosed,
    errors.TooManyRequests,
    errors.Unavailable,
)
REASONS = {reason.code: reason for reason in _REASONS}


def install_google(app: Flask, settings: Settings) -> None:
    """Give an application its OpenID client, if both settings are there; nothing is asked of Google yet."""
    # At DEBUG Authlib writes the verifier of PKCE into the log.
    logging.getLogger("authlib").setLevel(logging.INFO)
    oauth = OAuth(app)
    if settings.google_is_configured:
        oauth.register(
            "google",
            client_id=settings.google_client_id,
            client_secret=settings.google_client_secret,
            server_metadata_url=settings.google_metadata_url,
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "default_timeout": TIMEOUT_S,
            },
        )
    app.register_blueprint(google)


@google.get("/auth/google")
def begin() -> AnyResponse:
    """Send the visitor to Google; somebody signed in goes there to link the account or to prove who is there."""
    client, who, wished = _client(), signed_in(), safe_next()
    if who and not is_fresh(who) and not accounts.find(who.user_id).profile.google_sub:
        # Another way into an account is added only by somebody who has just proved to be its owner.
        return redirect(url_for("auth.sign_in", fresh=1, next=url_for("google.begin", next=wished)))
    _forget_attempts()
    try:
        answer: AnyResponse = client.authorize_redirect(redirect_address(), prompt="select_account")
    except RequestException as error:
        return _refuse(GoogleAway(), error)
    browser_session[UNDER_WAY] = {"next": wished, "session": who.session_id if who else None}
    answer.headers["Cache-Control"] = "no-store"
    return answer


@google.get(CALLBACK)
def come_back() -> AnyResponse:
    """Where Google sends the visitor back to: in, onwards, or to a page that says why not."""
    try:
        identity = _identity(_client())
        under_way, who = browser_session.pop(UNDER_WAY, {}), signed_in()
        if under_way.get("session") != (who.session_id if who else None):
            raise GoogleSignInFailed  # Somebody signed in or out in another window meanwhile.
        if who is None:
            return _sign_in(identity, under_way["next"])
        return _prove_or_link(identity, who, under_way["next"])
    except AppError as error:
        return _refuse(error)


@google.get("/auth/bind-google/<token>")
def bind(token: str) -> AnyResponse:
    """Ask for a click: programs that look into mails open links too, and must not use them up."""
    accounts.open_link(accounts.BIND_GOOGLE, token)
    return _page("auth/bind_google.html")


@google.post("/auth/bind-google/<token>")
def bind_now(token: str) -> AnyResponse:
    """Let the Google account open this one from now on, and sign in."""
    account = google_accounts.confirm_binding(token)
    begin_session(account.user.id)
    flash(gettext("Google opens your account from now on. Welcome back."))
    return redirect(url_for("visitor.home"), code=303)


@google.get("/auth/error")
def failed() -> AnyResponse:
    """Why a sign-in did not work, by the code in the address; nothing else of the address is shown."""
    error = REASONS.get(request.args.get("error", ""), GoogleSignInFailed)()
    shown = {"title": gettext(error.title), "detail": gettext(error.detail), "code": error.code}
    return _page("auth/error.html", error.status, error=shown, google=runtime().settings.google_is_configured)


def redirect_address() -> str:
    """The address that is registered at Google; it is compared there letter by letter, so it comes from APP_URL."""
    return runtime().settings.public_url + CALLBACK


def _client() -> Any:
    """The OpenID client; raises NotFound where Google is not configured."""
    if not runtime().settings.google_is_configured:
        raise NotFound
    return cast(OAuth, current_app.extensions["authlib.integrations.flask_client"]).create_client("google")


def _identity(client: Any) -> Identity:
    """Who came back, by a verified ID token; raises GoogleDenied, GoogleAway, GoogleUnverified, GoogleSignInFailed."""
    try:
        token = client.authorize_access_token()
    except OAuthError as error:
        # Only the short word is logged: a description may quote what was sent.
        log.info("a sign-in with Google ended with %s", quote(str(error.error)[:60]))
        raise (GoogleDenied if error.error == "access_denied" else GoogleSignInFailed) from None
    except JoseError as error:
        log.warning("an ID token was refused: %s", error.error)
        raise GoogleSignInFailed from None
    except RequestException as error:
        log.warning("Google did not answer: %s", type(error).__name__)
        raise GoogleAway from None
    if not token.get("userinfo"):
        raise GoogleSignInFailed
    return google_accounts.identity_of(token["userinfo"])


def _sign_in(identity: Identity, wished: str) -> AnyResponse:
    account = google_accounts.sign_in(identity, locale(), client_address())
    if account is None:
        return _page("auth/bind_google.html", email=identity.email, shows_mails=_shows_mails())
    begin_session(account.user.id)
    return redirect(wished, code=303)


def _prove_or_link(identity: Identity, who: SignedIn, wished: str) -> AnyResponse:
    """A user who came back is there for sure; one who has no Google account yet gets this one."""
    is_new = accounts.find(who.user_id).profile.google_sub is None
    if is_new:
        require_fresh_user()
    account = google_accounts.link(identity, who.user_id)
    begin_session(account.user.id)
    if is_new:
        flash(gettext("Google opens your account from now on."))
    return redirect(wished, code=303)


def _forget_attempts() -> None:
    """Only the last attempt counts: several would grow the cookie beyond what browsers keep."""
    for name in [name for name in browser_session if name.startswith(STATE_PREFIX)]:
        browser_session.pop(name)


def _refuse(error: AppError, cause: Exception | None = None) -> AnyResponse:
    """Go to the page that tells why, away from an address that holds a code."""
    if cause:
        log.warning("Google did not answer: %s", type(cause).__name__)
    code = error.code if error.code in REASONS else GoogleSignInFailed.code
    return redirect(url_for("google.failed", error=code), code=303)


def _shows_mails() -> bool:
    settings = runtime().settings
    return not settings.is_production and not settings.mail_url


def _page(template: str, status: int = 200, **context: Any) -> AnyResponse:
    greet()
    response = make_response(render_template(template, **context), status)
    response.headers["Cache-Control"] = "no-store"
    # The address of this page may be a secret link; no other page is told of it.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
