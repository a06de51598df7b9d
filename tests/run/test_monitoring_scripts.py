"""The shell scripts and the watchdog, run for real: start, stop, overview, set-up, rotation, and repair of the dead."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from ghibli_flask.database import reading, transaction
from ghibli_flask.models import ImageTask
from scripts import watchdog
from scripts.processes import wait_until
from tests.support.checkout import ROOT, offline_env
from tests.support.http_sink import http_sink
from tests.support.redis_server import RedisServer
from tests.support.visitor import Visitor

ROLES = ("paint", "maintenance", "scheduler")
SCRIPTS = sorted(ROOT.glob("scripts/*.sh")) + sorted(ROOT.glob("scripts/setup/*.sh"))


class Machine:
    """A machine with the product on it: its scripts, and the processes that they started."""

    def __init__(self, checkout: Path, app: Flask, redis_url: str, database_url: str, **settings: str) -> None:
        self.checkout, self.app = checkout, app
        self.instance = Path(app.instance_path)
        self.env = offline_env(
            INSTANCE_DIR=str(self.instance),
            REDIS_URL=redis_url,
            DATABASE_URL=database_url,
            GRADIO_URL="http://127.0.0.1:1",
            **settings,
        )

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the project to its end."""
        python = [self.checkout / ".venv/bin/python"] if words[0].endswith(".py") else []
        return subprocess.run(
            [*python, self.checkout / "scripts" / words[0], *words[1:]],
            cwd="/", env={**self.env, **env}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def pids(self) -> dict[str, int]:
        """The worker processes by the pid files."""
        return {file.stem: int(file.read_text()) for file in (self.instance / "run").glob("*.pid")}

    def alive(self, pid: int) -> bool:
        """Whether a process is alive; one that has ended but was not collected has no command line any more."""
        try:
            return b"worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return False

    def kill_all(self) -> None:
        """End every worker at once, as a crash would."""
        for pid in self.pids().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill(self, role: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one worker."""
        os.kill(self.pids()[role], number)

    def is_heard(self, role: str) -> bool:
        """Whether Redis knows of a role's present process."""
        with self.app.app_context():
            return watchdog._HEARD[role](self.pids()[role]) is not None


@pytest.fixture
def machine(checkout: Path, app: Flask, redis_url: str, database_url: str) -> Iterator[Machine]:
    """A machine on the database and Redis of the test; what was started there is ended with the test."""
    machine = Machine(checkout, app, redis_url, database_url)
    yield machine
    machine.kill_all()


# --- The words themselves ---


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    """Every shell script is clean by shellcheck."""
    done = subprocess.run(
        [ROOT / ".venv/bin/shellcheck", "-x", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


# --- Start, overview, stop ---


def test_start_look_and_stop(machine: Machine) -> None:
    """The three workers start once, are seen, and stop warm; a wrong word and a stopped worker are told."""
    assert machine.run("start_worker.sh", "painting").returncode == 2
    done = machine.run("start_worker.sh")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" started (process ") == 3
    pids = machine.pids()
    assert set(pids) == set(ROLES)
    assert all(machine.alive(pid) for pid in pids.values())
    assert machine.run("start_worker.sh").stdout.count("runs already") == 3
    assert machine.pids() == pids
    assert wait_until(lambda: all(machine.is_heard(role) for role in ROLES), 30)

    overview = machine.run("check_status.sh")
    assert overview.stdout.count("well      process ") == 3, overview.stdout
    assert re.search(r"^workers +well +1 painting", overview.stdout, re.MULTILINE)
    assert re.search(r"^redis +well", overview.stdout, re.MULTILINE)

    stopped = machine.run("stop_worker.sh")
    assert (stopped.returncode, stopped.stdout.count(" stopped.")) == (0, 3), stopped.stderr
    assert not any(machine.alive(pid) for pid in pids.values())
    assert machine.pids() == {}
    assert machine.run("stop_worker.sh").stdout.count("does not run") == 3
    assert machine.run("start_worker.sh", "--again").stdout.count("was stopped on purpose") == 3
    assert (machine.instance / "logs/worker-paint.log").exists()
    overview = machine.run("check_status.sh")
    assert overview.returncode == 1
    assert "NOT WELL  No painting worker is heard of." in overview.stdout


def test_a_worker_that_cannot_run_is_told(machine: Machine) -> None:
    """A worker that ends right after its start is told with the file that says why; wrong settings with the line."""
    done = machine.run("start_worker.sh", "scheduler", MONITOR_CRON="often")
    assert done.returncode == 2
    assert "MONITOR_CRON: must be a cron line" in done.stderr


# --- The watchdog ---


def stuck_order(app: Flask) -> str:
    """An order whose deadline is over."""
    task_id = Visitor(app).ordered()
    late = datetime.now(UTC) - timedelta(minutes=5)
    with app.app_context():
        transaction(lambda session: session.execute(update(ImageTask).values(deadline_at=late)))
    return task_id


def state_of(app: Flask, task_id: str) -> tuple[str, int]:
    """What became of an order, and whether it was given back."""
    with app.app_context(), reading() as session:
        task = session.scalars(select(ImageTask).where(ImageTask.public_id == task_id)).one()
        return task.status, task.refunded


def test_all_workers_killed(machine: Machine) -> None:
    """With every worker dead the watchdog gives the stuck order back, starts all three again, and tells it."""
    assert machine.run("start_worker.sh").returncode == 0
    before = machine.pids()
    machine.kill_all()
    assert wait_until(lambda: not any(machine.alive(pid) for pid in before.values()), 10)
    task_id = stuck_order(machine.app)
    with http_sink() as hook:
        done = machine.run("monitor_tasks.py", ALERT_WEBHOOK_URL=hook.url)
    assert done.returncode == 1, done.stderr
    assert state_of(machine.app, task_id) == ("failed", 1)
    for role in ROLES:
        assert f"The {role} worker on {socket.gethostname()} was dead and was started again." in done.stdout
    after = machine.pids()
    assert set(after) == set(ROLES)
    assert not set(after.values()) & set(before.values())
    assert wait_until(lambda: all(machine.is_heard(role) for role in ROLES), 30)
    causes = {message["cause"] for message in hook.messages}
    assert causes >= {"dead_worker", "no_maintenance_worker", "scheduler_silent"}
    assert "[scripts.watchdog] The paint worker" in (machine.instance / "logs/task-monitor.log").read_text()

    # With everybody heard of again there is nothing to do, and it says so.
    again = machine.run("monitor_tasks.py")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "monitor: all well"), again.stdout
    assert machine.pids() == after


def test_silent_is_not_dead_at_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen worker is started again once it was silent for long enough, and neither young nor speaking ones are."""
    assert machine.run("start_worker.sh", "paint").returncode == 0
    assert wait_until(lambda: machine.is_heard("paint"), 30)
    pid = machine.pids()["paint"]
    paint = watchdog.ROLES[0]
    monkeypatch.setattr(watchdog, "ROOT", machine.checkout)
    monkeypatch.setattr(watchdog, "LOOK_AGAIN_FOR_S", 0.5)
    monkeypatch.setattr(watchdog, "LOOK_EVERY_S", 0.1)
    for name, value in machine.env.items():
        monkeypatch.setenv(name, value)
    with machine.app.app_context():
        assert watchdog.look_after_workers() == []
        machine.kill("paint", signal.SIGSTOP)
        assert watchdog.look_after_workers() == [], "It was heard of a moment ago."
        monkeypatch.setattr(watchdog, "ROLES", (watchdog.Role("paint", paint.unit, 1.0, paint.cause),))
        monkeypatch.setattr(watchdog, "END_WITHIN_S", 0.2)
        time.sleep(1.0)
        (restart,) = watchdog.look_after_workers()
    assert restart.worked
    assert restart.text.endswith("was silent and was started again.")
    assert not machine.alive(pid)
    assert machine.alive(machine.pids()["paint"])


def test_without_redis_nobody_is_called_silent(machine: Machine, redis_server: RedisServer) -> None:
    """With Redis away living workers are left alone, and the watchdog still runs."""
    assert machine.run("start_worker.sh", "paint").returncode == 0
    pids = machine.pids()
    redis_server.stop()
    done = machine.run("monitor_tasks.py")
    assert done.returncode == 1
    assert "redis: Redis does not answer." in done.stdout
    assert machine.pids() == pids
    assert machine.alive(pids["paint"])


def test_without_database_it_still_runs(machine: Machine) -> None:
    """With the database away dead workers are started again all the same."""
    assert machine.run("start_worker.sh", "scheduler").returncode == 0
    machine.kill("scheduler")
    pid = machine.pids()["scheduler"]
    assert wait_until(lambda: not machine.alive(pid), 10)
    done = machine.run("monitor_tasks.py", DATABASE_URL="mysql+pymysql://nobody@127.0.0.1:1/none")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "sweep: the database does not answer" in done.stdout
    assert machine.pids()["scheduler"] != pid


def test_wrong_settings_end_it(machine: Machine) -> None:
    """With a setting that is wrong neither script works, and says which in one line."""
    for script in ("monitor_tasks.py", "fix_stuck_tasks.py", "check_status.sh"):
        done = machine.run(script, SWEEP_CRON="often")
        assert done.returncode == 2
        assert "SWEEP_CRON: must be a cron line" in done.stderr


SYSTEMCTL = """#!/bin/sh
# Stands in for systemctl(1), whose manager cannot run in a test: is-enabled ends with 0 for an enabled unit and 1 for
# others, `show --property=MainPID --value` prints an id or 0, restart says nothing.
echo "$*" >>"$0.calls"
case $1 in
    is-enabled) [ "$3" = ghibli-worker.service ] ;;
    show) echo 0 ;;
    restart) ;;
