"""Settles the process's environment when it is imported, which `app.py` does before Gradio and the painter.

Gradio reads GRADIO_TEMP_DIR while it is imported, and Numba reads NUMBA_CACHE_DIR while the painter is. From here on
SIGTERM ends the process as `sys.exit` does, so that even a stop during the slow imports removes what was made.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path


def _private_temporary_folder() -> Path:
    """A new folder of our own below GRADIO_TEMP_DIR (or the system's), so that all of it can be removed at the end."""
    parent = os.environ.get("GRADIO_TEMP_DIR")
    if parent:
        Path(parent).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="painter-", dir=parent))


def _compiled_code_folder() -> Path:
    """Where compiled code is kept between starts: the user's cache, or a temporary folder where that is read-only."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "painter"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir()) / "painter-compiled"
    return cache


def remove_temporary_files() -> None:
    """Remove everything that this process kept in its temporary folder."""
    shutil.rmtree(TEMPORARY, ignore_errors=True)


for stop in (signal.SIGTERM, signal.SIGINT):
    # SIGINT too: a shell starts its background jobs with it ignored, and Python then leaves it so.
    signal.signal(stop, lambda *_: sys.exit(0))
TEMPORARY = _private_temporary_folder()
atexit.register(remove_temporary_files)
os.environ["GRADIO_TEMP_DIR"] = str(TEMPORARY)
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(_compiled_code_folder())
