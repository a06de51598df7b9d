"""Logging for every process: one line an event, coloured for people or JSON for machines. Called by the factory."""

from __future__ import annotations

import logging
import sys

import structlog

from ghibli_flask.settings import Settings

OURS = "ghibli_flask_handler"
CHATTY = (
    "httpx",
    "httpcore",
    "rq.worker",
    "rq_scheduler.scheduler",
    "alembic.runtime.migration",
    "PIL",
    "flask-limiter",
)


def configure_logging(settings: Settings) -> None:
    """Send every logger's lines through one handler; calling it again replaces that handler."""
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
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if other.get_name() != OURS] + [handler]
    root.setLevel(settings.log_level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
