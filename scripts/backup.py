"""`scripts/backup.sh`: one folder a backup, with database, Redis and the local store, and the oldest ones removed.

A backup that is not whole has a name of its own (`.partial`) and never counts. Pictures are written once and never
changed, so those that the backup before holds already are linked and take no room. `scripts/restore.py` reads it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Found through the line above, so that a timer may start this file from anywhere.
from ghibli_flask.settings import Settings, SettingsError, load_settings
from scripts.data_copies import PARTS, REDIS_FILE, CopyError, copy_database, copy_redis, database_file

KEPT, INCOMPLETE, CANNOT = 0, 1, 2
MANIFEST = "manifest.json"
STAMP = "last-backup"
"""The file under instance/run whose age the monitor knows the last whole backup by."""
ONLY_DATABASE = "-database"
"""Ends the names of backups before upgrades, which are rotated apart from the nightly ones."""


def main(arguments: list[str] | None = None) -> int:
    """Make a backup and remove the oldest ones; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="the folder of all backups")
    parser.add_argument("--only", action="append", choices=PARTS, help="leave the other parts out")
    parser.add_argument("--keep", type=int, default=14, help="how many stay (14)")
    options = parser.parse_args(arguments)
    if options.keep < 1:
        parser.error("--keep must be at least 1")
    try:
        settings = load_settings()
        options.to.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (SettingsError, OSError) as error:
        print(f"No backup could be tried: {error}", file=sys.stderr)
        return CANNOT
    os.umask(0o077)
    parts = tuple(options.only or PARTS)
    suffix = "" if parts == PARTS else "-" + "-".join(parts)
    folder = make_backup(settings, options.to.resolve(), parts, suffix)
    if folder is None:
        return INCOMPLETE
    rotate(options.to, suffix, options.keep)
    if parts == PARTS:
        stamp = settings.instance_dir / "run" / STAMP
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(f"{folder}\n")
    print(f"Kept in {folder}.")
    return KEPT


def make_backup(settings: Settings, into: Path, parts: tuple[str, ...], suffix: str) -> Path | None:
    """Copy these parts to a new folder; None when one of them could not be copied, with what it has kept apart."""
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z{suffix}"
    partial = into / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    copy: dict[str, Callable[[], object]] = {
        "database": lambda: copy_database(
            settings.database_address, partial / database_file(settings.database_address)
        ),
        "redis": lambda: copy_redis(settings.redis_address, partial / f"{REDIS_FILE}.gz"),
        "files": lambda: copy_files(settings.instance_dir / "files", partial / "files", _newest(into)),
    }
    broken = False
    for part in parts:
        try:
            copy[part]()
        except (CopyError, OSError) as error:
            print(f"{part}: {error}", file=sys.stderr)
            broken = True
    _write_manifest(partial, now, parts)
    if broken:
        print(f"This is no whole backup; what there is lies in {partial}.", file=sys.stderr)
        return None
    return partial.rename(into / name)


def copy_files(source: Path, target: Path, before: Path | None) -> int:
    """Copy a store's folder, linking what the backup before holds already; gives how many files there are."""
    count = 0
    target.mkdir()
    for path in source.rglob("*"):
        # A name with # is a file that is being written or whose writer was killed.
        if not path.is_file() or "#" in path.name:
            continue
        inside = path.relative_to(source)
        copy = target / inside
        copy.parent.mkdir(parents=True, exist_ok=True)
        earlier = before / "files" / inside if before else None
        try:
            if earlier and earlier.is_file():
                os.link(earlier, copy)
            else:
                shutil.copy2(path, copy)
        except FileNotFoundError:
            continue  # Its owner has deleted it meanwhile.
        count += 1
    return count


def rotate(folder: Path, suffix: str, keep: int) -> None:
    """Remove all but the newest backups of one kind, and what broken ones of it have left."""
    kind = [path for path in _backups(folder) if path.name.partition("Z")[2] == suffix]
    partial = [path for path in folder.glob(f"*Z{suffix}.partial") if kind and path.name < kind[-1].name]
    for old in [*kind[:-keep], *partial]:
        shutil.rmtree(old)


def _backups(folder: Path) -> list[Path]:
    """The whole backups, oldest first."""
    return sorted(path.parent for path in folder.glob(f"*Z*/{MANIFEST}") if not path.parent.name.endswith(".partial"))


def _newest(folder: Path) -> Path | None:
    with_files = [path for path in _backups(folder) if (path / "files").is_dir()]
    return with_files[-1] if with_files else None


def _write_manifest(folder: Path, at: datetime, parts: tuple[str, ...]) -> None:
    sums = {path.name: checksum(path) for path in sorted(folder.glob("*.gz"))}
    count = sum(path.is_file() for path in (folder / "files").rglob("*"))
    told = {"at": at.isoformat(), "parts": list(parts), "sha256": sums, "files": count}
    (folder / MANIFEST).write_text(json.dumps(told, indent=2) + "\n")


def checksum(path: Path) -> str:
    """The SHA-256 of a file, by which a restore knows that it is whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
