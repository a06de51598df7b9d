"""Stands in for systemd, whose manager must be the first process of a machine and so cannot run in a test.

It reads the real unit files and obeys what the scripts of deploy/ ask of systemctl(1): start, stop, restart,
reload-or-restart, reload, enable, disable, daemon-reload, as systemd.service(5), systemd.socket(5) and systemd.kill(5)
tell. Sockets are opened by it and handed over (sd_listen_fds(3)); a unit of Type=notify has started when it says so
(sd_notify(3)). Timers are noted and never elapse. It keeps no unit alive: Restart= is systemd's own.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.processes import _die_with_parent, signal_session

CLIENT = """#!/usr/bin/env python3
import json, socket, sys
with socket.socket(socket.AF_UNIX) as manager:
    manager.connect({address!r})
    manager.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    answer = json.loads(manager.makefile().readline())
print(answer["said"], end="", file=sys.stderr)
sys.exit(answer["code"])
"""
NOTIFY_WITHIN_S = 60.0


class UnitError(Exception):
    """What systemctl would complain about."""


class Manager:
    """The units of one folder; `external` are the command lines of units that packages bring."""

    def __init__(
        self, folder: Path, units: Path, external: Mapping[str, Sequence[str | Path]], env: Mapping[str, str]
    ) -> None:
        self.folder, self._units, self._external, self._env = folder, units, external, env
        self.enabled: set[str] = set()
        self.calls: list[list[str]] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._sockets: dict[str, socket.socket] = {}
        folder.mkdir(parents=True)
        address = str(folder / "systemctl.socket")
        client = folder / "bin/systemctl"
        client.parent.mkdir()
        client.write_text(CLIENT.format(address=address))
        client.chmod(0o755)
        manager = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                manager._answer(self)

        self._server = socketserver.UnixStreamServer(address, Handler)
        # One thread, because the kernel ties the lives of processes to the thread that started them.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop everything."""
        self._stop([name for name in self._processes if name.startswith("ghibli")])
        self._stop(list(self._processes))
        for listener in self._sockets.values():
            listener.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def log(self, unit: str) -> str:
        """What a unit has printed."""
        return (self.folder / f"{unit}.log").read_text(errors="replace")

    def pid(self, unit: str) -> int:
        """The main process of a unit that runs."""
        return self._processes[unit].pid

    def is_active(self, unit: str) -> bool:
        """Whether a unit's main process lives."""
        return unit in self._processes and self._processes[unit].poll() is None

    # --- Commands ---

    def _answer(self, request: socketserver.StreamRequestHandler) -> None:
        words = json.loads(request.rfile.readline())
        self.calls.append(words)
        try:
            self._obey([word for word in words if not word.startswith("--")], now="--now" in words)
            answer = {"code": 0, "said": ""}
        except UnitError as error:
            answer = {"code": 1, "said": f"{error}\n"}
        request.wfile.write(json.dumps(answer).encode() + b"\n")

    def _obey(self, words: list[str], *, now: bool) -> None:
        verb, units = words[0], words[1:]
        if verb in {"enable", "disable"}:
            for unit in units:
                self._read(unit)
                (self.enabled.add if verb == "enable" else self.enabled.discard)(unit)
            verb = {"enable": "start", "disable": "stop"}[verb] if now else "daemon-reload"
        if verb in {"stop", "restart"}:
            self._stop(units)
        if verb in {"start", "restart", "reload-or-restart"}:
            for unit in units:
                if self.is_active(unit) and verb == "reload-or-restart":
                    self._reload(unit)
                else:
                    self._start(unit)
        elif verb == "reload":
            for unit in units:
                self._reload(unit)
        elif verb not in {"stop", "daemon-reload"}:
            raise UnitError(f"Unknown command verb {verb}.")

    def _reload(self, unit: str) -> None:
        if not self.is_active(unit):
            raise UnitError(f"{unit} is not active, cannot reload.")
        os.kill(self.pid(unit), signal.SIGHUP)

    def _start(self, unit: str) -> None:
        if self.is_active(unit):
            return
        kind = unit.rpartition(".")[2]
        if kind == "socket":
            self._listen(unit)
        elif kind == "service":
            self._launch(unit)
        else:
            self._read(unit)

    def _listen(self, unit: str) -> None:
        if unit in self._sockets:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host, _colon, port = self._read(unit)["ListenStream"][0].partition(":")
        listener.bind((host, int(port)))
        listener.listen(int(self._read(unit)["Backlog"][0]))
        self._sockets[unit] = listener

    def _launch(self, unit: str) -> None:
        facts = self._read(unit)
        for required in (name for words in facts["Requires"] for name in words.split()):
            self._start(required)
        command = shlex.split(facts["ExecStart"][0])
        env = dict(self._env)
        env |= dict(assignment.split("=", 1) for assignment in facts["Environment"])
        listener = self._sockets.get(unit.replace(".service", ".socket"))

        def prepare() -> None:
            _die_with_parent()
            os.umask(int((facts["UMask"] or ["0022"])[0], 8))
            if listener is not None:
                os.dup2(listener.fileno(), 3)

        if listener is not None:
            env["LISTEN_FDS"] = "1"
            command = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command]
        notifies = facts["Type"] == ["notify"]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            if notifies:
                env["NOTIFY_SOCKET"] = str(self.folder / f"{time.monotonic_ns()}.notify")
                ready.bind(env["NOTIFY_SOCKET"])
            with (self.folder / f"{unit}.log").open("ab") as log:
                self._processes[unit] = subprocess.Popen(
                    command,
                    cwd=(facts["WorkingDirectory"] or ["/"])[0],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=prepare,
                    pass_fds=(3,) if listener is not None else (),
                )
            if notifies:
                self._wait_until_ready(unit, ready)

    def _wait_until_ready(self, unit: str, ready: socket.socket) -> None:
        ready.settimeout(0.2)
        deadline = time.monotonic() + NOTIFY_WITHIN_S
        while time.monotonic() < deadline and self.is_active(unit):
            try:
                if b"READY=1" in ready.recv(4096):
                    return
            except TimeoutError:
                continue
        raise UnitError(f"Job for {unit} failed. The end of its log:\n{self.log(unit)[-2000:]}")

    def _stop(self, units: Sequence[str]) -> None:
        """Ask all of them at once, then wait for each: the main process first, the others of it after (mixed)."""
        asked = []
        for unit in units:
            if unit in self._sockets:
                self._sockets.pop(unit).close()
                self._stop([unit.replace(".socket", ".service")])
            elif unit in self._processes:
                process = self._processes.pop(unit)
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                asked.append((process, float((self._read(unit)["TimeoutStopSec"] or ["90"])[0])))
        for process, patience in asked:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
            signal_session(process.pid, signal.SIGKILL)
            process.wait()

    # --- Unit files ---

    def _read(self, unit: str) -> defaultdict[str, list[str]]:
        """The settings of a unit, each with all its values."""
        facts: defaultdict[str, list[str]] = defaultdict(list)
        if unit in self._external:
            facts["ExecStart"] = [shlex.join(str(word) for word in self._external[unit])]
            facts["Type"] = ["exec" if unit == "nginx.service" else "notify"]
            return facts
        file = self._units / unit
        if not file.exists():
            raise UnitError(f"Unit {unit} not found.")
        for line in file.read_text().splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                facts[name].append(value)
        return facts
