"""`python worker.py` paints; `python worker.py maintenance` repairs; `python worker.py scheduler` keeps the time."""

import sys

from ghibli_flask.factory import create_app
from ghibli_flask.logs import log_uncaught
from ghibli_flask.settings import SettingsError
from jobs.schedule import run_scheduler
from jobs.worker import run_maintenance_worker, run_painting_worker

ROLES = {"paint": run_painting_worker, "maintenance": run_maintenance_worker, "scheduler": run_scheduler}


def main(arguments: list[str]) -> None:
    """Run the role named by the first argument, painting when there is none."""
    role = arguments[0] if arguments else "paint"
    if role not in ROLES:
        sys.exit(f"There is no worker called {role}. Choose one of: {', '.join(ROLES)}.")
    try:
        app = create_app(for_worker=True)
    except SettingsError as error:
        sys.exit(f"The settings need another look:\n{error}")
    log_uncaught()
    ROLES[role](app)


if __name__ == "__main__":
    main(sys.argv[1:])
