"""The product on four machines: what docs/scale.md promises, while two of them are cut off in the middle."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.processes import signal_session, start_process
from tests.scale.machines import way_to_namespaces
from tests.support.checkout import ROOT

WALKED_WITHIN_S = 400

Report = dict[str, Any]


@pytest.fixture(scope="module")
def report(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One walk over all machines, in network namespaces where the kernel lets us make some, else in processes."""
    folder, way = tmp_path_factory.mktemp("machines"), way_to_namespaces()
    flags = ["--in-namespaces"] if way else []
    command = [*way, sys.executable, "-m", "tests.scale.walk", checkout, folder / "town", *flags]
    printed = folder / "walk.log"
    with printed.open("wb") as output:
        process = start_process(command, env=os.environ, cwd=ROOT, output=output)
    try:
        code = process.wait(WALKED_WITHIN_S)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        signal_session(process.pid, signal.SIGKILL)
        process.wait()
    said = printed.read_text(errors="replace").splitlines()
    assert code == 0, "\n".join(["the walk did not end", *said[-40:]])
    found: Report = json.loads(said[-1])
    print("\n".join([f"machines: {found['machines']}", *found["lines"]]))
    return found


@pytest.mark.timeout(WALKED_WITHIN_S + 60)
@pytest.mark.parametrize(
    "chapter",
    [
        pytest.param("one_visit", id="greeted and ordered at one machine, polled and seen at the other"),
        pytest.param("one_account", id="signed in at one, known at the other, signed out at both"),
        pytest.param("one_order", id="one order sent to both at once is one task"),
        pytest.param("one_cancel", id="cancelled from the other machine"),
        pytest.param("one_limit", id="limits count over both machines"),
        pytest.param("one_purse", id="tokens are leased from one purse"),
        pytest.param("crowd", id="orders are taken while two machines are cut off"),
        pytest.param("repair", id="the other worker paints what was stranded"),
        pytest.param("comeback", id="a worker that comes back overwrites nothing and works on"),
        pytest.param("books", id="nothing lost, nothing charged twice, no file astray"),
    ],
)
def test_several_machines_are_one_site(report: Report, chapter: str) -> None:
    """Each chapter of the walk, whose sentence stands in walk.py, ends without a complaint."""
    assert report["chapters"][chapter] == []


def test_the_walk_has_no_other_chapter(report: Report) -> None:
    """Every chapter that is walked is judged above, and it is said on what kind of machines."""
    assert len(report["chapters"]) == 10
    assert report["machines"]
