"""The web application for gunicorn and the `flask` command."""

import sys

from ghibli_flask.factory import create_app
from ghibli_flask.settings import SettingsError

try:
    app = create_app()
except SettingsError as error:
    sys.exit(f"The settings need another look:\n{error}")
