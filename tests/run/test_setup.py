"""The set-up scripts: quick when there is nothing to do, and clear about what is missing."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

NEEDED = ("sh", "cat", "cksum", "tr", "grep", "id", "rm", "mkdir", "touch", "dirname")


@pytest.fixture
def few_programs(tmp_path: Path) -> Path:
    """A folder with the basic programs alone, to be the whole PATH: no apt-get, no Python, no servers."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def set_up(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/setup/environment.sh in a folder."""
    command = [ROOT / "scripts/setup/environment.sh", *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=120)


def test_an_environment_is_made_once_for_each_state_of_its_requirements(tmp_path: Path) -> None:
    """The first call makes it, the second does nothing in no time, a changed file or a moved folder asks again."""
    first, moved = tmp_path / "first", tmp_path / "moved"
    first.mkdir()
    requirements = first / "requirements.txt"
    requirements.write_text("# Nothing needed.\n")
    assert "Setting up" in set_up(first, ".venv", "requirements.txt").stdout
    began = time.monotonic()
    assert set_up(first, ".venv", "requirements.txt").stdout == ""
    assert time.monotonic() - began < 5
    requirements.write_text("# Still nothing needed.\n")
    assert "Setting up" in set_up(first, ".venv", "requirements.txt").stdout
    assert len(list((first / ".state").iterdir())) == 1
    first.rename(moved)
    assert "Setting up" in set_up(moved, ".venv", "requirements.txt").stdout
    assert str(moved) in (moved / ".venv/bin/pip").read_text()


def test_a_failed_installation_is_not_taken_for_done(tmp_path: Path) -> None:
    """When pip fails the set-up fails, and the next call tries again."""
    (tmp_path / "requirements.txt").write_text("./no-such-folder\n")
    for _ in range(2):
        done = set_up(tmp_path, ".venv", "requirements.txt")
        assert done.returncode != 0
        assert "Installing requirements.txt failed" in done.stderr
    assert not (tmp_path / ".state").exists()


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    """A Python before 3.11 is named, with the way to choose another one."""
    (tmp_path / "requirements.txt").touch()
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 || exit 1\n')
    old.chmod(0o755)
    done = set_up(tmp_path, ".venv", "requirements.txt", PYTHON=str(old))
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "Python 3.9.2" in done.stderr


def test_missing_venv_says_what_to_install(tmp_path: Path, few_programs: Path) -> None:
    """Where the venv module is missing and nothing may be installed, the packages are named."""
    (tmp_path / "requirements.txt").touch()
    bare = few_programs / "python3"
    bare.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1 ;; esac\n')
    bare.chmod(0o755)
    done = set_up(tmp_path, ".venv", "requirements.txt", PATH=str(few_programs))
    assert done.returncode != 0
    assert "apt-get install python3 python3-venv python3-full" in done.stderr


def test_missing_programs_are_named(tmp_path: Path, few_programs: Path) -> None:
    """Where programs for the tests are missing and nothing may be installed, the packages are named."""
    done = subprocess.run(
        [ROOT / "scripts/setup/system_packages.sh"],
        cwd=tmp_path, env={"PATH": str(few_programs)}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode != 0
    assert "redis-server" in done.stderr
    assert "chromium" in done.stderr
    assert "fonts-noto-cjk" in done.stderr
