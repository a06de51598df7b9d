"""Reading the project's own texts and sources: what the tests of this folder share."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

TEXTS = (ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md")))
"""Every page that people read."""

CODE = tuple(sorted(path for folder in ("ghibli_flask", "jobs") for path in (ROOT / folder).rglob("*.py")))
"""Every module of the two packages that run on a server."""

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    """A file's name as people write it, from the project's root."""
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """The targets of all Markdown links and pictures of a page, code blocks left out."""
    return _LINK.findall(prose(text))


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings have where Markdown is shown: lower case, blanks as dashes."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def table_rows(text: str, first_header: str) -> Iterator[list[str]]:
    """The cells of the rows of the one table whose first column is called `first_header`."""
    _, header, rest = text.partition(f"| {first_header} |")
    assert header, f"There is no table that begins with {first_header}."
    for line in rest.splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def code_words(cell: str) -> list[str]:
    """What stands between backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)
