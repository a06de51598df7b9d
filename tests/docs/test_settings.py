"""The table of settings, `.env.example` and the code say the same, and nothing else reads the environment."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from pydantic import AliasChoices

from ghibli_flask.settings import ROOT as PROJECT
from ghibli_flask.settings import Settings
from tests.docs.project import CODE, DOCS, ROOT, code_words, name_of, table_rows

# Who may touch the environment beside settings.py, and why.
EXCEPTIONS = {
    "ghibli_flask/proxies.py": "hands the settings' proxy to the libraries, which look for it there; reads nothing",
    "jobs/engines/gradio_session.py": "switches telemetry off, which gradio_client and huggingface_hub read while they "
    "are imported; it only sets what nobody has set, and reads nothing",
}
SETTINGS = ROOT / "ghibli_flask" / "settings.py"
EXAMPLE = ROOT / ".env.example"
TABLE = list(table_rows((DOCS / "settings.md").read_text(), "variable"))
VALUES = {
    "APP_URL": "https://a.example",
    "NEXTAUTH_URL": "https://b.example",
    "NEXT_PUBLIC_APP_URL": "https://c.example",
    "SECRET_KEY": "first",
    "NEXTAUTH_SECRET": "second",
    "TASK_PROCESS_SECRET_KEY": "one",
    "INTERNAL_API_KEY": "two",
    "API_SECRET_KEY": "three",
}


def fields() -> dict[str, tuple[list[str], Any]]:
    """Each variable of the class by its first name: its older names and its default."""
    found = {}
    for field_name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names = [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [field_name.upper()]
        found[names[0]] = (names[1:], field.default)
    return found


def written(default: Any) -> str:
    """How a default is written in the table."""
    if default in (None, (), ""):
        return "none"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default.relative_to(PROJECT) if isinstance(default, Path) else default}`"


def test_table_lists_exactly_the_settings() -> None:
    """docs/settings.md names every setting that the class reads, in its order, and no other."""
    assert [code_words(row[0])[0] for row in TABLE] == list(fields())


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_table_tells_names_and_default(row: list[str]) -> None:
    """A row of the table tells the older names and the default that the class has."""
    older, default = fields()[code_words(row[0])[0]]
    assert code_words(row[1]) == older
    assert row[2] == written(default)


def test_example_lists_exactly_the_settings() -> None:
    """.env.example has one line for each setting, in the class's order, and each is commented out."""
    lines = EXAMPLE.read_text().splitlines()
    assert [match[1] for line in lines if (match := re.match(r"#([A-Z0-9_]+)=", line))] == list(fields())
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_example_explains_each_setting_in_one_line() -> None:
    """Above each line of .env.example stands one line that says what it does."""
    lines = EXAMPLE.read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"#[A-Z0-9_]+=", line):
            assert re.match(r"# [A-Z].{10,}", before), line


def test_example_holds_the_defaults(tmp_path: Path) -> None:
    """With every line of .env.example in force, the settings are the ones of an empty environment."""
    env = tmp_path / ".env"
    env.write_text(re.sub(r"^#(?=[A-Z0-9_]+=)", "", EXAMPLE.read_text(), flags=re.MULTILINE))
    assert set(dotenv_values(env)) == set(fields())
    assert Settings(_env_file=env) == Settings(_env_file=None)


@pytest.mark.parametrize("name", [name for first, (older, _) in fields().items() for name in (first, *older) if older])
def test_older_names_keep_working(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting is read under its name and under each of its older ones."""
    monkeypatch.setenv(name, VALUES[name])
    settings = Settings(_env_file=None)
    assert VALUES[name] in (settings.app_url, *settings.secret_key, settings.task_process_secret_key)


def test_the_newest_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a setting is given under several names, the documented one counts."""
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    settings = Settings(_env_file=None)
    assert (settings.app_url, settings.secret_key) == ("https://a.example", ("first",))
    assert settings.task_process_secret_key == "one"


def touches_environment(path: Path) -> bool:
    """Whether a module takes `environ` or `getenv` from anywhere, by attribute or by import."""
    words = {"environ", "environb", "getenv", "getenvb", "dotenv_values", "load_dotenv"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in words:
            return True
        if isinstance(node, ast.ImportFrom) and any(alias.name in words for alias in node.names):
            return True
    return False


def test_only_the_settings_read_the_environment() -> None:
    """No module of the application or the workers reads the environment; the exceptions are named above."""
    entries = (*CODE, ROOT / "wsgi.py", ROOT / "worker.py")
    assert {name_of(path) for path in entries if touches_environment(path)} == set(EXCEPTIONS)


def test_exceptions_read_nothing() -> None:
    """The modules that may touch the environment only set values in it."""
    for name in EXCEPTIONS:
        text = (ROOT / name).read_text()
        sets = re.findall(r"os\.environ\.(?:setdefault|update)\(", text)
        assert len(re.findall(r"environ(?!ment|_proxies)", text)) == len(sets)


def attributes_read(tree: ast.AST, owner: str) -> Iterator[str]:
    """The names read from whatever is called `owner`: `settings.x`, `run.settings.x`, `self.settings.x`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base = node.value
            called = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
            if called == owner:
                yield node.attr


def test_every_setting_is_used() -> None:
    """Each setting is read outside settings.py, itself or through a property of the class that reads it."""
    properties = {
        node.name: set(attributes_read(node, "self"))
        for node in ast.walk(ast.parse(SETTINGS.read_text()))
        if isinstance(node, ast.FunctionDef) and any(getattr(d, "id", "") == "property" for d in node.decorator_list)
    }
    users = [path for path in (*CODE, *sorted((ROOT / "scripts").glob("*.py"))) if path != SETTINGS]
    used = {name for path in users for name in attributes_read(ast.parse(path.read_text()), "settings")}
    while deeper := {inner for name in used & properties.keys() for inner in properties[name]} - used:
        used |= deeper
    assert set(Settings.model_fields) - used == set()
