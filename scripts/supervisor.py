"""Keeps a group of processes running and stops them in order: what `make run` and `make worker` stand on."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from scripts.processes import signal_session, start_process

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)  # The terminal's cyan, yellow, green, magenta, blue and lighter ones.
NAME_WIDTH = 11
TICK_S = 0.1

QUICK_DEATH_S = 10.0
"""A process that lives shorter than this has not really started."""
QUICK_DEATHS = 3
"""So many quick deaths in a row, and everything stops: another try would not help."""
LONGEST_PAUSE_S = 30.0


class Stopped(Exception):
    """Raised out of every waiting call when Ctrl-C or SIGTERM asks the whole group to stop."""


class ProcessFailedError(Exception):
    """A process cannot be kept running; the text is a sentence for the person who started the group."""


@dataclass
class Child:
    """One process of the group and what is needed to start it again."""

    name: str
    command: Sequence[str | Path]
    env: Mapping[str, str]
    cwd: Path
    colour: int
    stop_seconds: float
    log: Path | None
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float | None = None
    quick_deaths: int = 0
    unfinished_line: bytes = field(default=b"", repr=False)


class Supervisor:
    """Starts processes, prints their output line by line under their names, and starts again what dies.

    Everything happens on the calling thread, inside `watch`, `run` and `stop`.
    """

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}
        self._colours = cycle(COLOURS)
        self._in_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._selector = selectors.DefaultSelector()
        self._requests_to_stop = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stop_seconds: float,
        log: Path | None = None,
    ) -> None:
        """Start a process and keep it running.

        `stop_seconds` is how long it may take to end after SIGTERM. With `log` its output goes to that file, made
        anew, instead of the terminal.
        """
        if log is not None:
            log.unlink(missing_ok=True)
        child = Child(name, command, env, cwd, next(self._colours), stop_seconds, log)
        self._children[name] = child
        self._launch(child)

    def run(self, name: str, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> None:
        """Run a command to its end; raises ProcessFailedError when it fails and Stopped when asked to stop."""
        child = Child(name, command, env, cwd, next(self._colours), stop_seconds=10.0, log=None)
        self._launch(child)
        process = child.process
        assert process is not None
        try:
            while process.poll() is None:
                self._pump()
                self._raise_if_asked_to_stop()
        finally:
            self._end([child])
        if process.returncode != 0:
            raise ProcessFailedError(f"{name} failed with exit code {process.returncode}; its lines are above.")

    def watch(self, until: Callable[[], bool] | None = None, seconds: float = float("inf")) -> bool:
        """Look after the processes until the condition holds or the time is over; says whether it holds.

        Raises Stopped when asked to stop and ProcessFailedError when a process cannot be kept running.
        """
        deadline = time.monotonic() + seconds
        while until is None or not until():
            if time.monotonic() >= deadline:
                return False
            self._pump()
            self._raise_if_asked_to_stop()
            for child in self._children.values():
                self._look_after(child)
        return True

    def stop(self, *stages: Sequence[str]) -> None:
        """Stop the named processes stage by stage, then the rest; being asked to stop again kills at once."""
        if self._requests_to_stop:
            self.say("Stopping. An order that is being painted is finished first; Ctrl-C again stops at once.")
        named = [name for stage in stages for name in stage]
        for stage in [*stages, [name for name in self._children if name not in named]]:
            children = [self._children[name] for name in stage if name in self._children]
            self._end(children, hurry=lambda: self._requests_to_stop > 1)

    def say(self, text: str, name: str = "", colour: int = 1) -> None:
        """Print one line under a name, in the name's colour on a terminal."""
        label = f"{name:<{NAME_WIDTH}} | " if name else ""
        if self._in_colour:
            label = f"\x1b[{colour}m{label}\x1b[0m"
        try:
            print(f"{label}{text}", flush=True)
        except OSError:
            # Nobody reads any more (a closed terminal or pipe). The processes still need an orderly stop.
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - stays open until this process ends.
            self._requests_to_stop = max(self._requests_to_stop, 1)

    def _ask_to_stop(self, _number: int, _frame: object) -> None:
        self._requests_to_stop += 1

    def _raise_if_asked_to_stop(self) -> None:
        if self._requests_to_stop:
            raise Stopped

    def _launch(self, child: Child) -> None:
        child.started_at, child.start_again_at = time.monotonic(), None
        if child.log is not None:
            with child.log.open("ab") as log:
                child.process = start_process(child.command, env=child.env, cwd=child.cwd, output=log)
            return
        child.process = start_process(child.command, env=child.env, cwd=child.cwd, output=subprocess.PIPE)
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _look_after(self, child: Child) -> None:
        """Notice that a process has ended, and start it again when its pause is over."""
        if child.start_again_at is not None:
            if time.monotonic() >= child.start_again_at:
                self._launch(child)
            return
        if child.process is None or child.process.poll() is None:
            return
        lived = time.monotonic() - child.started_at
        code = child.process.returncode
        self._end([child])
        child.quick_deaths = child.quick_deaths + 1 if lived < QUICK_DEATH_S else 0
        if child.log is not None:
            for line in child.log.read_text(errors="replace").splitlines()[-10:]:
                self.say(line, child.name, child.colour)
        if child.quick_deaths >= QUICK_DEATHS:
            raise ProcessFailedError(
                f"{child.name} ended {QUICK_DEATHS} times right after its start (exit code {code}); see above."
            )
        pause = min(2.0 ** (child.quick_deaths - 1), LONGEST_PAUSE_S)
        child.start_again_at = time.monotonic() + pause
        self.say(f"ended with exit code {code}; it starts again in {pause:g} s", child.name, child.colour)

    def _end(self, children: Sequence[Child], hurry: Callable[[], bool] = lambda: False) -> None:
        """End these processes together: ask, wait, then kill each session so that nothing of it is left."""
        for child in children:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        asked_at = time.monotonic()
        for child in children:
            if child.process is None:
                continue
            deadline = asked_at + child.stop_seconds
            while child.process.poll() is None and time.monotonic() < deadline and not hurry():
                self._pump()
            signal_session(child.process.pid, signal.SIGKILL)
            child.process.wait()
            self._close_output(child)
            child.process = None

    def _pump(self) -> None:
        """Print what the processes have written; waits a moment for something to come."""
        if not self._selector.get_map():
            time.sleep(TICK_S)
            return
        for key, _ in self._selector.select(TICK_S):
            self._read(key.data)

    def _read(self, child: Child) -> bool:
        """Print the complete lines that a process has written; says whether more may come."""
        assert child.process is not None
        assert child.process.stdout is not None
        chunk = child.process.stdout.read(65536)
        if chunk is None:
            return False
        *lines, child.unfinished_line = (child.unfinished_line + chunk).split(b"\n")
        if not chunk:
            self._selector.unregister(child.process.stdout)
            child.process.stdout.close()
            lines = [child.unfinished_line] if child.unfinished_line else []
            child.unfinished_line = b""
        for line in lines:
            self.say(line.decode(errors="replace").rstrip("\r"), child.name, child.colour)
        return bool(chunk)

    def _close_output(self, child: Child) -> None:
        """Print what is left of an ended process's output."""
        assert child.process is not None
        output = child.process.stdout
        if output is None or output.closed:
            return
        while self._read(child):
            pass
        if not output.closed:
            # Something that left the session still holds the pipe; it has nothing more to tell us.
            self._selector.unregister(output)
            output.close()
