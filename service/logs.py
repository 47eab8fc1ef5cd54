"""Logs: every line, ours and the libraries', as JSON or for a terminal, with the id of the request that it belongs to.

All modules log through the standard library; structlog renders. `bind_contextvars(bpp=...)` anywhere in a request adds to its later lines.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from typing import Literal, TextIO
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, clear_contextvars, get_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_REQUEST_ID = re.compile(r"[\w.:+/=@-]{1,128}", re.ASCII)
_PROBES = ("/livez", "/readyz", "/metrics")  # asked every few seconds, and of no interest while all is well

_log = logging.getLogger("ziggurat.access")


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


class RequestLogMiddleware:
    """Gives each request an id, the client's own `X-Request-ID` when it is sane, and logs one line when it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        offered = Headers(scope=scope).get("x-request-id", "")
        identity = offered if _REQUEST_ID.fullmatch(offered) else uuid4().hex
        status, bytes_in, bytes_out = 500, 0, 0  # 500 is what the server answers when the app raises

        async def count_in() -> Message:
            nonlocal bytes_in
            message = await receive()
            bytes_in += len(message.get("body", b""))
            return message

        async def count_out(message: Message) -> None:
            nonlocal status, bytes_out
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = identity
            bytes_out += len(message.get("body", b""))
            await send(message)

        begun = time.perf_counter()
        clear_contextvars()
        with bound_contextvars(request_id=identity):
            try:
                await self._app(scope, count_in, count_out)
            except asyncio.CancelledError:
                status = 499
                raise
            finally:
                seconds = round(time.perf_counter() - begun, 6)
                _log.log(
                    _level(scope["path"], status),
                    "request",
                    extra={
                        "method": scope["method"],
                        "path": scope["path"],
                        "route": getattr(scope.get("route"), "path", "unknown"),
                        "status": status,
                        "seconds": seconds,
                        "bytes_in": bytes_in,
                        "bytes_out": bytes_out,
                    },
                )


def _level(path: str, status: int) -> int:
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if path in _PROBES and status < 400 else logging.INFO


def _drop_uvicorns_colours(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # its message once more, with ANSI codes
    return event
