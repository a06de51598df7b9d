"""A copy of the checkout without `.env` and `instance/`: where tests run the product as people do."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Never copied: what belongs to the developer, and what is shared by a link.
LEFT_OUT = {".env", ".git", ".state", ".venv", "instance", "node_modules", "space"}
# The Space is shared whole: its compiled code is kept by the path of its source, and compiling takes long.
SHARED = (".venv", ".state", "space", "instance/numba-cache")


def copy_checkout(target: Path) -> Path:
    """Copy the project's own files to `target`; environments and the Space are shared by links. Gives `target`."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        caches = {name for name in names if name.endswith("_cache") or name in {"__pycache__", ".venv", "node_modules"}}
        return caches | (LEFT_OUT & set(names) if Path(folder) == ROOT else set())

    shutil.copytree(ROOT, target, ignore=left_out, symlinks=True)
    for name in (".state", "instance/numba-cache"):
        (ROOT / name).mkdir(parents=True, exist_ok=True)
    (target / "instance").mkdir()
    for name in SHARED:
        (target / name).symlink_to(ROOT / name)
    return target


def offline_env(**settings: str) -> dict[str, str]:
    """The environment of a process that tests start: these settings, and no network but loopback."""
    guard = Path(__file__).parent / "no_network"
    return {**os.environ, "PYTHONPATH": str(guard), "PYTHONUNBUFFERED": "1", **settings}


def migrate(checkout: Path, env: Mapping[str, str]) -> None:
    """Run the migrations as an operator does; raises RuntimeError with their output when they fail."""
    command = [checkout / ".venv/bin/flask", "--app", "wsgi", "db", "upgrade"]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"The migrations failed:\n{done.stdout}{done.stderr}")
