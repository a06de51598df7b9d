"""`make run`: the whole product on one machine under one process manager; and `make worker`: its workers alone.

Started as `python -m scripts.run [workers]`. The command lines of the processes are in the Procfile.
"""

import argparse
import fcntl
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import requests

from ghibli_flask.proxies import LOOPBACK as DIRECT
from ghibli_flask.settings import Settings, SettingsError, load_settings
from scripts.database_check import database_answers, database_is_up_to_date
from scripts.embedded_redis import find_redis_program, redis_answers, redis_command
from scripts.processes import LOOPBACK, free_port, port_is_free, signal_when_parent_ends, wait_until
from scripts.procfile import ROOT, command_line, process_env, read_procfile
from scripts.space_check import space_answers, space_paints
from scripts.supervisor import ProcessFailedError, Stopped, Supervisor

REDIS_PORT, SPACE_PORT = 6379, 7860
ANY_ADDRESS = {"0.0.0.0": LOOPBACK, "::": "[::1]"}  # noqa: S104 - told to visitors as something they can open.

# Seconds that a process may take to end. An order that is being painted gets 60 s to finish.
STOP_S = {"scheduler": 10.0, "worker": 75.0, "maintenance": 30.0, "web": 40.0, "space": 10.0, "redis": 15.0}
WORKERS = ("worker", "maintenance", "scheduler")
STOP_ORDER = (("scheduler",), ("worker", "maintenance"), ("web",), ("space",), ("redis",))

REDIS_START_S, WEB_START_S, SPACE_START_S, SPACE_WARM_S = 30.0, 60.0, 90.0, 120.0


class CannotRunError(Exception):
    """Something outside of the product is in the way; the text is one line that says what to do."""


class Development:
    """One run of the product from this checkout."""

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self.settings = settings
        self.supervisor = supervisor
        self.commands = read_procfile()
        self.logs = settings.instance_dir / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.env = process_env({**os.environ, "PYTHONUNBUFFERED": "1", "HOST": settings.host})

    def run(self) -> None:
        """Start everything, say where it is, and look after it until asked to stop."""
        self.env["PORT"] = str(choose_port(self.settings))
        with temporary_folder(self.settings.instance_dir) as folder:
            # Every temporary file of every process lands in one folder, which goes when the run ends.
            self.env["TMPDIR"] = str(folder)
            try:
                self.start_everything()
                self.supervisor.watch()
            finally:
                self.supervisor.stop(*STOP_ORDER)

    def start_everything(self) -> None:
        """Start one process after the other and print the address when all of them answer."""
        self.start_redis()
        self.supervisor.run("migrate", ["flask", "--app", "wsgi", "db", "upgrade"], env=self.env, cwd=ROOT)
        first_painting = self.start_space()
        for name in ("web", *WORKERS):
            self.start(name)
        self.wait_for_web()
        self.supervisor.watch(first_painting.done, SPACE_START_S + SPACE_WARM_S)
        if not (first_painting.done() and first_painting.result()):
            self.supervisor.say("The painter has not painted yet, so the first picture may take longer.")
            self.supervisor.say(f"What it says is in {self.logs / 'space.log'}.")
        self.supervisor.say(f"\nReady: {self.address()}\nCtrl-C stops everything.\n")

    def run_workers(self) -> None:
        """Start the workers and the scheduler beside web processes that run elsewhere, and look after them."""
        if not redis_is_set(self.settings):
            raise CannotRunError("REDIS_URL is not set, so the workers have no queue. make run starts everything.")
        self.require_database()
        self.require_redis()
        try:
            for name in WORKERS:
                self.start(name)
            self.supervisor.watch()
        finally:
            self.supervisor.stop(*STOP_ORDER)

    def start(self, name: str, env: Mapping[str, str] | None = None, log: Path | None = None) -> None:
        """Start one line of the Procfile."""
        env = {**self.env, **(env or {})}
        command = command_line(self.commands[name], env)
        self.supervisor.start(name, command, env=env, cwd=ROOT, stop_seconds=STOP_S[name], log=log)

    def start_redis(self) -> None:
        """Use the Redis of the settings, or start one and tell everybody where it is."""
        if redis_is_set(self.settings):
            self.require_redis()
            return
        port = free_port(REDIS_PORT)
        address = f"redis://{LOOPBACK}:{port}/0"
        command = redis_command(find_redis_program(), port, self.settings.instance_dir)
        log = self.logs / "redis.log"
        self.supervisor.start("redis", command, env=self.env, cwd=ROOT, stop_seconds=STOP_S["redis"], log=log)
        if not self.supervisor.watch(lambda: redis_answers(address), REDIS_START_S):
            raise ProcessFailedError(f"Redis does not answer; see {log}.")
        self.env["REDIS_URL"] = address

    def require_database(self) -> None:
        """Check the database of the settings and say so; raises CannotRunError when it cannot be used."""
        address = self.settings.database_address
        named = without_password(address)
        if not database_answers(address):
            raise CannotRunError(f"Nothing answers at the address of the database ({named}).")
        if not database_is_up_to_date(address):
            raise CannotRunError(f"The database ({named}) is not up to date. Run make migrate first.")
        self.supervisor.say(f"The database answers and is up to date ({named}).")

    def require_redis(self) -> None:
        """Check the Redis of the settings and say so; raises CannotRunError when it does not answer."""
        address = self.settings.redis_address
        named = without_password(address)
        if not redis_answers(address):
            raise CannotRunError(f"Nothing answers at REDIS_URL ({named}).")
        self.supervisor.say(f"Redis answers ({named}).")

    def start_space(self) -> Future[bool]:
        """Start the bundled Space unless another one is set; gives whether it has painted its first picture."""
        first_painting: Future[bool] = Future()
        if self.settings.gradio_url:
            first_painting.set_result(True)
            return first_painting
        port = self.settings.space_port or free_port(SPACE_PORT)
        if not port_is_free(port):
            raise CannotRunError(f"SPACE_PORT {port} is taken. Choose another, or leave it out for a free one.")
        address = f"http://{LOOPBACK}:{port}"
        pictures = Path(self.env["TMPDIR"]) / "gradio"
        pictures.mkdir()
        self.bypass_proxies()
        env = {
            "GRADIO_SERVER_NAME": LOOPBACK,
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(pictures),
            # Compiled code is kept, so that only the very first start compiles.
            "NUMBA_CACHE_DIR": str(self.settings.instance_dir / "numba-cache"),
        }
        self.start("space", env, log=self.logs / "space.log")
        self.env["GRADIO_URL"] = address
        self.env["SPACE_PORT"] = str(port)
        threading.Thread(target=try_first_painting, args=(address, first_painting), daemon=True).start()
        return first_painting

    def bypass_proxies(self) -> None:
        """Keep calls to this machine's own Space away from a proxy, which could not reach it."""
        excepted = self.settings.no_proxy
        hosts = f"{excepted},{DIRECT}" if excepted else DIRECT
        self.env |= {"no_proxy": hosts, "NO_PROXY": hosts}

    def wait_for_web(self) -> None:
        """Wait until the web processes answer; raises ProcessFailedError when they do not."""
        if not self.supervisor.watch(lambda: web_answers(self.address()), WEB_START_S):
            raise ProcessFailedError("The web processes do not answer; their lines are above.")

    def address(self) -> str:
        """Give the address to open in a browser on this machine."""
        return f"http://{ANY_ADDRESS.get(self.settings.host, self.settings.host)}:{self.env['PORT']}"


