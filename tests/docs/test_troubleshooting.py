"""docs/troubleshooting: both languages say the same, every command is there, and it points to the cause when tried."""

import re
import subprocess
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from ghibli_flask import errors
from ghibli_flask.task_states import Outcome
from tests.docs.project import DOCS, ROOT, code_words, prose, table_rows
from tests.docs.test_interface import CALLS, PAGES, is_app_error
from tests.support.checkout import offline_env
from tests.support.member import EMAIL, member
from tests.support.runs import paint

ENGLISH = (DOCS / "troubleshooting.md").read_text()
CHINESE = (DOCS / "troubleshooting.zh-CN.md").read_text()
NOBODY = "127.0.0.1:1"


def blocks(page: str) -> list[str]:
    """What a page gives to type, in order."""
    return re.findall(r"^```\w*\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def words(page: str) -> set[str]:
    """What stands between backticks, and each line that can be typed."""
    return {*code_words(prose(page)), *(line for block in blocks(page) for line in block.splitlines())}


def test_both_languages_have_the_same_symptoms() -> None:
    """The Chinese page has as many symptoms as the English one, with the same commands under each."""
    parts = [re.split(r"^## ", page, flags=re.MULTILINE) for page in (ENGLISH, CHINESE)]
    assert [blocks(part) for part in parts[0]] == [blocks(part) for part in parts[1]]


def test_both_languages_name_the_same_things() -> None:
    """Under each symptom both languages name the same commands, settings, answers and files."""
    parts = [re.split(r"^## ", page, flags=re.MULTILINE) for page in (ENGLISH, CHINESE)]
    for english, chinese in zip(*parts, strict=True):
        assert sorted(code_words(prose(english))) == sorted(code_words(prose(chinese))), english.splitlines()[0]


def test_every_symptom_begins_with_a_command() -> None:
    """Nobody has to read on to find what to type."""
    for part in re.split(r"^## ", ENGLISH, flags=re.MULTILINE)[1:]:
        assert blocks(part), part.splitlines()[0]


def test_scripts_and_units_are_there() -> None:
    """Every script that the page names is in the project, and every unit in deploy/systemd or set up by a script."""
    told = words(ENGLISH)
    scripts = {name for word in told for name in re.findall(r"(?<!/)\b((?:scripts|deploy)/[\w.]+\.(?:py|sh))", word)}
    assert scripts
    assert [name for name in sorted(scripts) if not (ROOT / name).exists()] == []
    units = {name for word in told for name in re.findall(r"\bghibli-[a-z]+(?:\.[a-z]+)?", word)}
    made = (ROOT / "scripts/monitoring_setup.sh").read_text()
    for unit in units:
        name = unit if "." in unit else f"{unit}.service"
        assert (ROOT / "deploy/systemd" / name).exists() or name in made or f"/cron.d/{unit}" in made, unit


def test_options_are_known(app: Flask) -> None:
    """Every flask command on the page is there and takes the options that it is shown with."""
    told = {
        match for word in words(ENGLISH) for match in re.findall(r"flask (?:--app wsgi )?([a-z]+) ([a-z-]+)(.*)", word)
    }
    assert {(group, command) for group, command, _ in told} >= {("credits", "reconcile"), ("tokens", "status")}
    for group, command, rest in told:
        found = app.cli.commands[group].commands[command]
        known = {option for parameter in found.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, f"flask {group} {command}{rest}"


def test_settings_are_settings() -> None:
    """Every name in capitals is a setting, under its name of today or an older one."""
    rows = list(table_rows((DOCS / "settings.md").read_text(), "variable"))
    settings = {name for row in rows for name in code_words(row[0]) + code_words(row[1])}
    told = {name for word in words(ENGLISH) for name in re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", word)}
    assert told - settings == set()


def test_addresses_and_codes_are_real() -> None:
    """Every address of ours that the page names answers, and every code of a refusal is one that is sent."""
    routes = {name.split()[1] for name in CALLS | PAGES}
    told = {
        match for word in code_words(prose(ENGLISH)) for match in re.findall(r"^/(?:api|admin|account)[a-z/-]*$", word)
    }
    assert {path for path in told if path not in routes and path != "/api/"} == set()
    codes = {cls.code for cls in vars(errors).values() if is_app_error(cls)}
    assert {"too_large", "invalid_fields", "schema_outdated"} <= codes & words(ENGLISH) | {
        "invalid_fields",
        "schema_outdated",
    }


# What is broken, by the settings that break it; the line of the page; what it then says.
TRIED = (
    (
        {"REDIS_URL": f"redis://{NOBODY}/0"},
        "scripts/check_status.sh | grep redis",
        r"redis +NOT WELL  Redis does not answer",
    ),
    (
        {"DATABASE_URL": f"mysql+pymysql://a:b@{NOBODY}/c"},
        "scripts/check_status.sh | grep database",
        r"database +NOT WELL  The database does not answer",
    ),
    (
        {"GRADIO_URL": f"http://{NOBODY}"},
        ".venv/bin/python scripts/check_engines.py --engine gradio",
        r"gradio +FAILS .*All connection attempts failed",
    ),
    (
        {"API_TOKEN": " copied with a line end\n"},
        ".venv/bin/python scripts/check_production_config.py 2>&1 | grep -i blanks",
        r"api_token had blanks or line ends",
    ),
    (
        {"HTTP_PROXY": f"http://{NOBODY}", "NO_PROXY": "localhost", "GRADIO_URL": "http://paint.example.org"},
        ".venv/bin/python scripts/check_production_config.py | grep -i proxy",
        r"proxy +http://127\.0\.0\.1:1 .*does not carry calls to paint\.example\.org",
    ),
    (
        {"APP_ENV": "production", "APP_URL": f"http://{NOBODY}", "SECRET_KEY": "k3Jd0aQmVtYxH1sZ8uRfLwk3Jd0aQmVtYx"},
        ".venv/bin/python scripts/check_production_config.py | grep -E 'APP_URL|SECRET_KEY|cookies|TRUSTED_PROXIES'",
        r"APP_URL +is no https address",
    ),
    ({}, ".venv/bin/python scripts/fix_stuck_tasks.py --dry-run", r"dry sweep, nothing done: failed 0"),
)


@pytest.mark.parametrize(("broken", "line", "said"), TRIED, ids=[line for _, line, _ in TRIED])
def test_a_command_points_to_the_cause(
    checkout: Path, tmp_path: Path, database_url: str, redis_url: str, broken: dict[str, str], line: str, said: str
) -> None:
    """With one thing broken, the line of the page names it."""
    assert line in words(ENGLISH)
    whole = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "GRADIO_URL": f"http://{NOBODY}"}
    env = offline_env(**whole | {"INSTANCE_DIR": str(tmp_path)} | broken)
    done = subprocess.run(["sh", "-c", line], cwd=checkout, env=env, capture_output=True, text=True, timeout=90)
    assert re.search(said, done.stdout), done.stdout + done.stderr


def test_sql_shows_what_is_wrong(each_database: str, app: Flask, database_url: str) -> None:
    """On both databases the statements show a balance that was changed by hand, its books, and a lost refund."""
    differs, statement, lost = blocks(ENGLISH.split("## Credits look wrong")[1])[1:4]
    ada = member(app)
    painted, failed = ada.ordered(), ada.ordered()
    paint(app, painted)
    paint(app, failed, Outcome.FAILED, "internal")
    engine = create_engine(database_url)
    try:
        with engine.begin() as connection:
            assert connection.execute(text(differs)).all() == []
            assert connection.execute(text(lost)).all() == []
            booked = connection.execute(text(statement.replace("ada@example.org", EMAIL))).all()
            assert [(row.kind, row.amount) for row in booked] == [
                ("opening", 30), ("charge", -1), ("charge", -1), ("refund", 1),
            ]  # fmt: skip
            connection.execute(text("UPDATE users SET monthly_credits = 99"))
            connection.execute(text("DELETE FROM credit_entries WHERE kind = 'refund'"))
        with engine.connect() as connection:
            assert [(row.email, row.balance, row.entries) for row in connection.execute(text(differs))] == [
                (EMAIL, 99, 28)
            ]
            assert [row.public_id for row in connection.execute(text(lost))] == [failed]
    finally:
        engine.dispose()
