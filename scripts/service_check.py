"""Whether what the settings name is there and set up rightly: database, Redis, stores, mail, Google, the site itself.

Called by the config check, in an app context. Nothing is sent, ordered or changed, but for one small file that each
store is given and asked to delete. The engines are asked by `engine_check`, the machine by `machine_check`.
"""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ghibli_flask.database import db, reading
from ghibli_flask.errors import AppError
from ghibli_flask.extensions import runtime
from ghibli_flask.proxies import proxy_trouble
from ghibli_flask.services import mail, storage_check
from scripts.database_check import database_is_up_to_date
from scripts.findings import Finding, Timer, guarded
from scripts.setting_check import LOOPBACK

CONNECT_S, ANSWER_S = 5.0, 10.0
FULL = 0.8
"""More than this share of maxmemory in use, and Redis will soon refuse writes."""
CHARSET = "utf8mb4"
UTC_OFFSETS = frozenset({"+00:00", "UTC"})

FOREIGN_TABLES = text(
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    " AND table_type = 'BASE TABLE' AND table_collation NOT LIKE 'utf8mb4%' ORDER BY table_name"
)
DATABASE_FACTS = text(
    "SELECT VERSION(), @@character_set_database, @@collation_database, @@character_set_connection,"
    " @@session.time_zone, @@global.time_zone, @@system_time_zone"
)


def check_services() -> Iterator[Finding]:
    """Ask each service, as the web processes would."""
    looks = {
        "database": _database, "redis": _redis, "stores": _stores, "mail": _mail, "google": _google, "site": _site,
    }  # fmt: skip
    for name, look in looks.items():
        yield from guarded("service", name, look)


def _service(name: str, said: str, timer: Timer | None = None) -> Finding:
    return Finding("service", name, True, said, timer.seconds if timer else 0.0)


def _broken(name: str, said: str, fix: str, *, mild: bool = False) -> Finding:
    return Finding("service", name, False, said, fix=fix, mild=mild)


# --- Database ---


def _database() -> Iterator[Finding]:
    timer = Timer()
    settings = runtime().settings
    dialect = db.engine.dialect.name
    try:
        with reading() as session:
            session.execute(text("SELECT 1"))
    except (AppError, SQLAlchemyError) as error:
        reason = type(error.__cause__ or error).__name__
        yield _broken("database", f"does not answer: {reason}", "Check DATABASE_URL or MYSQL_*, and whether it runs.")
        return
    yield _service("database", f"{dialect} answers", timer)
    if database_is_up_to_date(settings.database_address):
        yield _service("migrations", "every one has been run")
    else:
        yield _broken("migrations", "some have not been run", "make migrate")
    if dialect != "sqlite":
        with reading() as session:
            facts, foreign = session.execute(DATABASE_FACTS).one(), list(session.scalars(FOREIGN_TABLES))
        yield from judge_database(facts, foreign)


def judge_database(facts: Any, foreign_tables: list[str]) -> Iterator[Finding]:
    """What a MySQL or MariaDB says of itself, judged: version, character sets, time zones; `facts` in their order."""
    version, charset, collation, spoken, zone, server_zone, system_zone = facts
    if charset != CHARSET:
        fix = f"ALTER DATABASE … CHARACTER SET {CHARSET} COLLATE utf8mb4_unicode_ci"
        yield _broken("character set", f"the database makes new tables in {charset}", fix)
    elif spoken != CHARSET:
        yield _broken("character set", f"we speak {spoken} with it", "End DATABASE_URL with ?charset=utf8mb4.")
    else:
        yield _service("character set", f"{charset}, {collation}; version {version}")
    if foreign_tables:
        tables = ", ".join(foreign_tables)
        fix = f"ALTER TABLE … CONVERT TO CHARACTER SET {CHARSET}, after a backup"
        yield _broken("tables", f"not in {CHARSET}: {tables}", fix, mild=True)
    server = system_zone if server_zone == "SYSTEM" else server_zone
    if zone not in UTC_OFFSETS:
        yield _broken("time zone", f"our connections are at {zone}", "They should be at +00:00; see database.py.")
    elif server not in UTC_OFFSETS:
        fix = "Set default-time-zone = '+00:00', so that dumps and other clients agree."
        yield _broken("time zone", f"our connections are at {zone}, the server at {server}", fix, mild=True)
    else:
        yield _service("time zone", zone)


# --- Redis ---


def _redis() -> Iterator[Finding]:
    timer = Timer()
    client = runtime().redis
    try:
        client.ping()
    except RedisError as error:
        fix = "Check REDIS_URL or REDIS_*, and whether it runs."
        yield _broken("redis", f"does not answer: {type(error).__name__}", fix)
        return
    yield _service("redis", "answers", timer)
    try:
        info: dict[str, Any] = client.info()
    except RedisError:
        fix = "Leave INFO in place when commands are renamed."
        yield _broken("redis settings", "INFO is refused, so nobody can tell", fix, mild=True)
        return
    yield from judge_redis(info)
    parts = urlsplit(runtime().settings.redis_address)
    if parts.hostname not in LOOPBACK and parts.scheme.startswith("redis") and not parts.password:
        fix = "requirepass in redis.conf and the password in REDIS_URL."
        yield _broken("redis password", f"none, and {parts.hostname} is another machine", fix)


