"""A real server process for the length of a test session: the base of every server in the test bed."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from scripts.processes import signal_session, start_process, wait_until


class Server:
    """One process, started with a log file, waited for until it answers, and stopped by its own id."""

    name = "server"
    start_seconds = 30.0
    stop_seconds = 15.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str | Path]:
        """Give the command line."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the server is ready for its first client."""
        raise NotImplementedError

    def env(self) -> Mapping[str, str]:
        """Give the environment: by default the tests' own, which conftest.py has emptied of settings."""
        return os.environ

    def cwd(self) -> Path:
        """Give the working directory."""
        return self.folder

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Give the id of the running process."""
        if self._process is None:
            raise RuntimeError(f"{self.name} has not been started.")
        return self._process.pid

    def launch(self) -> None:
        """Start the process without waiting for it."""
        if self.running:
            return
        with self.log.open("ab") as output:
            self._process = start_process(self.command(), env=self.env(), cwd=self.cwd(), output=output)

    def wait(self) -> None:
        """Wait until the server answers; one that does not is a failure that shows the end of its log."""
        ready = wait_until(lambda: not self.running or self.answers(), self.start_seconds)
        if not ready or not self.running:
            self.stop()
            pytest.fail(f"{self.name} did not start. The end of {self.log}:\n{self.tail()}", pytrace=False)

    def start(self) -> None:
        """Start the server and wait until it answers. Nothing happens when it runs already."""
        self.launch()
        self.wait()

    def stop(self) -> None:
        """End the server in order; kill it when it does not end by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        signal_session(process.pid, signal.SIGCONT)  # A paused process could not act on the next signal.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.stop_seconds)
        signal_session(process.pid, signal.SIGKILL)
        process.wait()

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            signal_session(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freeze the server: connections still open, answers never come."""
        if self._process is not None:
            signal_session(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        if self._process is not None:
            signal_session(self._process.pid, signal.SIGCONT)

    def tail(self, lines: int = 30) -> str:
        """Give the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def find_program(*names: str, package: str) -> str:
    """Give the path of the first of these programs that is installed; fail saying what to install."""
    for name in names:
        # Servers live in /usr/sbin, which is not on everybody's PATH.
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if path is not None:
            return path
    pytest.fail(f"{names[0]} is missing. On Debian and Ubuntu: apt-get install {package}", pytrace=False)
