"""scripts/check_production_config.py: what it says of settings, of real services in any state, and of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from ghibli_flask.database import db
from ghibli_flask.settings import Settings
from scripts import check_production_config, machine_check, service_check, setting_check
from scripts.findings import Finding
from tests.support.checkout import offline_env
from tests.support.mail_server import MailServer, Postbox
from tests.support.redis_server import RedisServer

SECRETS = {name: f"{name} of a test, 0123456789 abcdef" for name in ("one", "two", "three")}
READY: dict[str, Any] = {
    "app_env": "production",
    "app_url": "https://paint.of-a-test.net",
    "trusted_proxies": 1,
    "secret_key": (SECRETS["one"],),
    "admin_api_key": SECRETS["two"],
    "legal_contact_email": "ada@of-a-test.net",
    "legal_jurisdiction": "Ireland",
    "mysql_host": "127.0.0.1",
    "redis_host": "127.0.0.1",
    "gradio_url": "https://painter.of-a-test.net",
    "admin_emails": ("ada@of-a-test.net",),
    "mail_url": "smtp://ada:long-password@post.of-a-test.net:587",
}
NO_FILE = Path("/nowhere/.env")


def of_settings(**changed: Any) -> dict[str, Finding]:
    """What is said of a production installation that is ready but for these settings; None takes one away."""
    values = {name: value for name, value in (READY | changed).items() if value is not None}
    found = setting_check.check_settings(Settings(_env_file=None, **values), {}, NO_FILE)
    return {finding.name: finding for finding in found}


def levels(findings: Iterator[Finding] | list[Finding]) -> dict[str, str]:
    """How bad each is."""
    return {finding.name: finding.level for finding in findings}


# --- Settings ---


def test_settings_that_are_ready() -> None:
    """An installation that is ready for visitors has nothing but lines that say ok."""
    found = of_settings()
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["APP_URL"].text == "https://paint.of-a-test.net; cookies are Secure, HttpOnly and __Host-"
    assert found["all"].text.startswith("12 of ")


@pytest.mark.parametrize(
    ("name", "level", "changed"),
    [
        ("APP_URL", "fail", {"app_url": "http://paint.of-a-test.net"}),
        ("APP_URL", "fail", {"app_url": "https://127.0.0.1"}),
        ("APP_URL", "fail", {"app_url": "https://of-a-test.net/paint"}),
        ("CORS_ORIGINS", "warn", {"cors_origins": ("http://www.of-a-test.net",)}),
        ("TRUSTED_PROXIES", "fail", {"trusted_proxies": 0}),
        ("TRUSTED_PROXIES", "warn", {"host": "0.0.0.0"}),
        ("secrets", "warn", {"api_token": SECRETS["two"]}),
        ("LEGAL_CONTACT_EMAIL", "fail", {"legal_contact_email": None}),
        ("LEGAL_JURISDICTION", "fail", {"legal_jurisdiction": None}),
        ("LEGAL_EFFECTIVE_DATE", "warn", {"legal_effective_date": "2999-01-01"}),
        ("MYSQL_HOST", "warn", {"database_url": "mysql+pymysql://ada@127.0.0.1/ghibli"}),
        ("DATABASE_URL", "warn", {"mysql_host": None}),
        ("REDIS_HOST", "warn", {"redis_url": "redis://127.0.0.1"}),
        ("ADMIN_EMAILS", "warn", {"admin_emails": None}),
        ("ALERT_EMAIL", "warn", {"admin_emails": None}),
        ("MAIL_URL", "warn", {"mail_url": None}),
        ("MAIL_URL", "warn", {"mail_url": "smtp://post.of-a-test.net:465"}),
        ("GOOGLE_CLIENT_SECRET", "fail", {"google_client_id": "id"}),
        ("CLOUDFLARE_R2_BUCKET", "fail", {"cloudflare_r2_access_key_id": "key"}),
        ("ENGINES", "fail", {"engine_order": ("gradio",), "gradio_url": None, "app_env": "development"}),
        ("TASK_TIMEOUT_S", "fail", {"task_timeout_s": 1200}),
        ("ORDERS_PER_MINUTE", "warn", {"orders_per_minute": 0}),
        ("GUEST_DAILY_LIMIT_PER_ADDRESS", "warn", {"guest_daily_limit_per_address": 1}),
        ("HTTP_PROXY", "warn", {"https_proxy": "http://proxy.of-a-test.net:3128"}),
        ("LOG_LEVEL", "warn", {"log_level": "DEBUG"}),
        ("OPENAI_API_KEY", "fail", {"openai_api_key": "your-key-here"}),
        ("MAIL_FROM", "fail", {"mail_from": "Painter <no-reply@example.org>"}),
        ("APP_ENV", "warn", {"app_env": "development"}),
    ],
)  # fmt: skip
def test_settings_that_are_not(name: str, level: str, changed: dict[str, Any]) -> None:
    """Each mistake has its line with what to do, as bad in production as visitors would find it."""
    found = of_settings(**changed)[name]
    # Before production what visitors need is a warning.
    expected = "warn" if changed.get("app_env") == "development" else level
    assert (found.level, bool(found.fix)) == (expected, True), found.verdict


def test_development_is_told_what_production_refuses() -> None:
    """Missing and weak secrets, which stop the start in production, are warnings before."""
    found = of_settings(app_env="development", secret_key=None, admin_secret="short", app_url=None)
    assert (
        levels(list(found.values())).items()
        >= {"SECRET_KEY": "warn", "ADMIN_SECRET": "warn", "APP_URL": "warn"}.items()
    )
    assert of_settings(app_env="development", secret_key=("short",))["SECRET_KEY"].level == "warn"


def test_the_redirect_address_is_shown() -> None:
    """With both settings the address that Google has to know is told; without TLS it would refuse it."""
    google = {"google_client_id": "id", "google_client_secret": "secret"}
    assert "https://paint.of-a-test.net/api/auth/callback/google" in of_settings(**google)["GOOGLE_CLIENT_ID"].text
    assert of_settings(**google, app_url="http://paint.of-a-test.net")["GOOGLE_CLIENT_ID"].level == "fail"


def test_legal_warnings() -> None:
    """The public Space's licence and the tokens of several accounts are told of, without being mistakes."""
    found = of_settings(
        gradio_url="https://jamesliu1217-easycontrol-ghibli.hf.space", hugging_face_tokens=("hf_a" * 5, "hf_b" * 5)
    )
    assert "non-commercial" in found["GRADIO_URL"].text
    assert "against the Hub's terms" in found["HUGGING_FACE_TOKENS"].text
    assert {found[name].level for name in ("GRADIO_URL", "HUGGING_FACE_TOKENS")} == {"ok"}


def test_names_of_variables(tmp_path: Path) -> None:
    """Older names without effect and slips are told with what is meant; tokens by number and strangers are not."""
    variables = ("NODE_ENV", "API_URL", "KIE_AI_USER_ID", "NEXT_PUBLIC_API_URL", "KIE_API_KEY", "REDIS_PASWORD")
    fine = ("HUGGING_FACE_TOKEN_2", "HUGGING_FACE_TOKEN", "NEXTAUTH_URL", "PATH", "HOME", "LANG", "MAIL_URL")
    env_file = tmp_path / ".env"
    env_file.write_text("A=1\n")
    env_file.chmod(0o600)
    found = {one.name: one for one in setting_check.check_names(dict.fromkeys((*variables, *fine), "x"), env_file)}
    assert tuple(found) == variables
    assert {one.level for one in found.values()} == {"warn"}
    assert {one.text for one in list(found.values())[:4]} == {"is accepted and has no effect"}
    assert found["KIE_API_KEY"].fix == "Write KIE_AI_API_KEY if that is meant."
    assert found["REDIS_PASWORD"].fix == "Write REDIS_PASSWORD if that is meant."
    env_file.chmod(0o644)
    (readable,) = setting_check.check_names({}, env_file)
    assert (readable.name, readable.level) == (".env", "warn")


# --- Services ---


def of_services(app: Flask) -> dict[str, Finding]:
    """What is said of the services of an application."""
    with app.app_context():
        return {finding.name: finding for finding in service_check.check_services()}


def test_services_that_are_there(
    each_database: str, app_factory: Callable[..., Flask], mail_server: MailServer, postbox: Postbox
) -> None:
    """Database, Redis, store and mail server are asked for real and well; no mail is sent and no file stays."""
    app = app_factory(mail_url=f"smtp://127.0.0.1:{mail_server.port}")
    found = of_services(app)
    wanted = ["database", "migrations", "redis", "redis eviction", "redis memory", "store local", "mail"]
    assert [found[name].level for name in wanted] == ["ok"] * len(wanted)
    assert found["redis persistence"].level == "warn", "The tests' Redis keeps nothing."
    assert postbox.letters == []
    assert not list(Path(app.instance_path).rglob("*.png"))
    if each_database == "mariadb":
        assert found["character set"].text.startswith("utf8mb4, utf8mb4_unicode_ci")
        # The server of the tests has the zone of the machine, which is not always UTC.
        assert found["time zone"].ok or found["time zone"].mild
        assert "tables" not in found


