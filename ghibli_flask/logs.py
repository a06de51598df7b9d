"""Logging for every process: one line an event, coloured for people or JSON for machines, and the files in LOG_DIR.

Called by the factory.
"""

from __future__ import annotations

import logging
import sys

import structlog

from ghibli_flask.log_files import open_log_files
from ghibli_flask.masking import Mask
from ghibli_flask.settings import Settings

OURS = "ghibli_flask_handler"
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
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
