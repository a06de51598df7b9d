"""The three log files in LOG_DIR, one line an event: `<ISO time> [<context>] <message>`. Opened by `logs`.

Many processes append to the same files, so nobody here renames them: logrotate does (scripts/monitoring_setup.sh), and
each process notices at its next line that the file has moved and opens the new one.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path

import structlog

from ghibli_flask.masking import Mask

log = logging.getLogger(__name__)

MONITOR_FILE, PROCESSOR_FILE, ERRORS_FILE = "task-monitor.log", "task-processor.log", "errors.log"

LOGGERS = {
    MONITOR_FILE: (
        "ghibli_flask.services.monitor", "ghibli_flask.services.alerts", "ghibli_flask.services.alert_channels",
        "ghibli_flask.services.repair", "ghibli_flask.services.health", "ghibli_flask.services.page_errors",
        "jobs.monitor", "jobs.sweep", "jobs.schedule", "scripts.monitor_tasks", "scripts.watchdog",
    ),
    PROCESSOR_FILE: (
        "jobs.paint", "jobs.worker", "jobs.process", "jobs.pulse", "jobs.retrying", "jobs.engines",
        "ghibli_flask.services.runs", "ghibli_flask.services.gpu_tokens",
    ),
}  # fmt: skip
"""Whose lines each file takes, at LOG_LEVEL; errors.log takes everybody's errors."""


class LogFile(WatchedFileHandler):
    """A file that is opened at its first line, and again when it was moved away."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; the console has it too, so a file that cannot be written fails nobody."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name.
        """Stay quiet: a full disk would otherwise answer every line with a traceback on the console."""


class LineFormatter(logging.Formatter):
    """`2026-11-22T06:45:46.123+00:00 [services.repair task=…] message`; a traceback follows indented."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """One line without secrets; line ends inside of the message are written as \\n, so that none can be forged."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        bound = [f"{name}={value}" for name, value in structlog.contextvars.get_contextvars().items()]
        context = " ".join([record.name.removeprefix("ghibli_flask."), *bound])
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        line = f"{time} [{context}] {message}"
        if record.exc_info:
            line += "\n" + "\n".join("  " + text for text in self.formatException(record.exc_info).splitlines())
        return self._mask(line)


def open_log_files(folder: Path, mask: Mask) -> list[logging.Handler]:
    """The handlers of the three files; none where the folder cannot be made, which is said once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("The log folder %s cannot be used: %s", folder, error.strerror)
        return []
    handlers: list[logging.Handler] = []
    for name in (*LOGGERS, ERRORS_FILE):
        handler = LogFile(folder / name, delay=True, encoding="utf-8")
        handler.setFormatter(LineFormatter(mask))
        if name in LOGGERS:
            handler.addFilter(_Of(LOGGERS[name]))
        else:
            handler.setLevel(logging.ERROR)
        handlers.append(handler)
    return handlers


class _Of(logging.Filter):
    """Lets the lines of these loggers and of those below them pass."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self._names, self._above = names, tuple(f"{name}." for name in names)

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name in self._names or record.name.startswith(self._above)
