"""Logs: every line, ours and the libraries', as JSON or for a terminal, with the id of the request that it belongs to.

All modules log through the standard library; structlog renders. `bind_contextvars(bpp=...)` anywhere in a request adds to its later lines.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.contextvars import get_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


def configure(log_format: LogFormat | None, level: LogLevel, stream: TextIO | None = None) -> None:
    """Send every logger of the process to one stream, stderr unless given; without a format, a terminal decides for `console`."""
    stream = stream or sys.stderr
    if log_format is None:
        log_format = "console" if stream.isatty() else "json"
    known: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.contextvars.merge_contextvars,
        _drop_uvicorns_colours,
    ]
    rendered: list[Processor]
    if log_format == "json":
        known.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
        rendered = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        known.append(structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False))
        rendered = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0, sort_keys=False)]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=known, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered]
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def request_id() -> str | None:
    """The id of the request at hand, as its answer and its log lines carry it; None outside of one."""
    found = get_contextvars().get("request_id")
    return found if isinstance(found, str) else None


def _drop_uvicorns_colours(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # its message once more, with ANSI codes
    return event
