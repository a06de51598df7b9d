"""What a server needs besides running: a certificate that lasts, and a backup of last night. Asked by the monitor."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from ghibli_flask.extensions import runtime

CERTIFICATE_LASTS_AT_LEAST = timedelta(days=14)
"""certbot renews a month before the end; with less than this left it has been failing for two weeks."""
BACKUP_IS_LATE_AFTER = timedelta(hours=30)
"""A nightly backup, and six hours for a long one."""
CONNECT_WITHIN_S = 5.0


def certificate_ends_at(host: str, port: int) -> datetime:
    """When the certificate that a server shows ends; raises SSLError when a browser would refuse it, and OSError."""
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), timeout=CONNECT_WITHIN_S) as raw,
        context.wrap_socket(raw, server_hostname=host) as connection,
    ):
        shown = connection.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)


def look_at_certificate(now: datetime) -> tuple[bool | None, str, dict[str, float | str | None]]:
    """Whether browsers trust the certificate of APP_URL and for how long: well or not or unknown, a text, numbers."""
    parts = urlsplit(runtime().settings.public_url)
    if parts.scheme != "https" or parts.hostname is None:
        return True, "none is needed: the address of the site is not https", {}
    try:
        left = certificate_ends_at(parts.hostname, parts.port or 443) - now
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or "unknown"
        return False, f"Browsers refuse the certificate of {parts.hostname}: {reason}.", {}
    except OSError as error:
        return None, f"could not be seen, because {parts.hostname} does not answer here ({type(error).__name__})", {}
    text = f"{left.days} days left"
    return left >= CERTIFICATE_LASTS_AT_LEAST, f"The certificate has {text}.", {"days": left.days}


def look_at_backup(now: datetime) -> tuple[bool | None, str, dict[str, float | str | None]]:
    """How old the last whole backup of scripts/backup.sh is; well where nobody has ever begun with them.

    deploy/install.sh leaves the first sign, so that backups which never work are noticed too.
    """
    stamp = runtime().settings.instance_dir / "run" / "last-backup"
    try:
        age = now - datetime.fromtimestamp(stamp.stat().st_mtime, UTC)
        where = stamp.read_text().strip()
    except OSError:
        return True, "none is made here by scripts/backup.sh", {}
    hours = round(age.total_seconds() / 3600)
    return age <= BACKUP_IS_LATE_AFTER, f"The last whole backup is {hours} hours old ({where}).", {"hours": hours}
