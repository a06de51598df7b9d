"""Who may call what: one line for every route, and every caller tried on every line.

`yes` means that the call does what it is for; a number is the refusal; `signin` leads a person to the sign-in page.
A route that nobody has entered here fails the tests, and so does a line whose route is gone.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse

from ghibli_flask import queueing
from ghibli_flask.database import db
from ghibli_flask.extensions import runtime
from ghibli_flask.services import accounts, exports, sessions
from ghibli_flask.task_states import Outcome
from jobs.worker import ApplicationWorker
from tests.support.member import PASSWORD, confirmed_account, member
from tests.support.runs import paint
from tests.support.visitor import Visitor, photo

# nobody     a program without any cookie or key
# holder     another guest, who knows the task's id
# guest      the guest whose task it is
# owner      the signed-in user whose task, session or account it is
# other      another signed-in user
# admin      an administrator who has just signed in
# key        a program with ADMIN_API_KEY
# token      a program with API_TOKEN
# foreign    the first of these who may, from another site's page
# bare       the first of these who may and has a cookie, without the CSRF token
TABLE = """
route                                        nobody holder guest  owner  other  admin  key    token  foreign bare
GET    /                                     yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /paint                                yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /tasks/<task_id>                      yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /tasks/<task_id>/cancel               403    403    yes    yes    403    403    403    403    403     403
POST   /tasks/<task_id>/retry                403    403    yes    yes    403    403    403    403    403     403
POST   /tasks/<task_id>/wish                 403    403    yes    yes    403    403    403    403    403     403
POST   /tasks/<task_id>/rating               403    403    yes    yes    403    403    403    403    403     403
POST   /tasks/<task_id>/delete               403    403    yes    yes    403    403    403    403    403     403
POST   /shared-photo                         yes    yes    yes    yes    yes    yes    yes    yes    403     yes
GET    /manifest.webmanifest                 yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /service-worker.js                    yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /offline                              yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /robots.txt                           yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /sitemap.xml                          yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /static/<filename>                    yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /health                               yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /api/health                           yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /api/test-env                         yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /metrics                              401    401    401    401    401    401    yes    401    yes     -
POST   /api/monitor/error                    yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /api/docs                             yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /api/openapi.json                     yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /api/token-status                     401    401    401    401    401    401    401    401    -       -
GET    /api/styles                           yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /api/csrf                             yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /api/generate-image                   yes    yes    yes    yes    yes    yes    yes    yes    403     403
POST   /api/transform-ghibli                 yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /api/poll-task                        yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /api/transform-ghibli/check/<task_id> yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /api/transform-ghibli/check/<task_id> yes    yes    yes    yes    yes    yes    yes    yes    403     403
POST   /api/tasks/<task_id>/cancel           403    403    yes    yes    403    403    403    403    403     403
POST   /api/tasks/<task_id>/retry            403    403    yes    yes    403    403    403    403    403     403
POST   /api/tasks/<task_id>/rating           403    403    yes    yes    403    403    403    403    403     403
DELETE /api/tasks/<task_id>                  403    403    yes    yes    403    403    403    403    403     403
GET    /api/image/<task_id>                  yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /api/image/<task_id>/thumbnail        yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /api/image/<task_id>/original         403    403    yes    yes    403    403    403    403    yes     yes
POST   /api/upload-image                     yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /api/upload/<upload_id>               404    404    yes    yes    404    404    404    404    yes     yes
GET    /api/tasks                            yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /pictures                             yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /pictures/download                    404    404    yes    yes    404    404    404    404    yes     yes
GET    /pictures/delete                      404    404    yes    yes    404    404    404    404    yes     yes
POST   /pictures/delete                      404    404    yes    yes    404    404    404    404    403     403
GET    /api/user-credits                     401    401    401    yes    yes    yes    401    401    yes     yes
POST   /api/user-credits                     401    401    401    401    401    401    401    yes    403     -
POST   /process/<task_id>                    401    401    401    401    401    401    401    401    403     -
POST   /progress/<task_id>                   401    401    401    401    401    401    401    401    403     -
POST   /api/transform-ghibli/progress/<task_id> 401 401    401    401    401    401    401    401    403     -
GET    /auth/signin                          yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /auth/signin                          yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /auth/signup                          yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /auth/signup                          yes    yes    yes    yes    yes    yes    yes    yes    403     403
POST   /auth/signout                         yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /auth/forgot                          yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /auth/forgot                          yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /auth/confirm/<token>                 yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /auth/confirm/<token>                 yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /auth/reset/<token>                   yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /auth/reset/<token>                   yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /auth/bind-google/<token>             yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
POST   /auth/bind-google/<token>             yes    yes    yes    yes    yes    yes    yes    yes    403     403
GET    /auth/google                          404    404    404    404    404    404    404    404    -       -
GET    /api/auth/callback/google             yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /auth/error                           yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /auth/mails                           yes    yes    yes    yes    yes    yes    yes    yes    yes     yes
GET    /account                              signin signin signin yes    yes    yes    signin signin yes     yes
GET    /account/credits                      signin signin signin yes    yes    yes    signin signin yes     yes
POST   /language                             yes    yes    yes    yes    yes    yes    yes    yes    403     403
POST   /account/profile                      401    401    401    yes    yes    yes    401    401    403     403
POST   /account/password                     401    401    401    yes    yes    yes    401    401    403     403
POST   /account/sessions/<public_id>/end     401    401    401    yes    404    404    401    401    403     403
POST   /account/sessions/end-all             401    401    401    yes    yes    yes    401    401    403     403
POST   /account/export                       401    401    401    yes    yes    yes    401    401    403     403
GET    /account/export                       signin signin signin yes    404    404    signin signin yes     yes
GET    /account/delete                       signin signin signin yes    yes    yes    signin signin yes     yes
POST   /account/delete                       401    401    401    yes    yes    yes    401    401    403     403
GET    /admin/                               signin signin signin 403    403    yes    signin signin yes     yes
GET    /admin/ui/tasks                       signin signin signin 403    403    yes    signin signin yes     yes
GET    /admin/ui/tasks/<task_id>             signin signin signin 403    403    yes    signin signin yes     yes
POST   /admin/ui/tasks/<task_id>/look        401    401    401    403    403    yes    401    401    403     403
GET    /admin/ui/tasks/<task_id>/<deed>      signin signin signin 403    403    yes    signin signin yes     yes
POST   /admin/ui/tasks/<task_id>/<deed>      401    401    401    403    403    yes    401    401    403     403
GET    /admin/ui/flags                       signin signin signin 403    403    yes    signin signin yes     yes
POST   /admin/ui/flags/<name>                401    401    401    403    403    yes    401    401    403     403
GET    /admin/ui/queues                      signin signin signin 403    403    yes    signin signin yes     yes
GET    /admin/tasks                          401    401    401    401    401    401    yes    401    yes     -
POST   /admin/tasks/<task_id>/fail           401    401    401    401    401    401    yes    401    403     -
POST   /admin/tasks/<task_id>/retry          401    401    401    401    401    401    yes    401    403     -
POST   /admin/tasks/<task_id>/refund         401    401    401    401    401    401    yes    401    403     -
GET    /admin/ui/users                       signin signin signin 403    403    yes    signin signin yes     yes
GET    /admin/ui/users/<user_id>             signin signin signin 403    403    yes    signin signin yes     yes
POST   /admin/ui/users/<user_id>/block       401    401    401    403    403    yes    401    401    403     403
POST   /admin/ui/users/<user_id>/balance     401    401    401    403    403    yes    401    401    403     403
GET    /admin/ui/audit                       signin signin signin 403    403    yes    signin signin yes     yes
GET    /gallery                              yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /privacy-policy                       yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /terms-of-service                     yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /cookie-policy                        yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /help                                 yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /share/<share_id>                     yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /share/<share_id>/picture             yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /share/<share_id>/thumbnail           yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /share/<share_id>/card                yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /share/<share_id>/original            yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
POST   /tasks/<task_id>/share                403    403    yes    yes    403    403    403    403    403    403
POST   /share/<share_id>/change              403    403    yes    yes    403    403    403    403    403    403
POST   /share/<share_id>/revoke              403    403    yes    yes    403    403    403    403    403    403
POST   /share/<share_id>/report              yes    yes    yes    yes    yes    yes    yes    yes    403    403
POST   /api/share                            403    403    yes    yes    403    403    403    403    403    403
PATCH  /api/share/<share_id>                 403    403    yes    yes    403    403    403    403    403    403
DELETE /api/share/<share_id>                 403    403    yes    yes    403    403    403    403    403    403
POST   /api/share/<share_id>/report          yes    yes    yes    yes    yes    yes    yes    yes    403    403
GET    /api/share/list                       yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /api/share/monitor                    yes    yes    yes    yes    yes    yes    yes    yes    yes    yes
GET    /admin/ui/shares                      signin signin signin 403    403    yes    signin signin yes    yes
GET    /admin/ui/shares/<share_id>/thumbnail signin signin signin 403    403    yes    signin signin yes    yes
POST   /admin/ui/shares/<share_id>/hide      401    401    401    403    403    yes    401    401    403    403
POST   /admin/ui/shares/<share_id>/restore   401    401    401    403    403    yes    401    401    403    403
POST   /admin/ui/shares/<share_id>/approve   401    401    401    403    403    yes    401    401    403    403
"""

# A page that tells of a refusal carries its status.
PURPOSE = {"GET /auth/error": 400}
UNFINISHED = {
    "POST /api/tasks/<task_id>/cancel",
    "POST /tasks/<task_id>/cancel",
    "POST /admin/tasks/<task_id>/fail",
}
UNPAINTED = {"POST /tasks/<task_id>/wish"}
CHANGES_WHO_IS_THERE = {
    "POST /auth/signin",
    "POST /auth/signout",
    "POST /auth/confirm/<token>",
    "POST /auth/reset/<token>",
    "POST /auth/bind-google/<token>",
    "POST /account/sessions/end-all",
    "POST /account/delete",
}

OWNER, OTHER, ADMIN, SPARE = "owner@example.org", "other@example.org", "admin@example.org", "spare@example.org"
EMAILS = {"owner": OWNER, "other": OTHER, "admin": ADMIN}
ADMIN_KEY, API_TOKEN = "the operator's own long key 4711", "the program's own long token 0815"
ADMIN_SECRET = "the operator's own long secret 1234"
ELSEWHERE = "https://elsewhere.example"
WITH_COOKIE = ("owner", "guest", "admin", "other", "holder")
WITHOUT_COOKIE = ("key", "token", "nobody")


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    route: str
    cells: dict[str, str]

    @property
    def method(self) -> str:
        """The method in capitals."""
        return self.route.split(" ", 1)[0]

    @property
    def rule(self) -> str:
        """The path with its parameters in angle brackets."""
        return self.route.split(" ", 1)[1]

    def first_who_may(self, *, cookie: bool) -> str:
        """The caller who is imitated from elsewhere, or without the token."""
        callers = WITH_COOKIE if cookie else WITH_COOKIE + WITHOUT_COOKIE
        return next((caller for caller in callers if self.cells[caller] == "yes"), "nobody")


def lines() -> list[Line]:
    """The table, read."""
    head, *rows = (re.sub(r"^(\w+) +/", r"\1 /", line) for line in TABLE.strip().splitlines())
    callers = head.split()[1:]
    read = []
    for row in rows:
        method, path, *cells = row.split()
        read.append(Line(f"{method} {path}", dict(zip(callers, cells, strict=True))))
    return read


class Scene:
    """The people, the things that they own, and a call of any route by any of them."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.browsers: dict[str, Visitor] = {}
        self.numbers = itertools.count()
        with app.app_context():
            self.spare_id = confirmed_account(SPARE)

    def call(self, line: Line, column: str) -> TestResponse:
        """Call a route as this column's caller, with everything in place for the call to succeed if it may."""
        with self.app.app_context():
            runtime().redis.flushdb()  # No count of earlier requests or mails is in the way.
        caller, headers = column, {}
        if column == "foreign":
            caller, headers = line.first_who_may(cookie=False), {"Origin": ELSEWHERE}
        if column == "bare":
            caller, headers = line.first_who_may(cookie=True), {"X-CSRFToken": ""}
        path, query = self.path(line, caller)
        body = self.body(line, caller)
        client, own_headers = self.client(line, caller)
        answer = client.open(path, method=line.method, query_string=query, headers=own_headers | headers, **body)
        if answer.status_code < 400 and line.route in CHANGES_WHO_IS_THERE:
            self.browsers.pop(caller, None)
        return answer

    def client(self, line: Line, caller: str) -> tuple[FlaskClient, dict[str, str]]:
        """The caller's client, and what its requests carry."""
        if caller in WITH_COOKIE:
            browser = self.browser(caller)
            return browser.client, {} if line.method == "GET" else {"X-CSRFToken": browser.token}
        keys = {"key": {"X-API-Key": ADMIN_KEY}, "token": {"Authorization": f"Bearer {API_TOKEN}"}, "nobody": {}}
        return self.app.test_client(), keys[caller]

    def browser(self, caller: str) -> Visitor:
        """The browser of somebody with a cookie."""
        if caller not in self.browsers:
            email = EMAILS.get(caller)
            self.browsers[caller] = member(self.app, email) if email else Visitor(self.app)
        return self.browsers[caller]

    def path(self, line: Line, caller: str) -> tuple[str, dict[str, Any]]:
        """The path with its parameters, and the query."""
        path, query = line.rule, {}
        if line.rule == "/api/poll-task":
            query = {"taskId": self.task(line, caller)}
        if line.rule in {"/pictures/download", "/pictures/delete"} and line.method == "GET":
            query = {"task": [self.task(line, caller), self.task(line, caller)]}
        if line.rule == "/account/export" and line.method == "GET" and caller == "owner":
            self.pack_export()
        parameters: dict[str, Callable[[], str]] = {
            "<task_id>": lambda: self.task(line, caller),
            "<share_id>": lambda: self.share(line, caller),
            "<upload_id>": lambda: self.upload(caller),
            "<token>": lambda: self.link(line.rule.split("/")[2]),
            "<public_id>": self.second_session,
            "<user_id>": lambda: self.spare_id,
            "<deed>": lambda: "refund",
            "<name>": lambda: "sign-ups",
            "/static/<filename>": lambda: f"{self.app.static_url_path}/css/site.css",
        }
        for name, value in parameters.items():
            if name in path:
                path = path.replace(name, value())
        return path, query

    def body(self, line: Line, caller: str) -> dict[str, Any]:
        """The body of a call that succeeds for whoever may make it."""
        new = f"new-{next(self.numbers)}@example.org"
        forms: dict[str, dict[str, Any]] = {
            "POST /paint": {"image": FileStorage(BytesIO(photo(32, 32)), "photo.jpg")},
            "POST /api/generate-image": {"image": FileStorage(BytesIO(photo(32, 32)), "photo.jpg")},
            "POST /api/transform-ghibli": {"image": FileStorage(BytesIO(photo(32, 32)), "photo.jpg")},
            "POST /api/upload-image": {"image": FileStorage(BytesIO(photo(32, 32)), "photo.jpg")},
            "POST /auth/signin": {"email": SPARE, "password": PASSWORD},
            "POST /auth/signup": {"email": new, "password": PASSWORD},
            "POST /auth/forgot": {"email": SPARE},
            "POST /auth/reset/<token>": {"password": PASSWORD},
            "POST /auth/confirm/<token>": {"password": PASSWORD},
            "POST /language": {"language": "en"},
            "POST /account/profile": {"name": "Ada", "locale": "en"},
            "POST /account/password": {"old": PASSWORD, "password": PASSWORD},
            "POST /account/delete": {"password": PASSWORD},
            "POST /admin/ui/users/<user_id>/block": {"blocked": "0"},
            "POST /admin/ui/tasks/<task_id>/look": {"sheet": "photo"},
            "POST /admin/ui/users/<user_id>/balance": {"amount": "1", "reason": "a gift"},
        }
        if line.route in forms:
            return {"data": forms[line.route]}
        if line.route == "POST /api/monitor/error":
            return {"json": {"error": "Error: nothing worked"}}
        if line.route == "POST /api/user-credits":
            return {"json": {"userId": self.spare_id, "operation": "add", "amount": 1}}
        if line.route == "POST /pictures/delete":
            return {"data": {"task": [self.task(line, caller), self.task(line, caller)]}}
        if line.route == "POST /api/share":
            return {"json": {"taskId": self.task(line, caller)}}
        if line.rule.endswith("/report"):
            reason = {"reason": "other"}
            return {"json": reason} if line.rule.startswith("/api/") else {"data": reason}
        if line.rule.endswith("/rating"):
            thumb = {"verdict": "up"}
            return {"json": thumb} if line.rule.startswith("/api/") else {"data": thumb}
        return {"json": {}} if line.rule.endswith("/retry") or line.method == "PATCH" else {}

    def task(self, line: Line, caller: str) -> str:
        """A new task: the guest's own for the guest, the owner's for everybody else."""
        task_id = self.browser("guest" if caller == "guest" else "owner").ordered(photo(32, 32))
        if line.route not in UNFINISHED:
            paint(self.app, task_id, Outcome.FAILED if line.route in UNPAINTED else Outcome.PAINTED)
        return task_id

    def share(self, line: Line, caller: str) -> str:
        """A new share with everything shown: the guest's own for the guest, the owner's for everybody else."""
        browser = self.browser("guest" if caller == "guest" else "owner")
        task_id = browser.ordered(photo(32, 32))
        paint(self.app, task_id)
        made = browser.post("/api/share", json={"taskId": task_id, "showOriginal": True})
        return str(made.get_json()["shareId"])

    def upload(self, caller: str) -> str:
        """A photograph sent ahead: by the guest for the guest, by the owner for everybody else."""
        image = {"image": FileStorage(BytesIO(photo(32, 32)), "photo.jpg")}
        sender = self.browser("guest" if caller == "guest" else "owner")
        return str(sender.post("/api/upload-image", data=image).get_json()["uploadId"])

    def link(self, kind: str) -> str:
        """The secret part of a mailed link of this kind, to an account of its own."""
        with self.app.app_context():
            user_id = confirmed_account(f"link-{next(self.numbers)}@example.org")
            return accounts.link_token(kind, accounts.find(user_id), f"sub-{user_id}")

    def second_session(self) -> str:
        """Another session of the owner's."""
        self.browser("owner")
        second = member(self.app, OWNER)
        with self.app.app_context():
            return sessions.of_user(second.user_id)[0].public_id

    def pack_export(self) -> None:
        """Have the owner's export made, as the maintenance worker does."""
        owner = member(self.app, OWNER)
        with self.app.app_context():
            exports.drop(owner.user_id)
            exports.start(owner.user_id)
            queue = queueing.maintenance_queue()
        ApplicationWorker(self.app, queue, "packer").work(burst=True, logging_level="WARNING")


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """An application with every key set, and enough free tries for everybody."""
    return app_factory(
        admin_api_key=ADMIN_KEY,
        api_token=API_TOKEN,
        admin_secret=ADMIN_SECRET,
        admin_emails=(ADMIN,),
        guest_daily_limit=1000,
        guest_daily_limit_per_address=1000,
        monthly_credits=1000,
        orders_per_minute=0,
    )


