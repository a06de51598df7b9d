"""create_app(): one line for each thing that makes the application. Called by `wsgi.py`, the workers and the tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Flask
from flask_migrate import Migrate
from werkzeug.middleware.proxy_fix import ProxyFix

from ghibli_flask import models
from ghibli_flask.admin.calls import order_calls
from ghibli_flask.admin.orders import order_pages
from ghibli_flask.admin.overview import overview_pages
from ghibli_flask.admin.people import people
from ghibli_flask.admin.queues import queue_pages
from ghibli_flask.admin.shares import share_desk
from ghibli_flask.admin.switches import switch_pages
from ghibli_flask.api.credits import credit_routes
from ghibli_flask.api.diagnostics import diagnostics
from ghibli_flask.api.figures import figure_routes
from ghibli_flask.api.history import history_routes
from ghibli_flask.api.meta import meta
from ghibli_flask.api.orders import orders
from ghibli_flask.api.pictures import picture_routes
from ghibli_flask.api.processors import processor_routes
from ghibli_flask.api.sharing import share_routes
from ghibli_flask.api.status import polling
from ghibli_flask.api.tokens import token_routes
from ghibli_flask.api.uploads import upload_routes
from ghibli_flask.auth.google import install_google
from ghibli_flask.auth.password import passwords
from ghibli_flask.cli.check import check_command
from ghibli_flask.cli.credits import credits_cli
from ghibli_flask.cli.flags import flags_cli
from ghibli_flask.cli.monitor import monitor_cli
from ghibli_flask.cli.storage import storage_cli
from ghibli_flask.cli.tasks import tasks_cli
from ghibli_flask.cli.tokens import tokens_cli
from ghibli_flask.clock import Clock
from ghibli_flask.database import db, engine_options, prepare_engine
from ghibli_flask.error_handlers import install_error_handlers
from ghibli_flask.extensions import Runtime, install_runtime, web_redis, worker_redis
from ghibli_flask.i18n import install_i18n
from ghibli_flask.logs import configure_logging
from ghibli_flask.masking import Mask
from ghibli_flask.metrics import install_metrics
from ghibli_flask.pages.account import account_pages
from ghibli_flask.pages.crawlers import crawlers
from ghibli_flask.pages.language import language_pages
from ghibli_flask.pages.legal import legal
from ghibli_flask.pages.pictures import own_pictures
from ghibli_flask.pages.sharing import share_pages
from ghibli_flask.pages.shell import shell
from ghibli_flask.pages.task_actions import task_actions
from ghibli_flask.pages.visitor import visitor
from ghibli_flask.proxies import install_proxies
from ghibli_flask.request_log import install_request_log
from ghibli_flask.security import install_security
from ghibli_flask.sentry import start_sentry
from ghibli_flask.services.sessions import LASTS
from ghibli_flask.services.throttle import install_throttle
from ghibli_flask.settings import ROOT, Settings, load_settings
from ghibli_flask.static_files import COPIES, StaticFiles
from ghibli_flask.storage import install_stores
from ghibli_flask.visitors import install_visitors

STATIC = ROOT / "static"

BLUEPRINTS = (
    orders,
    polling,
    picture_routes,
    upload_routes,
    history_routes,
    share_routes,
    credit_routes,
    token_routes,
    processor_routes,
    meta,
    diagnostics,
    figure_routes,
    visitor,
    task_actions,
    own_pictures,
    share_pages,
    account_pages,
    language_pages,
    legal,
    crawlers,
    shell,
    passwords,
    overview_pages,
    order_pages,
    order_calls,
    people,
    share_desk,
    switch_pages,
    queue_pages,
)
COMMANDS = (tasks_cli, flags_cli, tokens_cli, credits_cli, monitor_cli, storage_cli, check_command)


def create_app(settings: Settings | None = None, *, clock: Clock | None = None, for_worker: bool = False) -> Flask:
    """Build the application. `for_worker` lets it wait longer for a database or Redis that is away."""
    settings = settings or load_settings()
    mask = Mask(settings)
    configure_logging(settings, mask)
    install_proxies(settings)
    start_sentry(settings, mask)
    static_path = f"/static/{tree_hash(STATIC)}"
    app = Flask(
        "ghibli_flask",
        root_path=str(ROOT),
        instance_path=str(settings.instance_dir),
        static_folder=str(STATIC),
        static_url_path=static_path,
    )
    _configure(app, settings)
    connect = worker_redis if for_worker else web_redis
    install_runtime(app, Runtime(settings, clock or Clock(), connect(settings.redis_address)))
    install_stores(app, settings, clock or Clock(), patient=for_worker)
    install_throttle(app, settings)
    _install_database(app, settings, patient=for_worker)
    install_i18n(app)
    install_metrics(app, settings, clock or Clock())
    install_request_log(app)
    with app.app_context():
        install_security(app)
    install_visitors(app)
    install_error_handlers(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    install_google(app, settings)
    for commands in COMMANDS:
        app.cli.add_command(commands)
    _wrap(app, settings, static_path)
    return app


def _configure(app: Flask, settings: Settings) -> None:
    app.config.update(
        SECRET_KEY=settings.signing_keys[0],
        SECRET_KEY_FALLBACKS=list(settings.signing_keys[1:]),
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        PERMANENT_SESSION_LIFETIME=LASTS,
        SESSION_COOKIE_NAME=settings.session_cookie,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.is_production,
        SQLALCHEMY_DATABASE_URI=settings.database_address,
        SQLALCHEMY_TRACK_MODIFICATIONS=False,
    )


def _install_database(app: Flask, settings: Settings, *, patient: bool) -> None:
    settings.instance_dir.mkdir(parents=True, exist_ok=True)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings.database_address, patient=patient)
    assert models.ImageTask.metadata is db.metadata
    db.init_app(app)
    with app.app_context():
        prepare_engine(db.engine, patient=patient)
    Migrate(app, db, directory=str(ROOT / "migrations"), compare_type=True, render_as_batch=True)


def _wrap(app: Flask, settings: Settings, static_path: str) -> None:
    """Serve the static files before Flask, for ever, and believe as many proxies as there are."""
    wrapped = StaticFiles(app.wsgi_app, STATIC, static_path, settings.instance_dir / COPIES)
    app.wsgi_app = wrapped  # type: ignore[method-assign]
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(wrapped, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]


def tree_hash(folder: Path) -> str:
    """A short name for the present contents of a folder: changes whenever any file in it does."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