esac
"""


def test_units_are_restarted_by_systemd(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a worker is an enabled unit and no pid file is there, systemd is asked to restart it."""
    program = tmp_path / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with app.app_context():
        (restart,) = watchdog.look_after_workers()
    assert (restart.role.name, restart.worked) == ("paint", True)
    assert (tmp_path / "bin/systemctl.calls").read_text().splitlines()[:3] == [
        "is-enabled --quiet ghibli-worker.service",
        "show --property=MainPID --value ghibli-worker.service",
        "restart ghibli-worker.service",
    ]


# --- fix_stuck_tasks.py ---


def test_fix_stuck(machine: Machine, redis_server: RedisServer) -> None:
    """It needs only the database, tells first what it would do, does it, and its exit code says what is left."""
    task_id = stuck_order(machine.app)
    redis_server.stop()
    dry = machine.run("fix_stuck_tasks.py", "--dry-run")
    assert (dry.returncode, dry.stdout) == (
        1,
        "dry sweep, nothing done: failed 1, requeued 0, rung 0, wishes kept 0, expired 0, files deleted 0\n",
    ), dry.stderr
    assert state_of(machine.app, task_id) == ("queued", 0)
    done = machine.run("fix_stuck_tasks.py")
    swept = "sweep: failed 1, requeued 0, rung 0, wishes kept 0, expired 0, files deleted 0\n"
    assert (done.returncode, done.stdout) == (0, swept), done.stderr
    assert state_of(machine.app, task_id) == ("failed", 1)
    assert machine.run("fix_stuck_tasks.py", "--dry-run").returncode == 0
    away = machine.run("fix_stuck_tasks.py", DATABASE_URL="mysql+pymysql://nobody@127.0.0.1:1/none")
    assert (away.returncode, away.stderr.splitlines()[-1]) == (2, "sweep: the database does not answer")


