"""`scripts/restore.sh`: puts back what `scripts/backup.py` has kept, with the site stopped."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Found through the line above, so that an operator may start this file from anywhere.
from redis.exceptions import RedisError

from ghibli_flask import queueing
from ghibli_flask.factory import create_app
from ghibli_flask.settings import ROOT, Settings, SettingsError, load_settings
from scripts.backup import MANIFEST, checksum
from scripts.data_copies import PARTS, REDIS_FILE, CopyError, copy_database, database_file, put_database, put_redis

RESTORED, INCOMPLETE, UNTOUCHED = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Put a backup back; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="one backup")
    parser.add_argument("--only", action="append", choices=PARTS, help="leave the other parts as they are")
    parser.add_argument("--yes", action="store_true", help="the site is stopped, and the database may be replaced")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
    except SettingsError as error:
        print(f"The settings need another look:\n{error}", file=sys.stderr)
        return UNTOUCHED
    folder = options.folder.resolve()
    objection = _objection(settings, folder, agreed=options.yes)
    if objection:
        print(objection, file=sys.stderr)
        return UNTOUCHED
    kept = json.loads((folder / MANIFEST).read_text())["parts"]
    return _restore(settings, folder, [part for part in kept if part in (options.only or PARTS)])


def _objection(settings: Settings, folder: Path, *, agreed: bool) -> str | None:
    """Why nothing may be touched; None when all is right."""
    if not agreed:
        return "This replaces the database. Stop the site and say --yes."
    try:
        told = json.loads((folder / MANIFEST).read_text())
        broken = [name for name, wanted in told["sha256"].items() if checksum(folder / name) != wanted]
    except (OSError, ValueError, KeyError) as error:
        return f"{folder} is no backup: {error}"
    if broken:
        return f"Not as it was written: {', '.join(broken)}."
    if "database" in told["parts"] and not (folder / database_file(settings.database_address)).exists():
        return "That backup is of another kind of database than the settings name."
    with create_app(settings).app_context():
        load = queueing.load()
        if load is not None and load.workers:
            return "A painting worker is at work. Stop the site first; a worker that was killed is forgotten in 30 s."
    return None


def _restore(settings: Settings, folder: Path, parts: list[str]) -> int:
    put: dict[str, Callable[[], str]] = {
        "database": lambda: _put_database(settings, folder),
        "files": lambda: _put_files(folder / "files", settings.instance_dir / "files"),
        "redis": lambda: f"{put_redis(settings.redis_address, folder / f'{REDIS_FILE}.gz')} keys",
    }
    code = RESTORED
    for part in parts:
        try:
            print(f"{part}: {put[part]()}")
        except (CopyError, OSError, RedisError) as error:
            print(f"{part}: {error}", file=sys.stderr)
            code = INCOMPLETE
    return code


def _put_database(settings: Settings, folder: Path) -> str:
    """Keep what is there, replace it, and bring it up to this code."""
    address = settings.database_address
    before = folder.parent / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-before-restore.{database_file(address)}"
    try:
        copy_database(address, before)
        told = f"what it held before is in {before}"
    except CopyError as error:
        before.unlink(missing_ok=True)
        told = f"what it held before could not be kept ({error})"
    put_database(address, folder / database_file(address))
    upgrade = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    done = subprocess.run(upgrade, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CopyError(f"it is back, but flask db upgrade failed: {done.stderr.strip().splitlines()[-1]}")
    return f"replaced; {told}"


def _put_files(source: Path, target: Path) -> str:
    """Copy what is missing; nothing is ever replaced, because a stored file never changes."""
    count = 0
    for path in source.rglob("*"):
        place = target / path.relative_to(source)
        if not path.is_file() or place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        count += 1
    return f"{count} were missing and are back"


if __name__ == "__main__":
    sys.exit(main())
