"""Logs of the whole process, libraries included, as JSON or for a terminal.

All modules log through the standard library; structlog renders. Every line carries the id of its
request. `bind_contextvars(bpp=...)` anywhere in a request adds to its later lines.
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


def configure(
    log_format: LogFormat | None, level: LogLevel, stream: TextIO | None = None, worker: int | None = None
) -> None:
    """Send every logger of the process to one stream.

    Args:
        log_format: None is `console` for a terminal and `json` for anything else.
        level: lines below it are dropped.
        stream: stderr unless given.
        worker: which of several server processes this is; every line says so.
    """
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
    if worker is not None:
        known.append(lambda _, __, event: {"worker": worker, **event})
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
            foreign_pre_chain=known,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def request_id() -> str | None:
    """Return the id of the current request, as its answer and its log lines carry it.

    None outside of a request.
    """
    found = get_contextvars().get("request_id")
    return found if isinstance(found, str) else None


def _drop_uvicorns_colours(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn's message once more, with ANSI codes
    return event
