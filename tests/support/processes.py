"""How the tests are dealt out where several processes run them (`pytest -n 3`): tests/conftest.py hands this over."""

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/browser", "tests/deploy", "tests/run")
"""Folders that one process runs alone: they keep a site and a browser, install a server, and type `make run`."""


class ByFile(LoadScopeScheduling):
    """Whole files, in the order of their names, because their tests share servers; some folders whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        folder = str(PurePosixPath(file).parent)
        return folder if folder in TOGETHER else file
