"""A site on loopback in which every state of every page stands open at once, made over HTTP and by the services.

No worker runs in it: what happens to an order is done by hand, so that each state stays as it is while it is looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from flask import Flask
from PIL import Image
from playwright.sync_api import BrowserContext
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.serving import WSGIRequestHandler, make_server

from ghibli_flask import errors
from ghibli_flask.extensions import runtime
from ghibli_flask.factory import create_app
from ghibli_flask.services import accounts, credits, exports, flags, mail, moderation
from ghibli_flask.services.allowances import guest_of
from ghibli_flask.settings import Settings
from ghibli_flask.task_states import Outcome
from scripts.processes import LOOPBACK
from tests.conftest import close
from tests.support import runs
from tests.support.checkout import ROOT
from tests.support.member import PASSWORD, Member, member
from tests.support.ports import free_port
from tests.support.visitor import Visitor

ADMIN, ADA, BROKE, NEW = "admin@example.org", "ada@example.org", "empty@example.org", "new@example.org"
TASKS_OF_ADA = 26
"""More than one page of history holds."""
FREE_TRIES = 3
WORDS = "A harbour at dusk, paper lanterns, a boat coming in"

FAILURES: dict[int, Exception] = {
    401: errors.SignInRequired(),
    403: errors.Forbidden(),
    404: errors.NotFound(),
    405: MethodNotAllowed(["POST"]),
    410: errors.LinkExpired(),
    413: errors.TooLarge(max_mb=50),
    429: errors.TooManyRequests(retry_after=60),
    500: errors.AppError(),
    503: errors.Unavailable(),
}
"""What /failure/{status} raises: the error pages that a visitor may meet, each with the status that it carries."""


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep the list of requests out of the tests' output."""