def test_a_table_in_another_character_set(each_database: str, app: Flask) -> None:
    """A latin1 table of an earlier installation is named."""
    if each_database == "sqlite":
        assert "tables" not in of_services(app)
        return
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("CREATE TABLE from_before (name VARCHAR(20)) CHARACTER SET latin1"))
    try:
        found = of_services(app)["tables"]
    finally:
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(text("DROP TABLE from_before"))
    assert (found.level, found.text) == ("warn", "not in utf8mb4: from_before")


def test_services_that_are_away(app_factory: Callable[..., Flask], mail_server: MailServer) -> None:
    """A database, a Redis and a mail server that do not answer are failures, without their passwords."""
    mail_server.stop()
    app = app_factory(
        database_url="mysql+pymysql://ada:long-password@127.0.0.1:1/none",
        redis_url="redis://:long-password@127.0.0.1:1/0",
        mail_url=f"smtp://ada:long-password@127.0.0.1:{mail_server.port}",
        google_client_id="id",
        google_client_secret="secret",
        google_metadata_url="http://127.0.0.1:1/.well-known/openid-configuration",
    )
    found = of_services(app)
    names = ("database", "redis", "mail", "google")
    assert [(found[name].level, bool(found[name].fix)) for name in names] == [("fail", True)] * 4
    assert "long-password" not in str(found)


