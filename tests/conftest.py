"""The test bed: real servers on free loopback ports, one of each a session, and an application using them.

What a test asks for, it gets for real: `redis_server`, `mariadb_server`, `space_server`, `site` (the whole
product as processes) and `browser` (Chromium) start when the first test needs them and end with the session.
`app` and `client` are made anew for each test, on SQLite; a test or module that asks for `each_database` runs
on SQLite and on MariaDB. Tables are emptied after each test, not rolled back, because the code under test
commits. Nothing here reads `.env`.
"""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import create_engine, inspect

from ghibli_flask.clock import Clock
from ghibli_flask.database import db
from ghibli_flask.extensions import runtime
from ghibli_flask.factory import create_app
from ghibli_flask.metrics import close_metrics
from ghibli_flask.services import passwords
from ghibli_flask.services.passwords import OlderBcryptHasher
from ghibli_flask.settings import Settings
from tests.support.browser import CHROMIUM_FLAGS, open_page
from tests.support.checkout import ROOT, copy_checkout, migrate, offline_env
from tests.support.mail_server import MailServer, Postbox
from tests.support.mariadb_server import MariaDBServer
from tests.support.no_network import loopback_only
from tests.support.processes import ByFile
from tests.support.redis_server import RedisServer
from tests.support.s3_server import S3Server
from tests.support.server import find_program
from tests.support.site import Site
from tests.support.space_server import SpaceServer
from tests.support.standins.imgbb import ImgBBStandIn
from tests.support.standins.openai import KEY as OPENAI_KEY
from tests.support.standins.openai import OpenAIStandIn
from tests.support.standins.r2 import R2StandIn

# Names, or beginnings of names, that pass from the developer's environment into the tests.
# Everything else could be a setting, so it goes.
PASSED_ON = (
    "PATH", "HOME", "USER", "LANG", "LC_", "TERM", "TMPDIR", "XDG_", "PYTEST", "PYTHON", "VIRTUAL_ENV", "CI",
    "SCREENSHOT_DIR", "LD_LIBRARY_PATH",
)  # fmt: skip


def pytest_configure() -> None:
    """Take every setting out of the environment and shut the network, before anything of ours is used."""
    for name in list(os.environ):
        if not name.startswith(PASSED_ON):
            del os.environ[name]
    loopback_only.install()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Deal out whole files when several processes run the tests; each process has servers of its own."""
    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one: what a test needs is installed, or the tests do not pass."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"Skipping is not allowed: {report.longreprtext}"
    return report


@pytest.fixture(autouse=True)
def stays_on_this_machine() -> Iterator[None]:
    """Fail a test that tried to reach another machine, even when the code under test hid the refusal."""
    loopback_only.attempts.clear()
    yield
    assert not loopback_only.attempts, f"tried to reach {loopback_only.attempts}"


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[PasswordHash]:
    """Hash passwords at the lowest cost, or accounts would take a third of the time; gives the product's own hasher."""
    own = passwords._hasher
    passwords._hasher = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1), OlderBcryptHasher()))
    yield own
    passwords._hasher = own


