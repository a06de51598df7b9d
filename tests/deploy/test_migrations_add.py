"""Going back to the release before leaves the database as it is, so a migration may only add."""

import ast
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

# The first one adopts tables of earlier versions, which no release of this one has run on.
VERSIONS = sorted((ROOT / "migrations/versions").glob("*.py"))[1:]
TAKES_AWAY = {"drop_table", "drop_column", "rename_table"}


@pytest.mark.parametrize("file", VERSIONS, ids=lambda path: path.stem)
def test_upgrade_takes_nothing_away(file: Path) -> None:
    """No migration drops or renames a table or a column, so the release before runs on what it leaves."""
    tree = ast.parse(file.read_text())
    upgrade = {node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name != "downgrade"}
    called = {
        call.func.attr
        for function in upgrade
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    }
    assert "upgrade" in {function.name for function in upgrade}
    assert not called & TAKES_AWAY
