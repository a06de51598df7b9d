"""`flask storage check`: a real file to every store and back, a line each."""

import pytest

from tests.storage.conftest import AppWith, entries
from tests.support.standins.imgbb import UPLOAD, WRONG_KEY, ImgBBStandIn
from tests.support.standins.r2 import R2StandIn


def test_every_store_is_tried(app_with: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn) -> None:
    """Each store that takes files is written, read and deleted, and nothing stays but what expires in two minutes."""
    app = app_with(r2, imgbb, store_order=("r2", "imgbb", "local"))
    result = app.test_cli_runner().invoke(args=["storage", "check"])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["r2", "works"], ["imgbb", "works"], ["local", "works"]]
    assert all(line.endswith(" s)") for line in lines)
    assert {method for method, _, _ in r2.heard} == {"PUT", "GET", "DELETE"}
    assert r2.s3.keys() == []
    assert imgbb.expirations == [120]


@pytest.mark.parametrize("broken", ["PUT", "GET", "DELETE"])
def test_a_store_that_fails_is_named(app_with: AppWith, r2: R2StandIn, imgbb: ImgBBStandIn, broken: str) -> None:
    """The command ends with 1 and says on one line what went wrong; the file of the try is left to the cleanup."""
    app = app_with(r2, imgbb)
    r2.faults = {broken: "error"}
    imgbb.next(UPLOAD, WRONG_KEY)
    result = app.test_cli_runner().invoke(args=["storage", "check"])
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()
    word = {"PUT": "write", "GET": "read", "DELETE": "delete"}[broken]
    assert first.startswith(f"r2       r2: cannot {word} checks/")
    assert second.startswith("imgbb    imgbb: refused with status 400: Invalid API v1 key.")
    with app.app_context():
        assert {entry.store for entry in entries()} == {"r2", "imgbb"}
