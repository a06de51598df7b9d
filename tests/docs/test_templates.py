"""Every template compiles, has a title of its own, and is used."""

import re
from pathlib import Path

import pytest
from flask import Flask

from tests.docs.project import CODE, ROOT, name_of

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
PAGES = [path for path in TEMPLATES if not path.name.startswith("_")]


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_template_compiles(path: Path, app: Flask) -> None:
    """A template parses with the filters and extensions that the application has."""
    app.jinja_env.get_template(path.relative_to(ROOT / "templates").as_posix())


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page_has_a_title(path: Path, app: Flask) -> None:
    """Every page fills the title itself, or the headline that its frame makes the title of: no two tabs look alike."""
    name = path.relative_to(ROOT / "templates").as_posix()
    assert {"title", "headline"} & set(app.jinja_env.get_template(name).blocks)


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_template_is_used(path: Path) -> None:
    """Every template is rendered by a view or taken in by another template."""
    name = path.relative_to(ROOT / "templates").as_posix()
    others = [other.read_text() for other in (*CODE, *TEMPLATES) if other != path]
    assert any(re.search(rf"""["']{re.escape(name)}["']""", text) for text in others)
