"""`scripts/monitor_tasks.py`: the watchdog, for cron or a systemd timer every five minutes. Needs no running worker.

It sweeps from the database itself, starts dead and silent workers of this machine again, and runs the monitor with its
alerts. Neither Redis nor the database has to be there. Ends with 0 when all is well, 1 when something was repaired or
is not well, and 2 when it could not do its work.
"""

import fcntl
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Found through the line above, so that cron may start this file from anywhere.
from ghibli_flask.errors import Unavailable
from ghibli_flask.extensions import runtime
from ghibli_flask.factory import create_app
from ghibli_flask.services import monitor, repair
from ghibli_flask.settings import SettingsError
from scripts.watchdog import look_after_workers

log = logging.getLogger("scripts.monitor_tasks")

WELL, REPAIRED, CANNOT = 0, 1, 2


def main() -> int:
    """Look after everything once; gives the exit code."""
    try:
        app = create_app()
    except SettingsError as error:
        print(f"The settings need another look:\n{error}", file=sys.stderr)
        return CANNOT
    with app.app_context(), _alone(runtime().settings.instance_dir / "run") as alone:
        if not alone:
            print("Another watchdog is at work, nothing done.")
            return WELL
        return _look_after_everything()


def _look_after_everything() -> int:
    code = _sweep()
    restarts = look_after_workers()
    for restart in restarts:
        print(restart.text)
    report = monitor.check()
    print(report.line)
    if restarts or not report.ok:
        code = max(code, REPAIRED)
    return code if all(restart.worked for restart in restarts) else CANNOT


def _sweep() -> int:
    """One sweep from here, so that orders are given back even with every worker dead."""
    try:
        swept = repair.sweep()
    except Unavailable:
        print("sweep: the database does not answer")
        return REPAIRED
    except Exception:
        log.exception("The watchdog's sweep failed")
        return CANNOT
    print(swept.line)
    return REPAIRED if swept.stuck or swept.broken else WELL


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Keep two watchdogs of this machine from starting the same worker twice; the kernel drops a dead one's lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "watchdog.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


if __name__ == "__main__":
    sys.exit(main())
