"""`make run`, typed for real in a copy of the checkout: what the tests of this folder start, watch and stop."""

import contextlib
import os
import re
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from scripts.processes import signal_session, start_process, wait_until
from tests.support.checkout import offline_env

READY = re.compile(r"^Ready: (http://\S+)$", re.MULTILINE)
MARK = "MAKE_RUN_MARK"


class MakeRun:
    """One `make run`; every process that it leads to carries a mark, so that none can hide."""

    def __init__(self, checkout: Path, folder: Path, target: str = "run", **settings: str) -> None:
        self.checkout, self.instance_dir = checkout, checkout / "instance"
        self.target = target
        self.home, self.temporary = folder / "home", folder / "tmp"
        for made in (self.home, self.temporary):
            made.mkdir(parents=True, exist_ok=True)
        self.mark = uuid.uuid4().hex
        self.log = folder / f"{self.mark}.log"
        settings = {"HOME": str(self.home), "TMPDIR": str(self.temporary), MARK: self.mark, **settings}
        with self.log.open("wb") as output:
            self.process = start_process(["make", target], env=offline_env(**settings), cwd=checkout, output=output)

    @property
    def output(self) -> str:
        """Give everything printed so far."""
        return self.log.read_text(errors="replace")

    def ready(self, seconds: float = 150.0) -> str:
        """Wait for the ready line and give the address in it."""
        wait_until(lambda: bool(READY.search(self.output)) or self.process.poll() is not None, seconds)
        found = READY.search(self.output)
        if found is None:
            pytest.fail(f"make run did not get ready:\n{self.output}", pytrace=False)
        return found[1]

    def processor_seconds(self) -> float:
        """Give the processor time that the run's processes, and those that they have seen end, have used."""
        ticks = 0
        for pid in self.processes():
            with contextlib.suppress(FileNotFoundError):
                # The command's name, in brackets, may hold blanks; the times are fields 14 to 17 (proc(5)).
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def finish(self, seconds: float = 60.0) -> int:
        """Wait for the end and give the exit code."""
        return self.process.wait(seconds)

    def interrupt(self) -> None:
        """Type Ctrl-C: the terminal sends SIGINT to everything in its foreground."""
        signal_session(self.process.pid, signal.SIGINT)

    @property
    def manager_pid(self) -> int:
        """Give the id of the process manager, as `instance/run.lock` tells it."""
        return int((self.instance_dir / "run.lock").read_text())

    def processes(self) -> dict[int, str]:
        """Give id and command line of every living process that descends from this run."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                folder = (entry / "cwd").readlink()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # It ended meanwhile, or belongs to somebody else.
            # Redis writes its title over its environment, but it works in its own data folder.
            if f"{MARK}={self.mark}".encode() in environment or folder.is_relative_to(self.instance_dir):
                found[int(entry.name)] = command
        return found

    def left_behind(self) -> list[str]:
        """Give what is still there after the end: processes, temporary files, anything in the home folder."""
        wait_until(lambda: not self.processes(), 10)
        folders = [self.home, self.temporary]
        if self.target == "run":
            folders.append(self.instance_dir / "tmp")
        files = [path for folder in folders for path in folder.rglob("*")]
        return [*self.processes().values(), *map(str, files)]

    def clean_up(self) -> None:
        """End everything that a failed test may have left running."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def type_make(checkout: Path, folder: Path, *words: str, **settings: str) -> tuple[int, str]:
    """Run a make command that is expected to end by itself; gives its exit code and what it printed."""
    done = subprocess.run(
        ["make", *words],
        cwd=checkout,
        env=offline_env(HOME=str(folder), TMPDIR=str(folder), **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout
