"""An OpenID provider on loopback, and a visitor who comes to the site and goes to the provider and back."""

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import flask
import pytest
import requests
from flask import Flask
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from ghibli_flask import queueing
from ghibli_flask.services import mail
from jobs.worker import ApplicationWorker
from scripts.processes import LOOPBACK
from tests.support.visitor import Visitor

with warnings.catch_warnings():
    # The provider still uses a part of Authlib that warns of its own end.
    warnings.simplefilter("ignore")
    import authlib.deprecate

    warnings.filterwarnings("ignore", category=authlib.deprecate.AuthlibDeprecationWarning)
    import oidc_provider_mock

Claims = dict[str, Any]
SECRET = "the-client-secret-of-the-tests"
CLIENT_ID = "the-client-id-of-the-tests"


class Provider:
    """A real OpenID provider. It keeps what was sent to its token endpoint, and can be told to sign other claims."""

    def __init__(self) -> None:
        app = oidc_provider_mock.app(issue_refresh_token=False)
        app.before_request(self._keep_request)
        app.after_request(self._alter_token)
        # 127.0.0.1 and not "localhost": the state cookie and every address in the tests name the same host.
        self._server = make_server(LOOPBACK, 0, app, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"
        self.metadata_url = f"{self.url}/.well-known/openid-configuration"
        self.token_requests: list[dict[str, str]] = []
        self.alter: Callable[[Claims], Claims] | None = None
        self.key: RSAKey | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering; harmless the second time."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def has(self, sub: str, **claims: Any) -> None:
        """Enter an account, or give one that is there new claims."""
        answer = requests.put(f"{self.url}/users/{quote(sub)}", json=claims, timeout=5)
        assert answer.status_code == 204, answer.text

    def agree(self, address: str, sub: str) -> str:
        """Agree as this account on the provider's page; gives the address that the visitor is sent back to."""
        answer = requests.post(address, data={"sub": sub}, allow_redirects=False, timeout=5)
        assert answer.is_redirect, answer.text
        return answer.headers["Location"]

    def deny(self, address: str) -> str:
        """Press "deny" on the provider's page; gives the address that the visitor is sent back to."""
        answer = requests.post(address, data={"action": "deny"}, allow_redirects=False, timeout=5)
        assert answer.is_redirect, answer.text
        return answer.headers["Location"]

    def _keep_request(self) -> None:
        if flask.request.path == "/oauth2/token":
            self.token_requests.append(flask.request.form.to_dict())

    def _alter_token(self, response: flask.Response) -> flask.Response:
        """Sign the ID token anew with altered claims, by the provider's own key or by `key`."""
        if flask.request.path != "/oauth2/token" or self.alter is None or not response.is_json:
            return response
        answer = response.get_json()
        own = RSAKey.import_key(flask.g.oidc_provider_mock_storage.jwk.as_dict(is_private=True))
        token = jwt.decode(answer["id_token"], own, algorithms=["RS256"])
        header = {"alg": "RS256", "kid": token.header.get("kid", own.kid)}
        answer["id_token"] = jwt.encode(header, self.alter(dict(token.claims)), self.key or own, algorithms=["RS256"])
        response.set_data(flask.json.dumps(answer))
        return response


class Traveller(Visitor):
    """A visitor who signs in with Google."""

    def __init__(self, app: Flask, provider: Provider, address: str = "192.0.2.1") -> None:
        super().__init__(app, address)
        self.provider = provider

    def leave(self, wished: str | None = None) -> str:
        """Go to /auth/google; gives the provider's address that the site sends to."""
        answer = self.get("/auth/google" + (f"?next={quote(wished)}" if wished else ""))
        assert answer.status_code == 302, answer.get_data(as_text=True)
        return str(answer.location)

    def come_back(self, address: str) -> TestResponse:
        """Follow the provider's redirect to the site; gives the site's answer."""
        parts = urlsplit(address)
        return self.get(f"{parts.path}?{parts.query}")

    def sign_in(self, sub: str, wished: str | None = None) -> TestResponse:
        """The whole road; gives the answer of the callback."""
        return self.come_back(self.provider.agree(self.leave(wished), sub))

    def refresh_token(self) -> None:
        """Ask for the token of the present session, as a new page does."""
        self.token = self.get("/api/csrf").get_json()["csrfToken"]


def query_of(address: str) -> dict[str, str]:
    """The fields of an address."""
    return dict(parse_qsl(urlsplit(address).query))


@pytest.fixture
def provider() -> Iterator[Provider]:
    """An OpenID provider that answers."""
    provider = Provider()
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def google_settings(provider: Provider) -> dict[str, Any]:
    """The settings of a site that signs in with this provider."""
    return {
        "google_client_id": CLIENT_ID,
        "google_client_secret": SECRET,
        "google_metadata_url": provider.metadata_url,
        "app_url": "http://localhost:3000",
    }


@pytest.fixture
def app(app_factory: Callable[..., Flask], google_settings: dict[str, Any]) -> Flask:
    """The application with Google configured."""
    return app_factory(**google_settings)


@pytest.fixture
def traveller(app: Flask, provider: Provider) -> Traveller:
    """A visitor who can go to the provider."""
    return Traveller(app, provider)


# --- The mails that development keeps ---


def deliver(app: Flask) -> None:
    """Let the maintenance worker write every mail that was asked for."""
    with app.app_context():
        queue = queueing.maintenance_queue()
    ApplicationWorker(app, queue, "tests-maintenance").work(burst=True, logging_level="WARNING")


def kept_mails(app: Flask) -> list[EmailMessage]:
    """What was written, newest first."""
    with app.app_context():
        return mail.kept()


def link_in(letter: EmailMessage) -> str:
    """The path of the link in a mail."""
    found = re.search(r"https?://\S+?(/auth/\w[\w-]*/\S+)", letter.get_content())
    assert found, letter.get_content()
    return found.group(1)