def told(line: Line, answer: TestResponse) -> str:
    """An answer in the words of the table."""
    if answer.location and answer.location.startswith("/auth/signin"):
        return "signin"
    if answer.status_code < 400 or answer.status_code == PURPOSE.get(line.route):
        return "yes"
    return str(answer.status_code)


def test_every_route_has_its_line(app: Flask) -> None:
    """The table names exactly the routes of the application."""
    routes = {
        f"{method} {rule.rule}".replace(app.static_url_path or "", "/static").replace("<path:", "<")
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert sorted(line.route for line in lines()) == sorted(routes)


def test_every_caller_gets_what_the_table_says(app: Flask) -> None:
    """Each route, called by each of the callers with everything else in place, answers as its line says."""
    scene, wrong = Scene(app), []
    for line in lines():
        # Refusals first: a call that is let in may end a session or an account.
        for column, cell in sorted(line.cells.items(), key=lambda item: item[1] == "yes"):
            if cell == "-":
                continue
            answer = scene.call(line, column)
            if told(line, answer) != cell:
                wrong.append(f"{line.route} by {column}: {told(line, answer)} instead of {cell}")
            if column == "foreign" and answer.headers.get("Access-Control-Allow-Origin") == ELSEWHERE:
                wrong.append(f"{line.route}: a foreign page may read the answer")
            answer.close()
    assert not wrong, "\n".join(wrong)


WITHOUT_TOKEN = "POST /shared-photo"
"""What a phone's share sheet sends; tests/api/test_shell.py shows that no other site can and nothing is ordered."""


def test_what_changes_something_is_closed_to_other_sites() -> None:
    """Every line with another method than GET refuses foreign origins, and cookies without their token."""
    for line in lines():
        if line.method != "GET":
            assert line.cells["foreign"] == "403", line.route
            if line.route != WITHOUT_TOKEN:
                assert line.cells["bare"] in {"403", "-"}, line.route


def test_a_refused_call_changes_nothing(app: Flask) -> None:
    """After every refused attempt at a task, from every side, it is still there and still waiting."""
    scene = Scene(app)
    task_id = scene.browser("owner").ordered(photo(32, 32))
    scene.task = lambda line, caller: task_id  # type: ignore[method-assign]
    for line in lines():
        if "<task_id>" in line.rule and line.method in {"POST", "DELETE"}:
            for column, cell in line.cells.items():
                if cell not in {"yes", "-"}:
                    assert scene.call(line, column).status_code == int(cell)
    assert scene.browser("owner").poll(task_id)["status"] == "PENDING"


def test_reading_changes_nothing(app: Flask) -> None:
    """No GET by anybody who may changes a row of any table: what changes something has another method."""
    scene = Scene(app)
    for line in lines():
        callers = [caller for caller in WITH_COOKIE if line.cells[caller] == "yes"]
        for caller in callers if line.method == "GET" else ():
            path, query = scene.path(line, caller)
            client, headers = scene.client(line, caller)
            before = every_row(app)
            client.get(path, query_string=query, headers=headers).close()
            assert every_row(app) == before, f"{line.route} by {caller}"


def every_row(app: Flask) -> dict[str, list[str]]:
    """Everything in the database."""
    with app.app_context(), db.engine.connect() as connection:
        return {
            table.name: sorted(str(tuple(row)) for row in connection.execute(table.select()))
            for table in db.metadata.sorted_tables
        }
