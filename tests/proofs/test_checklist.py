"""docs/security.md names every requirement of level 1 in its chapters, and only tests that there are."""

import ast
import re

from tests.docs.project import DOCS, ROOT, table_rows

PAGE = (DOCS / "security.md").read_text()

# The requirements of level 1 of ASVS 5.0.0 in the chapters and sections that the page promises.
LEVEL_1 = {
    "3.2.1", "3.2.2", "3.3.1", "3.4.1", "3.4.2", "3.5.1", "3.5.2", "3.5.3",
    "6.1.1", "6.2.1", "6.2.2", "6.2.3", "6.2.4", "6.2.5", "6.2.6", "6.2.7", "6.2.8", "6.3.1", "6.3.2", "6.4.1", "6.4.2",
    "7.2.1", "7.2.2", "7.2.3", "7.2.4", "7.4.1", "7.4.2",
    "8.1.1", "8.2.1", "8.2.2", "8.3.1",
    "9.1.1", "9.1.2", "9.1.3", "9.2.1",
    "10.4.1", "10.4.2", "10.4.3", "10.4.4", "10.4.5",
}  # fmt: skip


def requirements(cell: str) -> list[str]:
    """The numbers that a cell names; `10.4.1 to 10.4.5` is five of them."""
    first, _to, last = cell.partition(" to ")
    if not last:
        return [first]
    section, begin = first.rsplit(".", 1)
    return [f"{section}.{number}" for number in range(int(begin), int(last.rsplit(".", 1)[1]) + 1)]


def named_tests(path: str) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_requirement_has_its_line() -> None:
    """Each requirement of level 1 stands in the table once, with a test or with the reason why it does not apply."""
    named = []
    for numbers, requirement, proof in table_rows(PAGE, "ASVS"):
        named += requirements(numbers)
        assert requirement
        assert "::test_" in proof or proof.startswith("Does not apply: "), numbers
    assert sorted(named) == sorted(LEVEL_1)


def test_every_named_test_exists() -> None:
    """Whatever test the page names is there, in the file that it names."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) > len(LEVEL_1)
    assert [f"{path}::{name}" for path, name in named if name not in named_tests(path)] == []
