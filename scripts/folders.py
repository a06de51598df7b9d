"""Tells the shell scripts where pid files and logs go, as the settings say: two lines. Run as -m scripts.folders."""

import sys

from ghibli_flask.settings import SettingsError, load_settings


def main() -> int:
    """Print the folder of the pid files and the folder of the logs; ends with 2 when a setting is wrong."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(f"The settings need another look:\n{error}", file=sys.stderr)
        return 2
    print(settings.instance_dir / "run")
    print(settings.logs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
