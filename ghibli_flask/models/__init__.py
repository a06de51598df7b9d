"""Tables and their constraints; nothing here decides anything."""

from ghibli_flask.models.allowance import Allowance
from ghibli_flask.models.file import DiscardedFile
from ghibli_flask.models.health import HealthCheck
from ghibli_flask.models.task import ImageTask

__all__ = ["Allowance", "DiscardedFile", "HealthCheck", "ImageTask"]
