"""Tables and their constraints; nothing here decides anything."""

from ghibli_flask.models.allowance import Allowance
from ghibli_flask.models.audit import AuditEntry
from ghibli_flask.models.credit import CreditEntry
from ghibli_flask.models.departure import Departure
from ghibli_flask.models.export import Export
from ghibli_flask.models.file import DiscardedFile
from ghibli_flask.models.flag import Flag
from ghibli_flask.models.health import HealthCheck
from ghibli_flask.models.incident import IncidentRow
from ghibli_flask.models.rating import Rating
from ghibli_flask.models.share import Share, ShareCount, ShareReport
from ghibli_flask.models.task import ImageTask
from ghibli_flask.models.upload import Upload
from ghibli_flask.models.user import User, UserProfile, UserSession
from ghibli_flask.models.wish import Wish

__all__ = [
    "Allowance",
    "AuditEntry",
    "CreditEntry",
    "Departure",
    "DiscardedFile",
    "Export",
    "Flag",
    "HealthCheck",
    "ImageTask",
    "IncidentRow",
    "Rating",
    "Share",
    "ShareCount",
    "ShareReport",
    "Upload",
    "User",
    "UserProfile",
    "UserSession",
    "Wish",
]
