"""Redis, MariaDB and the units of systemd as the files of deploy/ have them."""

import subprocess
from pathlib import Path

import pymysql
import pytest
import redis

from scripts.procfile import read_procfile
from tests.deploy.machine import Machine
from tests.support.checkout import ROOT

UNITS = sorted(path.name for path in (ROOT / "deploy/systemd").iterdir())
SERVICES = [name for name in UNITS if name.endswith(".service")]


def test_redis_keeps_orders(machine: Machine) -> None:
    """Redis refuses rather than forgets, writes down what it holds, wants a password, and has no dangerous words."""
    password = machine.setting("REDIS_PASSWORD")
    with redis.Redis(port=machine.redis_port, password=password) as client:
        info = client.info()
        assert info["maxmemory_policy"] == "noeviction"
        assert (info["aof_enabled"], info["maxmemory"]) == (1, 256 * 1024 * 1024)
        for words in ("CONFIG GET dir", "FLUSHALL", "FLUSHDB", "KEYS *", "DEBUG SLEEP 0"):
            with pytest.raises(redis.ResponseError, match="unknown command"):
                client.execute_command(*words.split())
    with redis.Redis(port=machine.redis_port, retry=None) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_mariadb_speaks_utf8_and_utc(machine: Machine) -> None:
    """MariaDB has our character set, collation, time zone and strict mode, and the database has them too."""
    with pymysql.connect(
        host="127.0.0.1", port=machine.mysql_port, user="ghibli", password=machine.setting("MYSQL_PASSWORD"),
        database="ghibli",
    ) as connection:  # fmt: skip
        cursor = connection.cursor()
        cursor.execute(
            "SELECT @@global.character_set_server, @@collation_database, @@global.time_zone, @@global.local_infile"
        )
        assert cursor.fetchone() == ("utf8mb4", "utf8mb4_unicode_ci", "+00:00", 0)
        cursor.execute("SELECT @@global.sql_mode, @@global.innodb_buffer_pool_size")
        mode, pool = cursor.fetchone()
        assert "STRICT_TRANS_TABLES" in mode
        assert pool == 512 * 1024 * 1024


def test_units_are_right_by_systemd(machine: Machine) -> None:
    """systemd's own check finds nothing in our units, those of the watchdog included."""
    folder = machine.etc / "systemd/system"
    units = [folder / name for name in (*UNITS, "ghibli-monitor.service", "ghibli-monitor.timer")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "ghibli" in line and "ghibli-space" not in line]
    assert complaints == []


@pytest.mark.parametrize("service", SERVICES)
def test_units_are_hardened(machine: Machine, service: str) -> None:
    """systemd rates the exposure of each service as low (at most 3 of 10)."""
    done = subprocess.run(
        [
            "systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager",
            machine.etc / "systemd/system" / service,
        ],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_units_run_what_the_procfile_runs(machine: Machine) -> None:
    """The command lines of the units are those of the Procfile, but for the port, which systemd holds."""
    lines = read_procfile()
    folder = machine.app_dir / "current/.venv/bin"

    def line_of(unit: str) -> str:
        text = (machine.etc / "systemd/system" / unit).read_text()
        return next(line.removeprefix("ExecStart=") for line in text.splitlines() if line.startswith("ExecStart="))

    web = lines["web"].replace(" --bind $HOST:$PORT", "").replace(" --reuse-port", "")
    assert line_of("ghibli-web.service").replace(" --graceful-timeout 30", "") == f"{folder}/{web}"
    assert line_of("ghibli-worker.service") == f"{folder}/{lines['worker']} paint"
    assert line_of("ghibli-maintenance.service") == f"{folder}/{lines['maintenance']}"
    assert line_of("ghibli-scheduler.service") == f"{folder}/{lines['scheduler']}"


def test_secrets_are_for_their_owner(machine: Machine) -> None:
    """Nobody but the service reads the settings, and each installation has long secrets of its own."""
    settings = machine.app_dir / "shared/.env"
    assert settings.stat().st_mode & 0o777 == 0o600
    names = ("SECRET_KEY", "ADMIN_API_KEY", "MYSQL_PASSWORD", "REDIS_PASSWORD")
    values = {machine.setting(name) for name in names}
    assert len(values) == len(names)
    assert all(len(value) == 64 for value in values)
    assert (machine.etc / "redis/redis-ghibli.conf").stat().st_mode & 0o007 == 0
    assert (machine.etc / "ghibli/tls/privkey.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("script", sorted(ROOT.glob("deploy/**/*.sh")), ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    """Every script of deploy/ is clean by shellcheck."""
    done = subprocess.run(
        [ROOT / ".venv/bin/shellcheck", "-x", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
