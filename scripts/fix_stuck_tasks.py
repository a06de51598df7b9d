"""`scripts/fix_stuck_tasks.py`: `flask tasks fix-stuck` for cron, from any folder. Takes --dry-run and --older-than."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Found through the line above, so that cron may start this file from anywhere.
from ghibli_flask.cli.tasks import CANNOT, fix_stuck
from ghibli_flask.factory import create_app
from ghibli_flask.settings import SettingsError


def main() -> None:
    """Run one sweep; ends the process with the exit code of `flask tasks fix-stuck`."""
    try:
        app = create_app()
    except SettingsError as error:
        print(f"The settings need another look:\n{error}", file=sys.stderr)
        sys.exit(CANNOT)
    with app.app_context():
        fix_stuck.main(prog_name="fix_stuck_tasks.py")


if __name__ == "__main__":
    main()