@pytest.fixture
def costly_passwords(quick_passwords: PasswordHash, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hash passwords as the product does."""
    monkeypatch.setattr(passwords, "_hasher", quick_passwords)
    passwords._decoy.cache_clear()
    yield
    passwords._decoy.cache_clear()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout without `.env`: every process of ours that a test starts runs in it."""
    return copy_checkout(tmp_path_factory.mktemp("copy") / "checkout")


# --- Servers, one of each a session ---


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis; a test may stop, kill or pause it: it is up and empty again for the next one."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDBServer]:
    """A real MariaDB with two empty databases: one for `app`, one for `site`."""
    server = MariaDBServer(tmp_path_factory.mktemp("mariadb"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def space_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpaceServer]:
    """The bundled Space, warm; a test that stops it starts it again."""
    server = SpaceServer(tmp_path_factory.mktemp("space"))
    server.start()
    server.warm()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server; tests ask for `r2`, the door in front of it."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def r2_door(s3_server: S3Server) -> Iterator[R2StandIn]:
    """The server behind `r2`."""
    with R2StandIn(s3_server) as door:
        yield door


@pytest.fixture
def r2(r2_door: R2StandIn) -> Iterator[R2StandIn]:
    """An empty R2 that is as strict as the real one; a test may break it or kill the S3 behind it."""
    r2_door.reset()
    r2_door.s3.empty()
    yield r2_door
    r2_door.let_go.set()


@pytest.fixture(scope="session")
def imgbb_server() -> Iterator[ImgBBStandIn]:
    """The server behind `imgbb`."""
    with ImgBBStandIn() as server:
        yield server


@pytest.fixture
def imgbb(imgbb_server: ImgBBStandIn) -> ImgBBStandIn:
    """An empty ImgBB."""
    imgbb_server.reset()
    return imgbb_server


@pytest.fixture(scope="session")
def words_painter() -> Iterator[OpenAIStandIn]:
    """The engine of `site` that paints from words: it gives the same real picture whatever it is asked."""
    with OpenAIStandIn() as api:
        api.picture = (ROOT / "docs/photographs/china.jpg").read_bytes()
        yield api


@pytest.fixture(scope="session")
def running_site(
    checkout: Path,
    tmp_path_factory: pytest.TempPathFactory,
    mariadb_server: MariaDBServer,
    space_server: SpaceServer,
    words_painter: OpenAIStandIn,
) -> Iterator[Site]:
    """The processes behind `site`; tests ask for `site`."""
    folder = tmp_path_factory.mktemp("site")
    site = Site(
        checkout,
        folder,
        database_url=mariadb_server.url_of("site"),
        gradio_url=space_server.url,
        ENGINES="gradio,openai",
        OPENAI_API_KEY=OPENAI_KEY,
        OPENAI_BASE_URL=words_painter.api_url,
    )
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture
def site(running_site: Site) -> Site:
    """The whole product, running: web, both workers, scheduler, Redis, MariaDB and the Space."""
    running_site.mend()
    return running_site


# --- The database ---


@pytest.fixture(params=["sqlite", "mariadb"])
def each_database(request: pytest.FixtureRequest) -> str:
    """Asked for by a test that must pass on every database; the test then runs once on each."""
    return str(request.param)


@pytest.fixture(scope="session")
def migrated_url(
    request: pytest.FixtureRequest, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Give the address of a migrated database of a kind; the migrations run once a session for each kind."""
    addresses: dict[str, str] = {}

    def address_of(kind: str) -> str:
        if kind not in addresses:
            folder = tmp_path_factory.mktemp(kind)
            if kind == "mariadb":
                address = request.getfixturevalue("mariadb_server").url_of("tests")
            else:
                address = f"sqlite:///{folder / 'tests.sqlite3'}"
            migrate(checkout, offline_env(DATABASE_URL=address, INSTANCE_DIR=str(folder)))
            addresses[kind] = address
        return addresses[kind]

    return address_of


@pytest.fixture
def database_url(request: pytest.FixtureRequest, migrated_url: Callable[[str], str]) -> Iterator[str]:
    """The address of a migrated database without rows; emptied again after the test."""
    asked_for_each = "each_database" in request.fixturenames
    address = migrated_url(request.getfixturevalue("each_database") if asked_for_each else "sqlite")
    yield address
    empty_tables(address)


def empty_tables(address: str) -> None:
    """Delete the rows of every table but the one that remembers the migrations."""
    engine = create_engine(address)
    try:
        with engine.begin() as connection:
            present = set(inspect(connection).get_table_names())
            for table in reversed(db.metadata.sorted_tables):
                if table.name in present:
                    connection.execute(table.delete())
    finally:
        engine.dispose()


# --- The application ---


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """The address of an empty Redis; emptied, and brought up if need be, after the test."""
    yield redis_server.url
    redis_server.empty()


@pytest.fixture
def settings_factory(database_url: str, redis_url: str, tmp_path: Path) -> Callable[..., Settings]:
    """Make settings for the test's own database, Redis and instance folder; any can be overridden by name."""

    def make(**overrides: Any) -> Settings:
        values: dict[str, Any] = {
            "database_url": database_url,
            "redis_url": redis_url,
            "instance_dir": tmp_path / "instance",
            # Nobody listens on port 1: a test that paints asks for `space_server` and gives its address.
            "gradio_url": "http://127.0.0.1:1",
        }
        return Settings(_env_file=None, **{**values, **overrides})

    return make


@pytest.fixture
def app_factory(settings_factory: Callable[..., Settings]) -> Iterator[Callable[..., Flask]]:
    """Make applications with settings of the test's choice; their connections are closed after the test."""
    made: list[Flask] = []

    def make(*, clock: Clock | None = None, for_worker: bool = False, **overrides: Any) -> Flask:
        app = create_app(settings_factory(**overrides), clock=clock, for_worker=for_worker)
        app.testing = True
        made.append(app)
        return app

    yield make
    for app in made:
        close(app)


def close(app: Flask) -> None:
    """Give back what an application holds open."""
    close_metrics(app)
    with app.app_context():
        runtime().redis.close()
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """The application on an empty database and an empty Redis."""
    return app_factory()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A visitor without cookies."""
    return app.test_client()


# --- Mail ---


@pytest.fixture
def postbox() -> Postbox:
    """An empty postbox."""
    return Postbox()


@pytest.fixture
def mail_server(postbox: Postbox) -> Iterator[MailServer]:
    """A mail server that is up; a test may stop it."""
    server = MailServer(postbox)
    server.start()
    yield server
    if not server.loop.is_closed():
        server.stop()


# --- The browser ---


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real headless Chromium.

    Its driver keeps an event loop on the main thread for the rest of the session, so asyncio.run() fails there.
    """
    chromium = find_program("chromium", "chromium-browser", "google-chrome", package="chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context_factory(browser: Browser, site: Site) -> Iterator[Callable[..., BrowserContext]]:
    """Open a fresh browser profile on the site; takes Playwright's options such as `viewport`, `locale`."""
    opened: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        defaults: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"}
        context = browser.new_context(**{"base_url": site.url, **defaults, **options})
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()


@pytest.fixture
def page_problems() -> list[str]:
    """Script errors and console errors of `page`; a test that expects some clears the list."""
    return []


@pytest.fixture
def page(context_factory: Callable[..., BrowserContext], page_problems: list[str]) -> Iterator[Page]:
    """A page of a visitor with a desktop screen; script and console errors fail the test."""
    yield open_page(context_factory(), page_problems)
    assert not page_problems, "\n".join(page_problems)


@pytest.fixture(scope="session")
def screenshot_dir() -> Path:
    """Where screenshots go: SCREENSHOT_DIR, or instance/screenshots."""
    folder = Path(os.environ.get("SCREENSHOT_DIR", ROOT / "instance" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
