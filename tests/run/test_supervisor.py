"""The supervisor under `make run`: what it does when processes die, and how it stops them."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.processes import wait_until
from scripts.supervisor import ProcessFailedError, Stopped, Supervisor

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ENV: dict[str, str] = {"PYTHONUNBUFFERED": "1"}
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
POLITE = """
import signal, sys, time
def leave(*_):
    with open(sys.argv[1], 'a') as file:
        file.write(sys.argv[2] + ' ')
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print('up')
time.sleep(60)
"""


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """A supervisor; the signal handlers that it takes over are given back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    supervisor = Supervisor()
    yield supervisor
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # Twice: whatever a failed test left running is killed at once.
    supervisor.stop()
    for number, handler in before.items():
        signal.signal(number, handler)


def start(supervisor: Supervisor, name: str, folder: Path, code: str, *arguments: str, seconds: float = 10) -> None:
    """Start a Python program under the supervisor."""
    command = [sys.executable, "-c", code, *arguments]
    supervisor.start(name, command, env=ENV, cwd=folder, stop_seconds=seconds)


def test_a_process_that_dies_is_started_again(
    supervisor: Supervisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A death is told with its exit code, and the process is started again after a pause."""
    marker = tmp_path / "marker"
    code = "import pathlib, sys, time; m = pathlib.Path('marker'); sys.exit(7) if not m.exists() else time.sleep(60)"
    start(supervisor, "worker", tmp_path, code)
    said = ""

    def told() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return "ended with exit code 7; it starts again in 1 s" in said

    assert supervisor.watch(told, 10)
    marker.touch()
    assert not supervisor.watch(lambda: False, 2.0)  # It raises if the process died again.


def test_a_process_that_always_dies_stops_everything(supervisor: Supervisor, tmp_path: Path) -> None:
    """After three quick deaths another try would not help: the group ends with a sentence."""
    start(supervisor, "web", tmp_path, "raise SystemExit(3)")
    with pytest.raises(ProcessFailedError, match=r"web ended 3 times right after its start \(exit code 3\)"):
        supervisor.watch(seconds=30)


def test_processes_stop_in_order(supervisor: Supervisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each stage has ended before the next one is asked to; what no stage names goes last."""
    for name in ("redis", "web", "worker"):
        start(supervisor, name, tmp_path, POLITE, "order", name)
    said = ""

    def all_up() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return said.count("| up") == 3

    assert supervisor.watch(all_up, 10)
    supervisor.stop(("worker",), ("web",))
    assert (tmp_path / "order").read_text().split() == ["worker", "web", "redis"]


def test_a_second_request_to_stop_kills_at_once(
    supervisor: Supervisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One Ctrl-C waits for what is in hand; the second one does not wait for a process that will not end."""
    start(supervisor, "worker", tmp_path, STUBBORN, seconds=60)
    assert supervisor.watch(lambda: "up" in capsys.readouterr().out, 10)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(Stopped):
        supervisor.watch(seconds=5)
    signal.raise_signal(signal.SIGINT)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10


def test_nothing_of_a_session_outlives_its_process(supervisor: Supervisor, tmp_path: Path) -> None:
    """What a process has started goes with it, also from a process group of its own."""
    code = (
        "import subprocess, time; child = subprocess.Popen(['sleep', '60'], process_group=0); "
        "open('child', 'w').write(str(child.pid)); time.sleep(60)"
    )
    start(supervisor, "worker", tmp_path, code)
    note = tmp_path / "child"
    assert supervisor.watch(lambda: note.exists() and note.read_text() != "", 10)
    supervisor.stop()
    assert wait_until(lambda: not runs(int(note.read_text())), 5)


def runs(pid: int) -> bool:
    """Whether a process is alive; one that has ended but has not been collected has no command line any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def test_a_command_that_fails_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    """A step of the start that fails ends the start with its name and exit code."""
    with pytest.raises(ProcessFailedError, match="migrate failed with exit code 5"):
        supervisor.run("migrate", [sys.executable, "-c", "raise SystemExit(5)"], env=ENV, cwd=tmp_path)
