"""Whether the machine suits the site: room on disk, memory, and a clock that is right. Called by the config check."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests

from ghibli_flask.services.monitor import LEAST_FREE_BYTES
from ghibli_flask.settings import Settings
from scripts.findings import Finding
from scripts.proxy_check import called_addresses
from scripts.service_check import database_clock
from scripts.setting_check import LOOPBACK

COMFORTABLE_BYTES = 5 * LEAST_FREE_BYTES
WEB_MEMORY_MB = 600
"""Two web processes, the maintenance worker and the scheduler together, measured after sixty orders."""
SLOW_CLOCK_S, WRONG_CLOCK_S = 5.0, 60.0
"""Sign-in with Google and signed addresses of stores stop working when the clock is a few minutes off."""
ASK_S = 5.0
MEMINFO = Path("/proc/meminfo")


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Look at disk, memory and clock. An app context has to be there."""
    for folder in dict.fromkeys((settings.instance_dir, settings.logs)):
        yield judge_folder(folder)
    if MEMINFO.exists():
        yield judge_memory(MEMINFO.read_text(), settings.worker_memory_mb)
    yield from _clock(settings)


def judge_folder(folder: Path) -> Finding:
    """Whether a folder is there, ours to write, and has room."""
    name = f"disk {folder.name}"
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return _not_well(name, f"{folder} is not there, or not ours to write", "Make it, for the user of the service.")
    free = shutil.disk_usage(folder).free
    told = f"{free / 1024**3:.1f} GB free under {folder}"
    if free < COMFORTABLE_BYTES:
        return _not_well(name, told, "Make room, or move it to a larger disk.", mild=free >= LEAST_FREE_BYTES)
    return Finding("machine", name, True, told)


def judge_memory(meminfo: str, worker_memory_mb: int) -> Finding:
    """Whether what /proc/meminfo tells is enough for web, workers and one full painting worker."""
    lines = (line.split(":") for line in meminfo.splitlines() if ":" in line)
    megabytes = {name: int(rest.split()[0]) // 1024 for name, rest in lines if rest.split()}
    total, needed = megabytes.get("MemTotal", 0), WEB_MEMORY_MB + worker_memory_mb
    told = f"{total} MB, {megabytes.get('MemAvailable', 0)} of them free"
    if total < needed:
        fix = "Lower WORKER_MEMORY_MB, or take a larger machine."
        return _not_well("memory", f"{told}; web and one worker may take {needed}", fix, mild=True)
    return Finding("machine", "memory", True, told)


def _clock(settings: Settings) -> Iterator[Finding]:
    """Compare with the database's own clock and with the first host elsewhere that tells the time."""
    theirs = database_clock()
    if theirs:
        yield judge_clock("the database", (datetime.now(UTC) - theirs).total_seconds())
    for url in called_addresses(settings):
        host = urlsplit(url).hostname or ""
        if host not in LOOPBACK and (offset := clock_offset(url)) is not None:
            yield judge_clock(host, offset)
            return
    if theirs is None:
        yield Finding("machine", "clock", True, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC; nobody to compare it with")


def clock_offset(url: str) -> float | None:
    """Seconds by which our clock is ahead of the one behind an address; None when it tells none."""
    parts = urlsplit(url)
    root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    try:
        with requests.get(root, auth=lambda asked: asked, timeout=ASK_S, allow_redirects=False, stream=True) as answer:
            return (datetime.now(UTC) - parsedate_to_datetime(answer.headers["Date"])).total_seconds()
    except (requests.RequestException, KeyError, ValueError, TypeError):
        return None


def judge_clock(whose: str, ahead_s: float) -> Finding:
    """How far our clock is from another one; a second is what a Date header leaves open."""
    told = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s >= 0 else 'behind'} {whose}"
    if abs(ahead_s) <= SLOW_CLOCK_S:
        return Finding("machine", "clock", True, told)
    return _not_well("clock", told, "timedatectl set-ntp true", mild=abs(ahead_s) <= WRONG_CLOCK_S)


def _not_well(name: str, told: str, fix: str, *, mild: bool = False) -> Finding:
    return Finding("machine", name, False, told, fix=fix, mild=mild)