def test_fix_stuck_by_age(app: Flask) -> None:
    """--older-than takes orders that have time left; a duration that cannot be read is refused."""
    runner = app.test_cli_runner()
    task_id = Visitor(app).ordered()
    accepted = datetime.now(UTC) - timedelta(minutes=10)
    with app.app_context():
        transaction(lambda session: session.execute(update(ImageTask).values(created_at=accepted)))
    for words, code, failed in (("11m", 0, 0), ("1h", 0, 0), ("660s", 0, 0), ("9", 0, 1), ("0m", 0, 0)):
        done = runner.invoke(args=["tasks", "fix-stuck", "--older-than", words])
        assert (done.exit_code, f"failed {failed}," in done.output) == (code, True), (words, done.output)
    assert state_of(app, task_id) == ("failed", 1)
    for words in ("soon", "3d", "-1"):
        assert runner.invoke(args=["tasks", "fix-stuck", "--older-than", words]).exit_code == 2


# --- Set-up and rotation ---


@pytest.fixture
def prefix(machine: Machine, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run monitoring_setup.sh with its files below a folder of the test."""
    return lambda *words: machine.run("monitoring_setup.sh", "--prefix", str(tmp_path / "system"), *words)


def installed(tmp_path: Path) -> dict[str, str]:
    """What is below the prefix."""
    folder = tmp_path / "system"
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_cron_runs_the_watchdog(
    machine: Machine, prefix: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The line that cron gets runs the watchdog for real; a second set-up changes nothing, --uninstall takes all."""
    first = prefix("--cron")
    assert first.returncode == 0, first.stderr
    files = installed(tmp_path)
    assert set(files) == {"etc/cron.d/ghibli-monitor", "etc/logrotate.d/ghibli"}
    assert (machine.instance / "logs").stat().st_mode & 0o777 == 0o750
    times, user, command = re.search(
        r"^((?:[*/\d]+ ){5})(\S+) (.*)$", files["etc/cron.d/ghibli-monitor"], re.M
    ).groups()
    assert (times, user) == ("*/5 * * * * ", machine.checkout.owner())
    done = subprocess.run(["sh", "-c", command], cwd="/", env=machine.env, timeout=60)
    assert done.returncode == 1, "Nobody works on this machine, and it says so."
    assert "sweep: failed 0" in (machine.instance / "logs/watchdog.log").read_text()

    second = prefix("--cron")
    assert "written" not in second.stdout
    assert installed(tmp_path) == files
    assert prefix("--uninstall").returncode == 0
    assert installed(tmp_path) == {}
    assert prefix("--uninstall").returncode == 0
    assert (machine.instance / "logs/watchdog.log").exists()


def test_systemd_takes_the_place_of_cron(
    machine: Machine, prefix: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The units are right by systemd's own check, and only one of the two ways is installed at a time."""
    prefix("--cron")
    assert prefix("--systemd").returncode == 0
    files = installed(tmp_path)
    units = {f"etc/systemd/system/ghibli-monitor.{kind}" for kind in ("service", "timer")}
    assert set(files) == {*units, "etc/logrotate.d/ghibli"}
    assert f"ExecStart={machine.checkout}/.venv/bin/python {machine.checkout}/scripts/monitor_tasks.py" in "".join(
        files.values()
    )
    prefix("--cron")
    assert set(installed(tmp_path)) == {"etc/cron.d/ghibli-monitor", "etc/logrotate.d/ghibli"}
    assert prefix("--sometimes").returncode == 2
    assert prefix("--user", "nobody-of-that-name").returncode == 2


def test_logs_are_rotated(
    machine: Machine, prefix: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """logrotate takes the configuration, and lines written after a rotation are in the new file."""
    prefix("--cron")
    logs = machine.instance / "logs"
    machine.run("fix_stuck_tasks.py")
    (logs / "worker-paint.log").write_text("what the shell opened\n")
    program = "/usr/sbin/logrotate"
    command = [program, "--force", "--state", tmp_path / "state", tmp_path / "system/etc/logrotate.d/ghibli"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sweep: failed 0" in (logs / "task-monitor.log.1").read_text()
    assert (logs / "task-monitor.log").read_text() == ""
    assert (logs / "worker-paint.log").read_text() == ""
    machine.run("fix_stuck_tasks.py")
    assert "sweep: failed 0" in (logs / "task-monitor.log").read_text()
