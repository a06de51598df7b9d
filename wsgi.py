"""The web application for gunicorn and the `flask` command."""

import sys

from ghibli_flask.factory import STATIC, create_app
from ghibli_flask.logs import log_uncaught
from ghibli_flask.settings import SettingsError, load_settings
from ghibli_flask.static_files import COPIES, compress

try:
    settings = load_settings()
    compress(STATIC, settings.instance_dir / COPIES)
    app = create_app(settings)
except SettingsError as error:
    sys.exit(f"The settings need another look:\n{error}")
log_uncaught()