class OpenSite:
    """The application and its server; `people` holds a browser for each sort of visitor, `ids` what they have."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        settings = Settings(
            _env_file=None,
            app_url=self.url,
            port=port,
            database_url=database_url,
            redis_url=redis_url,
            instance_dir=folder / "instance",
            gradio_url=f"http://{LOOPBACK}:1",  # Nobody listens there, and nobody asks.
            engine_order=("gradio", "openai"),
            openai_api_key="nobody-asks-with-this-key",
            google_client_id="nobody-signs-in-with-this-id",
            google_client_secret="nor-with-this-secret",
            admin_emails=(ADMIN,),
            guest_daily_limit=FREE_TRIES,
            guest_daily_limit_per_address=1000,
            orders_per_minute=0,
            progress_update_interval=200,
        )
        self.app: Flask = create_app(settings)
        self.app.add_url_rule("/failure/<int:status>", "failure", _fail)
        self._server = make_server(LOOPBACK, port, self.app, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.people: dict[str, Visitor] = {}
        self.ids: dict[str, str] = {}

    def start(self) -> None:
        """Make every state and begin to answer."""
        self._settle_in()
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, and give back what is held open."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        close(self.app)

    def lend_cookies(self, who: str, context: BrowserContext) -> None:
        """Make a browser this person's; one whom nobody knows stays a new visitor."""
        person = self.people.get(who)
        if person is None:
            return
        with self.app.app_context():
            names = (runtime().settings.guest_cookie, runtime().settings.session_cookie)
        cookies = [(name, person.client.get_cookie(name)) for name in names]
        context.add_cookies([{"name": name, "value": one.value, "url": self.url} for name, one in cookies if one])

    def speak(self, language: str) -> None:
        """Let everybody's account have this language; guests follow their browser."""
        with self.app.app_context():
            for person in self.people.values():
                if isinstance(person, Member):
                    accounts.choose_language(person.user_id, language)

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Take no orders for a while."""
        self._switch(flags.MAINTENANCE, "15:00")
        yield
        self._switch(flags.MAINTENANCE, None)

    @contextmanager
    def without_sign_ups(self) -> Iterator[None]:
        """Take no new accounts for a while."""
        self._switch(flags.SIGN_UPS, flags.OFF)
        yield
        self._switch(flags.SIGN_UPS, None)

    @contextmanager
    def with_bare_walls(self) -> Iterator[None]:
        """Have nothing hang in the gallery for a while."""
        ada, share_id = self.people["ada"], self.ids["share"]
        assert _patch(ada, share_id, inGallery=False) == 200
        yield
        assert _patch(ada, share_id, inGallery=True) == 200

    def paint(self, name: str, outcome: Outcome = Outcome.PAINTED, error_code: str | None = None) -> None:
        """Let the order of this name come to an end."""
        runs.paint(self.app, self.ids[name], outcome, error_code)

    def order(self, who: str, name: str, **fields: Any) -> str:
        """Order a picture for somebody, and keep its id under a name."""
        self.ids[name] = self.people[who].ordered(photograph(), **fields)
        return self.ids[name]

    def _switch(self, name: str, value: str | None) -> None:
        with self.app.app_context():
            flags.switch(name, value, by="test")

    def _settle_in(self) -> None:
        self.people["guest"], self.people["used up"] = Visitor(self.app), Visitor(self.app)
        self.people["ada"], self.people["admin"] = member(self.app, ADA), member(self.app, ADMIN)
        self.people["broke"] = member(self.app, BROKE)
        self._order_as_guests()
        self._order_as_ada()
        self._share()
        self._prepare_accounts()

    def _order_as_guests(self) -> None:
        self.order("guest", "waiting")
        self.order("guest", "painting")
        runs.claim(self.app, self.ids["painting"])
        self.order("guest", "stopped")
        assert self.people["guest"].post(f"/api/tasks/{self.ids['stopped']}/cancel").status_code == 200
        self.order("guest", "failed")
        self.paint("failed", Outcome.FAILED, "engine_unavailable")
        self.order("guest", "refused")
        self.paint("refused", Outcome.FAILED, "moderation")
        self.order("guest", "original")
        self.paint("original", Outcome.ORIGINAL, "quota")
        for _number in range(FREE_TRIES):
            self.people["used up"].ordered(photograph())

    def _order_as_ada(self) -> None:
        for number in range(TASKS_OF_ADA):
            name = f"of ada {number}"
            self.order("ada", name, style="night" if number % 2 else "golden")
            self.paint(name, *((Outcome.PAINTED, None) if number % 3 == 0 else (Outcome.FAILED, "internal")))
        self.order("ada", "wished for")
        self.paint("wished for", Outcome.ORIGINAL, "quota")
        assert self.people["ada"].post(f"/tasks/{self.ids['wished for']}/wish").status_code == 303
        self.order("ada", "done", prompt=WORDS)
        self.paint("done")

    def _share(self) -> None:
        body = {"taskId": self.ids["done"], "inGallery": True, "showPrompt": True, "showOriginal": True}
        self.ids["share"] = self.people["ada"].post("/api/share", json=body).get_json()["shareId"]
        with self.app.app_context():
            moderation.report(self.ids["share"], "other", guest_of("reporter", "192.0.2.9"))

    def _prepare_accounts(self) -> None:
        user_id = {name: one.user_id for name, one in self.people.items() if isinstance(one, Member)}
        self.ids |= {f"user {name}": one for name, one in user_id.items()}
        with self.app.app_context():
            left = credits.balance_of(user_id["broke"]).credits
            assert (
                self.people["admin"]
                .post(
                    f"/admin/ui/users/{user_id['broke']}/balance",
                    data={"amount": str(-left), "reason": "A test of zero"},
                )
                .location
            )
            exports.start(user_id["ada"])
            accounts.sign_up(NEW, PASSWORD, "Mei", "en", "192.0.2.7")
            new = accounts.find_by_email_key(accounts.email_key(NEW))
            assert new is not None
            self.ids["confirm"] = accounts.link_token(accounts.CONFIRM, new)
            ada = accounts.find(user_id["ada"])
            self.ids["reset"] = accounts.link_token(accounts.RESET, ada)
            self.ids["bind"] = accounts.link_token(accounts.BIND_GOOGLE, ada, "12345")
            mail.send(mail.Letter(NEW, "Please confirm your address", f"Hello Mei,\n\n{self.url}/auth/confirm/…\n"))


def photograph() -> bytes:
    """A real photograph, small enough to be painted by hand in no time, and a new one every time."""
    photograph.number += 1  # type: ignore[attr-defined]
    out = BytesIO()
    with Image.open(ROOT / "docs/photographs/china.jpg") as image:
        image.resize((640, 427)).save(out, "JPEG", comment=str(photograph.number))  # type: ignore[attr-defined]
    return out.getvalue()


photograph.number = 0  # type: ignore[attr-defined]


def _patch(person: Visitor, share_id: str, **changes: bool) -> int:
    headers = {"X-CSRFToken": person.token}
    return person.client.patch(f"/api/share/{share_id}", json=changes, headers=headers).status_code


def _fail(status: int) -> NoReturn:
    raise FAILURES[status]