def judge_redis(info: dict[str, Any]) -> Iterator[Finding]:
    """What INFO says, judged: eviction, memory, persistence. CONFIG may be renamed away, INFO tells all of it."""
    policy = info.get("maxmemory_policy")
    if policy == "noeviction":
        yield _service("redis eviction", "noeviction")
    else:
        fix = "maxmemory-policy noeviction: here lie the queue, leases and limits."
        yield _broken("redis eviction", f"{policy}: orders may be dropped when memory is short", fix)
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    told = f"{used / 1024**2:.0f} MB in use" + (f" of {most / 1024**2:.0f}" if most else ", without a limit")
    if most and used > FULL * most:
        yield _broken("redis memory", told, "Raise maxmemory.", mild=True)
    else:
        yield _service("redis memory", told)
    if not info.get("aof_enabled"):
        told = "no append-only file: after a crash the sweep rings again for every order, and limits begin anew"
        yield _broken("redis persistence", told, "appendonly yes", mild=True)
    elif info.get("aof_last_write_status") != "ok":
        yield _broken("redis persistence", "the append-only file could not be written", "Is the disk full?")
    else:
        yield _service("redis persistence", f"append-only file; version {info.get('redis_version')}")


# --- What is outside ---


def _stores() -> Iterator[Finding]:
    for found in storage_check.check_all():
        if found.complaint:
            fix = "flask storage check tells more; docs/storage.md has what each store needs."
            yield Finding("service", f"store {found.store}", False, found.complaint, found.seconds, fix)
        else:
            yield Finding("service", f"store {found.store}", True, "writes, reads and deletes", found.seconds)


def _mail() -> Iterator[Finding]:
    address = runtime().settings.mail_url
    if not address:
        return
    timer, host = Timer(), urlsplit(address).hostname
    try:
        with mail.open_server(address) as server:
            server.noop()
    except (OSError, smtplib.SMTPException) as error:
        yield _broken("mail", f"{host} does not let us in: {_reason(error)}", "Check MAIL_URL.")
        return
    yield _service("mail", f"{host} lets us in; nothing was sent", timer)


def _reason(error: Exception) -> str:
    """The kind of a failure and the server's number, without its words, which may quote us."""
    code = getattr(error, "smtp_code", None) or getattr(error, "strerror", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def _google() -> Iterator[Finding]:
    settings = runtime().settings
    if not settings.google_is_configured:
        return
    timer, host = Timer(), urlsplit(settings.google_metadata_url).hostname
    try:
        described = _get(settings.google_metadata_url).json()
        missing = {"authorization_endpoint", "token_endpoint", "jwks_uri"} - described.keys()
    except (requests.RequestException, ValueError, AttributeError) as error:
        said = proxy_trouble(error) or f"{host} does not describe itself: {type(error).__name__}"
        yield _broken("google", said, "Is this machine let out to it?")
        return
    if missing:
        yield _broken("google", f"{host} names no {', '.join(sorted(missing))}", "Take GOOGLE_METADATA_URL away.")
    else:
        yield _service("google", f"{host} describes itself", timer)


def _site() -> Iterator[Finding]:
    """The site as visitors reach it: TLS, and the flags of the cookie that it gives."""
    settings = runtime().settings
    if not settings.is_production:
        return
    timer, url = Timer(), settings.public_url
    try:
        answer = _get(f"{url}/api/csrf")
    except requests.RequestException as error:
        fix = "Once it runs: is nginx up, the certificate valid, the port open?"
        yield _broken("site", f"{url} does not answer: {type(error).__name__}", fix, mild=True)
        return
    yield _service("site", f"{url} answers", timer)
    yield judge_cookie(answer.headers.get("Set-Cookie", ""))


def judge_cookie(header: str) -> Finding:
    """Whether the cookie of this header is shut as those of production are."""
    flags = {part.strip().lower() for part in header.split(";")}
    missing = [flag for flag in ("Secure", "HttpOnly", "SameSite=Lax") if flag.lower() not in flags]
    if not header:
        return _broken("cookies", "the site gives none", "Does something in front take Set-Cookie away?", mild=True)
    if missing:
        fix = "Does something in front rewrite cookies, or does the site run with APP_ENV=development?"
        return _broken("cookies", f"without {', '.join(missing)}", fix)
    return _service("cookies", "Secure, HttpOnly, SameSite=Lax")


def _get(url: str) -> requests.Response:
    # Without an auth of its own a request would be given what ~/.netrc holds for the host.
    answer = requests.get(url, auth=lambda asked: asked, timeout=(CONNECT_S, ANSWER_S), allow_redirects=False)
    answer.raise_for_status()
    return answer


def database_clock() -> datetime | None:
    """The database server's own time; None where it is this machine's file, or away."""
    if db.engine.dialect.name == "sqlite":
        return None
    try:
        with reading() as session:
            now: datetime = session.execute(text("SELECT UTC_TIMESTAMP(6)")).scalar_one()
    except (AppError, SQLAlchemyError):
        return None
    return now.replace(tzinfo=UTC)
