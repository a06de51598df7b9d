"""The test bed itself: what the tests must not see and must not reach."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from ghibli_flask.settings import Settings
from tests.support.checkout import ROOT, offline_env
from tests.support.no_network import loopback_only


def test_this_process_cannot_leave_the_machine() -> None:
    """A call to another machine is refused before a name is looked up, and remembered."""
    with pytest.raises(requests.ConnectionError, match=r"The tests may not reach example\.org"):
        requests.get("http://example.org/", timeout=5)
    assert loopback_only.attempts == ["example.org"]
    loopback_only.attempts.clear()


def test_processes_of_the_tests_cannot_leave_the_machine() -> None:
    """A process that a test starts is refused in the same way."""
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run([sys.executable, "-c", code], env=offline_env(), capture_output=True, text=True, timeout=30)
    assert "The tests may not reach 192.0.2.1" in done.stderr


def test_no_setting_of_the_developer_reaches_the_tests(checkout: Path) -> None:
    """Neither the environment nor `.env` of whoever runs the tests changes what they see."""
    assert not {name.upper() for name in Settings.model_fields} & set(os.environ)
    assert not (checkout / ".env").exists()
    assert checkout.resolve() != ROOT


def test_a_skipped_test_fails(tmp_path: Path) -> None:
    """A test that skips itself is reported as failed, with its reason: nothing is left out silently."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_runtest_makereport\n")
    (tmp_path / "test_one.py").write_text("import pytest\ndef test_one(): pytest.skip('a part is missing')\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert "1 failed" in done.stdout
    assert "Skipping is not allowed" in done.stdout
    assert "a part is missing" in done.stdout
