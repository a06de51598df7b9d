"""Logging for every process: one line an event, coloured for people or JSON for machines, and the files in LOG_DIR.

Called by the factory.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType

import structlog

from ghibli_flask.log_files import open_log_files
from ghibli_flask.masking import Mask
from ghibli_flask.settings import Settings

log = logging.getLogger(__name__)

OURS = "ghibli_flask_handler"
REQUESTS = "ghibli_flask.requests"
"""The logger of `request_log`: a line for each request. What it says is in the record's `fields`."""
_to_json = json.JSONEncoder().encode
CHATTY = (
    "httpx",
    "httpcore",
    "rq.worker",
    "rq_scheduler.scheduler",
    "alembic.runtime.migration",
    "PIL",
)


def configure_logging(settings: Settings, mask: Mask) -> None:
    """Send every logger's lines through our handlers; calling it again replaces them."""
    as_json = (settings.log_format or ("json" if settings.is_production else "console")) == "json"
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.types.Processor
    if as_json:
        shared.append(structlog.processors.format_exc_info)
        last = structlog.processors.JSONRenderer()
    else:
        last = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default formatter prints every local variable, and some of those are secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
    handler = logging.StreamHandler()
    handler.set_name(OURS)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                last,
                lambda _logger, _name, line: mask(str(line)),
            ],
        )
    )
    root = logging.getLogger()
    for old in [other for other in root.handlers if other.get_name() == OURS]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    for file in open_log_files(settings.logs, mask):
        file.set_name(OURS)
        root.addHandler(file)
    root.setLevel(settings.log_level)
    _configure_requests(mask if as_json else None)
    # gunicorn's workers write by themselves, and what they say of a request that broke holds its whole address.
    server = logging.getLogger("gunicorn.error")
    server.handlers.clear()
    server.propagate = True
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))


def log_uncaught() -> None:
    """Log what nobody caught, on any thread, instead of printing it as it is; for the entry points of processes."""
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        log.critical("This was caught by nobody", exc_info=(kind, error, traceback))


def _configure_requests(mask: Mask | None) -> None:
    """A line for each request, for machines alone: a person at a console would find nothing else among them."""
    requests = logging.getLogger(REQUESTS)
    for old in list(requests.handlers):
        requests.removeHandler(old)
        old.close()
    requests.propagate = False
    requests.setLevel(logging.NOTSET if mask else logging.CRITICAL)
    if mask:
        handler = logging.StreamHandler()
        handler.setFormatter(_RequestLine(mask))
        requests.addHandler(handler)


class _RequestLine(logging.Formatter):
    """The same JSON as everybody's, made directly: through structlog's chain a line would cost a fifth of a poll."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """One line without secrets."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        line = {"event": record.msg, **structlog.contextvars.get_contextvars(), "level": "info", "logger": record.name}
        return self._mask(_to_json(line | record.__dict__["fields"] | {"timestamp": time}))