def choose_port(settings: Settings) -> int:
    """Give the wished port, or without a wish the first free one from 3000; CannotRunError when it is taken."""
    if "port" not in settings.model_fields_set:
        return free_port(settings.port, settings.host)
    if not port_is_free(settings.port, settings.host):
        raise CannotRunError(
            f"PORT {settings.port} is taken. Choose another, as in PORT={settings.port + 1} make run, "
            "or leave it out for a free one."
        )
    return settings.port


def redis_is_set(settings: Settings) -> bool:
    """Whether somebody else runs the Redis."""
    return bool(settings.redis_url or settings.redis_host)


def web_answers(address: str) -> bool:
    """Whether the web processes serve requests."""
    with requests.Session() as session:
        session.trust_env = False  # A proxy could not reach a loopback address.
        try:
            return session.get(f"{address}/health", timeout=0.5).ok
        except requests.RequestException:
            return False


def try_first_painting(address: str, outcome: Future[bool]) -> None:
    """Wait until the Space answers, have it paint once, and set the outcome; runs beside the supervisor."""
    answers = wait_until(lambda: space_answers(address), SPACE_START_S)
    outcome.set_result(answers and space_paints(address, SPACE_WARM_S))


def without_password(address: str) -> str:
    """Give an address for people to read, its password left out."""
    return re.sub(r"://[^@/]*@", "://…@", address)


@contextmanager
def temporary_folder(instance_dir: Path) -> Iterator[Path]:
    """Make an empty folder for temporary files, also after a run that was killed, and remove it at the end."""
    folder = instance_dir / "tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lock_checkout(instance_dir: Path) -> IO[str]:
    """Keep a second run from using the same folder; raises CannotRunError when there is one already.

    The kernel drops the lock with the process, however it ends. Keep the file that is given.
    """
    instance_dir.mkdir(parents=True, exist_ok=True)
    lock = (instance_dir / "run.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        raise CannotRunError(
            f"make run is already running in this folder (process {owner}). Stop that one first."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def main() -> int:
    """Run until Ctrl-C or SIGTERM; gives the exit code: 0 after an orderly stop, 1 when it cannot run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["everything", "workers"], default="everything")
    what = parser.parse_args().what
    if "MAKELEVEL" in os.environ:
        # Started by make: when make is killed, this run stops in order instead of going on unseen.
        signal_when_parent_ends(signal.SIGTERM)
    try:
        settings = load_settings()
        supervisor = Supervisor()
        development = Development(settings, supervisor)
        if what == "workers":
            development.run_workers()
        else:
            with lock_checkout(settings.instance_dir):
                development.run()
    except Stopped:
        return 0
    except (SettingsError, CannotRunError, ProcessFailedError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