def test_a_database_without_tables(app_factory: Callable[..., Flask], tmp_path: Path) -> None:
    """Before the migrations the missing ones are named, and what cannot be tried without them ends nothing."""
    app = app_factory(database_url=f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    found = of_services(app)
    assert (found["database"].level, found["migrations"].level) == ("ok", "fail")
    assert (found["migrations"].fix, found["redis"].level) == ("make migrate", "ok")
    assert (found["stores"].level, found["stores"].text) == ("fail", "could not be looked at: OperationalError")


@pytest.fixture
def careless_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that drops keys when memory is short, with CONFIG renamed away as a hardened one has it."""

    class Careless(RedisServer):
        def command(self) -> list[Any]:
            words = list(super().command())
            words[words.index("noeviction")] = "allkeys-lru"
            words[words.index("--appendonly") + 1] = "yes"
            return [*words, "--rename-command", "CONFIG", "", "--maxmemory", "64mb"]

    server = Careless(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


def test_a_redis_that_drops_keys(app_factory: Callable[..., Flask], careless_redis: RedisServer) -> None:
    """The eviction policy is read from INFO, so it is found out where CONFIG cannot be asked."""
    found = of_services(app_factory(redis_url=careless_redis.url))
    assert (found["redis eviction"].level, found["redis eviction"].text.split(":")[0]) == ("fail", "allkeys-lru")
    assert found["redis persistence"].level == "ok"
    assert "of 64" in found["redis memory"].text


def test_what_info_and_the_database_say_is_judged() -> None:
    """A full Redis, a failed append-only file, latin1 and a server in another time zone are found out."""
    info = {
        "maxmemory_policy": "noeviction", "used_memory": 90, "maxmemory": 100, "aof_enabled": 1,
        "aof_last_write_status": "err",
    }  # fmt: skip
    assert levels(service_check.judge_redis(info)) == {
        "redis eviction": "ok",
        "redis memory": "warn",
        "redis persistence": "fail",
    }
    facts = ["10.11", "utf8mb4", "utf8mb4_unicode_ci", "utf8mb4", "+00:00", "SYSTEM", "UTC"]
    assert levels(service_check.judge_database(facts, [])) == {"character set": "ok", "time zone": "ok"}
    for place, value, name, level in (
        (1, "latin1", "character set", "fail"),
        (3, "latin1", "character set", "fail"),
        (4, "SYSTEM", "time zone", "fail"),
        (6, "CET", "time zone", "warn"),
    ):
        changed = [*facts[:place], value, *facts[place + 1 :]]
        assert levels(service_check.judge_database(changed, []))[name] == level


def test_cookies_on_the_wire_are_judged() -> None:
    """A cookie that lacks a flag of production is a failure that names the flag."""
    shut = "__Host-guest=abc; Secure; HttpOnly; Path=/; SameSite=Lax"
    assert service_check.judge_cookie(shut).level == "ok"
    assert service_check.judge_cookie(shut.replace("Secure; ", "")).text == "without Secure"
    assert service_check.judge_cookie("").level == "warn"


# --- The machine ---


def test_the_machine(tmp_path: Path) -> None:
    """A folder that is missing, little memory and a clock that is off are found out."""
    assert machine_check.judge_folder(tmp_path / "missing").level == "fail"
    meminfo = "MemTotal:        1024000 kB\nMemAvailable:     512000 kB\nHugePages_Total:       0\n"
    assert machine_check.judge_memory(meminfo, worker_memory_mb=600).level == "warn"
    assert machine_check.judge_memory(meminfo, worker_memory_mb=300).level == "ok"
    told = {ahead: machine_check.judge_clock("the database", ahead).level for ahead in (-3, 30, -30, 400)}
    assert told == {-3: "ok", 30: "warn", -30: "warn", 400: "fail"}


def test_the_clock_of_another_host() -> None:
    """The Date of an answer tells how far off our clock is; a host that tells none is passed over."""

    class Early(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(404)
            self.send_header("Date", format_datetime(datetime.now(UTC) - timedelta(minutes=5), usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Early)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        offset = machine_check.clock_offset(f"http://127.0.0.1:{server.server_port}/a/path")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert offset == pytest.approx(300, abs=10)
    assert machine_check.clock_offset("http://127.0.0.1:1") is None


# --- The command ---


def test_the_exit_code_is_the_worst() -> None:
    """0 when all is well, 1 with a warning, 2 with a failure."""
    well, warns, fails = (
        Finding("setting", "a", True, ""), Finding("setting", "b", False, "", mild=True),
        Finding("setting", "c", False, ""),
    )  # fmt: skip
    assert [check_production_config.exit_code(found) for found in ([well], [well, warns], [warns, fails])] == [0, 1, 2]


def test_flask_check_as_json(checkout: Path, tmp_path: Path, database_url: str, redis_url: str) -> None:
    """`flask check --json` tells everything in one object, without a secret, and ends with its code."""
    secret = "the secret of this test, 0123456789"
    env = offline_env(
        DATABASE_URL=database_url, REDIS_URL=redis_url, INSTANCE_DIR=str(tmp_path / "instance"), ADMIN_API_KEY=secret,
        GRADIO_URL="http://127.0.0.1:1", NODE_ENV="production", OPENAI_KEY="x",
    )  # fmt: skip
    command = [checkout / ".venv/bin/flask", "--app", "wsgi", "check", "--json"]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=150)
    told = json.loads(done.stdout)
    assert (done.returncode, told["exitCode"]) == (2, 2), done.stderr
    by_name = {(one["kind"], one["name"]): one for one in told["findings"]}
    assert by_name["setting", "NODE_ENV"]["level"] == "warn"
    assert by_name["service", "migrations"]["level"] == "ok"
    assert by_name["engine", "gradio"]["level"] == "fail"
    assert {one["kind"] for one in told["findings"]} == {"setting", "service", "engine", "machine"}
    assert secret not in done.stdout + done.stderr


def test_settings_that_no_process_starts_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong settings of production are a line each with code 2, where the site itself would not start."""
    monkeypatch.setattr(sys, "argv", ["check_production_config"])
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("SECRET_KEY", "changeme")
    monkeypatch.setenv("REDIS_PASWORD", "x")
    assert check_production_config.main() == 2
    lines = capsys.readouterr().out.splitlines()
    assert {tuple(line.split()[:3]) for line in lines[:-1]} == {
        ("warn", "setting", "REDIS_PASWORD"),
        *(("fail", "setting", name) for name in ("SECRET_KEY", "APP_URL", "REDIS_URL", "GRADIO_URL")),
    }
    assert lines[-1] == "0 ok, 1 to look at, 4 that visitors would notice."
    assert "changeme" not in "".join(lines)


def test_variables_of_the_file_and_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are looked at, and the environment wins, as it does for the settings."""
    (tmp_path / ".env").write_text("SITE_NAME=from the file\nREDIS_PASWORD=x\n")
    monkeypatch.setenv("SITE_NAME", "from the environment")
    present = check_production_config.present_variables(tmp_path / ".env")
    assert (present["SITE_NAME"], present["REDIS_PASWORD"]) == ("from the environment", "x")
    assert set(os.environ) <= set(present)
