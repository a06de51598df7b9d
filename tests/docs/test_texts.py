"""What README and docs/ say can be followed: links resolve, commands exist, pictures of the code are true."""

import re
from pathlib import Path

import pytest
from flask import Flask

from ghibli_flask.database import db
from ghibli_flask.task_states import Stage, TaskState
from tests.docs.project import DOCS, ROOT, TEXTS, anchors, code_words, links, name_of, prose, table_rows

ARCHITECTURE = (DOCS / "architecture.md").read_text()
LAYOUT = re.search(r"## Layout\n+```\n(.*?)```", ARCHITECTURE, re.DOTALL)[1]
DECISIONS = sorted(path for path in (DOCS / "decisions").glob("*.md") if path.name != "README.md")
EVERY_TEXT = pytest.mark.parametrize("path", TEXTS, ids=name_of)
EVERY_DECISION = pytest.mark.parametrize("path", DECISIONS, ids=name_of)


@EVERY_TEXT
def test_links_resolve(path: Path) -> None:
    """Every link to a file or a heading of the project leads to one that is there."""
    for link in links(path.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@EVERY_TEXT
def test_make_commands_exist(path: Path) -> None:
    """Every `make something` that a page tells people to type is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = path.read_text()
    told = {*re.findall(r"`make ([a-z-]+)", text), *re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)}
    assert told - targets == set()


def test_readme_tells_the_two_commands() -> None:
    """README shows `make run` and `make test` as blocks that can be copied."""
    blocks = re.findall(r"^```\n(.*?)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert {"make run", "make test"} <= set(blocks)


def test_make_help_and_development_page_agree() -> None:
    """docs/develop.md tells every target that `make` alone lists, but for those that only set up or tell."""
    listed = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {code_words(row[0])[0].split()[1] for row in table_rows((DOCS / "develop.md").read_text(), "command")}
    assert listed - {"help", "setup", "setup-test"} == told


def test_flask_commands_exist(app: Flask) -> None:
    """Every `flask group command` that a page tells people to type is a command of the application."""
    told = {match for path in TEXTS for match in re.findall(r"`flask ([a-z]+) ([a-z-]+)`", path.read_text())}
    assert told
    for group, command in told:
        assert command in app.cli.commands[group].commands, f"flask {group} {command}"


@EVERY_DECISION
def test_decision_has_an_index_entry(path: Path) -> None:
    """Every record stands in the index under its number and with the words of its own title."""
    number, title = path.read_text().splitlines()[0].removeprefix("# ").split(" ", 1)
    assert path.name.startswith(f"{number}-")
    assert f"| [{number}]({path.name}) | {title} |" in (DOCS / "decisions" / "README.md").read_text()


@EVERY_DECISION
def test_decision_names_both_sides(path: Path) -> None:
    """Every record tells the question, at least two options, the decision, and what is good and bad about it."""
    parts = re.findall(r"^\*\*(\w+)\.\*\*", path.read_text(), re.MULTILINE)
    assert parts == ["Question", "Options", "Decision", "Good", "Bad"]
    assert len(re.findall(r"^\d\. ", path.read_text(), re.MULTILINE)) >= 2


def test_layout_names_what_is_there() -> None:
    """The layout in docs/architecture.md names each module and package of the core and each module of the jobs."""
    core, jobs = re.search(
        r"^ghibli_flask/.*?\n(.*?)^jobs/.*?\n(.*?)^space/", LAYOUT, re.MULTILINE | re.DOTALL
    ).groups()
    assert named(core) == present(ROOT / "ghibli_flask")
    assert named(jobs) == present(ROOT / "jobs")


def named(block: str) -> set[str]:
    """The files and folders that lines of the layout begin with; pure tables share a line."""
    names: set[str] = set()
    for line in block.splitlines():
        names.update(re.findall(r"[a-z_0-9]+(?:\.py\b|/)", re.split(" {3,}", line.strip())[0]))
    return names


def present(package: Path) -> set[str]:
    """The modules and sub-packages of a package."""
    modules = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    return modules | {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}


def test_layout_names_the_services() -> None:
    """The layout names every service, and only those."""
    told = re.search(r"services/ .*?: (.*)", LAYOUT)[1].split()
    assert set(told) == {path.stem for path in (ROOT / "ghibli_flask/services").glob("*.py")} - {"__init__"}


def test_states_and_stages_are_told() -> None:
    """Every state is in the picture of the states, every stage and every word for a state in docs/api.md."""
    picture = re.search(r"## States and fencing\n+```\n(.*?)```", ARCHITECTURE, re.DOTALL)[1]
    assert {state.value for state in TaskState} - set(re.findall(r"[a-z]+", picture)) == set()
    assert {stage.value for stage in Stage} - set(code_words(prose((DOCS / "api.md").read_text()))) == set()


def test_photographs_are_credited() -> None:
    """docs/photographs/LICENSES.md names the maker and the licence of every photograph that is shipped."""
    rows = list(table_rows((DOCS / "photographs/LICENSES.md").read_text(), "File"))
    shipped = {path.name for path in (DOCS / "photographs").iterdir()} - {"LICENSES.md"}
    assert {code_words(row[0])[0] for row in rows} == shipped
    assert all(row[2] and row[3] for row in rows)


def test_tables_are_told() -> None:
    """docs/architecture.md names the tables that the models have, and no other."""
    told = re.search(r"Tables: (.*?)\.", ARCHITECTURE)[1]
    assert set(code_words(told)) == set(db.metadata.tables)
