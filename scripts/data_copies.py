"""Copying the database and Redis out and in again, whatever they are: used by `backup.py` and `restore.py`."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import redis
from sqlalchemy import URL, make_url

from scripts.embedded_redis import find_redis_program
from scripts.processes import wait_until

PARTS = ("database", "redis", "files")
REDIS_FILE = "redis.rdb"
REDIS_STARTS_WITHIN_S = 30.0
KEYS_AT_ONCE = 500


class CopyError(Exception):
    """A part could not be copied; the text is one line for the operator."""


# --- The database ---


def database_file(address: str) -> str:
    """The name that a copy of this database has in a backup."""
    return "database.sqlite3.gz" if _is_sqlite(address) else "database.sql.gz"


def copy_database(address: str, target: Path) -> None:
    """Write the whole database as of one moment to a compressed file; raises CopyError."""
    if _is_sqlite(address):
        _copy_sqlite(address, target)
        return
    with _client_options(address) as (options, name):
        command = [
            _program("mariadb-dump", "mysqldump"), options, "--single-transaction", "--quick", "--skip-lock-tables",
            "--hex-blob", "--routines", "--no-tablespaces", "--default-character-set=utf8mb4", name,
        ]  # fmt: skip
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as dump,
            gzip.open(target, "wb", compresslevel=6) as file,
        ):
            assert dump.stdout is not None
            assert dump.stderr is not None
            shutil.copyfileobj(dump.stdout, file, 1 << 20)
            complaint = dump.stderr.read().decode(errors="replace")
        if dump.returncode != 0:
            raise CopyError(f"the database was not dumped: {_first_line(complaint)}")


def put_database(address: str, source: Path) -> None:
    """Replace everything in the database by a copy; raises CopyError."""
    if _is_sqlite(address):
        _put_sqlite(address, source)
        return
    with _client_options(address) as (options, name):
        client = [_program("mariadb", "mysql"), options, "--default-character-set=utf8mb4", name]
        # Also the tables that the copy does not know: a later upgrade makes them again and must not find them there.
        tables = _run([*client, "--batch", "--skip-column-names", "--execute", "SHOW TABLES"]).split()
        drops = "".join(f"DROP TABLE IF EXISTS `{table}`;\n" for table in tables)
        with gzip.open(source, "rb") as file, subprocess.Popen(
            client, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as load:  # fmt: skip
            assert load.stdin is not None
            assert load.stderr is not None
            with contextlib.suppress(BrokenPipeError):
                load.stdin.write(f"SET FOREIGN_KEY_CHECKS=0;\n{drops}SET FOREIGN_KEY_CHECKS=1;\n".encode())
                shutil.copyfileobj(file, load.stdin, 1 << 20)
                load.stdin.close()
            complaint = load.stderr.read().decode(errors="replace")
        if load.returncode != 0:
            raise CopyError(f"the database was not loaded: {_first_line(complaint)}")


def _is_sqlite(address: str) -> bool:
    return make_url(address).get_backend_name() == "sqlite"


def _sqlite_file(address: str) -> Path:
    return Path(make_url(address).database or "")


def _copy_sqlite(address: str, target: Path) -> None:
    source = _sqlite_file(address)
    if not source.exists():
        raise CopyError(f"there is no {source}")
    plain = target.with_suffix("")
    with (
        contextlib.closing(sqlite3.connect(source)) as database,
        contextlib.closing(sqlite3.connect(plain)) as copy,
    ):
        database.backup(copy)
    with plain.open("rb") as file, gzip.open(target, "wb") as packed:
        shutil.copyfileobj(file, packed)
    plain.unlink()


def _put_sqlite(address: str, source: Path) -> None:
    target = _sqlite_file(address)
    fresh = target.with_name(f"{target.name}.restored")
    with gzip.open(source, "rb") as packed, fresh.open("wb") as file:
        shutil.copyfileobj(packed, file)
    for rest in ("-wal", "-shm"):  # They belong to what is replaced.
        target.with_name(target.name + rest).unlink(missing_ok=True)
    fresh.replace(target)


@contextlib.contextmanager
def _client_options(address: str) -> Iterator[tuple[str, str]]:
    """An option for MariaDB's programs that tells them whom to ask, and the database's name.

    The password goes by a file, because every user of the machine sees the words of a command line.
    """
    url: URL = make_url(address)
    lines = ["[client]", f"host={url.host}", f"port={url.port or 3306}", f"user={url.username}"]
    quoted = (url.password or "").replace("\\", "\\\\").replace('"', '\\"')
    lines.append(f'password="{quoted}"')
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as file:  # Made for its owner alone.
        file.write("\n".join(lines) + "\n")
        file.flush()
        yield f"--defaults-file={file.name}", url.database or ""


# --- Redis ---


def copy_redis(address: str, target: Path) -> None:
    """Write everything in Redis as of one moment to a compressed file; raises CopyError."""
    parts = urlsplit(address)
    plain = target.with_suffix("")
    command = [
        _program("redis-cli", "valkey-cli"), "-h", parts.hostname or "127.0.0.1", "-p", str(parts.port or 6379),
        "--no-auth-warning", "--rdb", str(plain),
    ]  # fmt: skip
    password = {"REDISCLI_AUTH": unquote(parts.password)} if parts.password else {}
    _run(command, env={**os.environ, **password})
    with plain.open("rb") as file, gzip.open(target, "wb") as packed:
        shutil.copyfileobj(file, packed)
    plain.unlink()


def put_redis(address: str, source: Path) -> int:
    """Write every key of a copy to Redis; others stay. Gives how many there were; raises CopyError."""
    with _redis_of_copy(source) as copy, redis.Redis.from_url(address) as live:
        keys = list(copy.scan_iter(count=KEYS_AT_ONCE))
        for first in range(0, len(keys), KEYS_AT_ONCE):
            with live.pipeline(transaction=False) as pipeline:
                for key in keys[first : first + KEYS_AT_ONCE]:
                    packed = copy.dump(key)
                    if packed is not None:  # It may have expired since.
                        pipeline.restore(key, max(0, int(copy.pttl(key))), packed, replace=True)
                try:
                    pipeline.execute()
                except redis.RedisError as error:
                    raise CopyError(f"Redis did not take the keys: {error}") from error
    return len(keys)


@contextlib.contextmanager
def _redis_of_copy(source: Path) -> Iterator[redis.Redis]:
    """A server for the length of the block that has loaded a copy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with gzip.open(source, "rb") as packed, (folder / REDIS_FILE).open("wb") as file:
            shutil.copyfileobj(packed, file)
        socket = folder / "socket"
        command = [
            str(find_redis_program()), "--port", "0", "--unixsocket", str(socket), "--dir", name,
            "--dbfilename", REDIS_FILE, "--appendonly", "no", "--save", "",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                with redis.Redis(unix_socket_path=str(socket)) as client:
                    if not wait_until(lambda: _has_loaded(client), REDIS_STARTS_WITHIN_S):
                        raise CopyError("no Redis could load the copy")
                    yield client
            finally:
                server.terminate()


def _has_loaded(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


# --- Programs ---


def _program(*names: str) -> str:
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise CopyError(f"the program {names[0]} is missing")


def _run(command: Sequence[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CopyError(f"{Path(command[0]).name}: {_first_line(done.stderr or done.stdout)}")
    return done.stdout


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "it said nothing")
