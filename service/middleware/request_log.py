"""One log line for each request, and the id that its answer, its log lines and its trace carry."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, clear_contextvars

from .. import tracing

_REQUEST_ID = re.compile(r"[\w.:+/=@-]{1,128}", re.ASCII)
# Requested every few seconds, and dull while all is well.
_PROBES = ("/livez", "/readyz", "/metrics", "/progress/")

_log = logging.getLogger("ziggurat.access")


class RequestLogMiddleware:
    """Gives each request an id, and logs one line when it ends.

    The id is the client's own `X-Request-ID` where that is 1 to 128 harmless characters.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity = _identity(scope)
        status = 500  # what the server answers when the app raises
        bytes_in = 0
        bytes_out = 0

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
        carried = {"request_id": identity}
        if (trace := tracing.current()) is not None:
            trace.name_request(identity)
            carried["trace_id"] = trace.id
        with bound_contextvars(**carried):
            try:
                await self._app(scope, count_in, count_out)
            except asyncio.CancelledError:
                status = 499  # the client hung up
                raise
            finally:
                facts = {
                    "method": scope["method"],
                    "path": scope["path"],
                    "route": getattr(scope.get("route"), "path", "unknown"),
                    "status": status,
                    "seconds": round(time.perf_counter() - begun, 6),
                    "bytes_in": bytes_in,
                    "bytes_out": bytes_out,
                }
                _log.log(_level(scope["path"], status), "request", extra=facts)


def _identity(scope: Scope) -> str:
    offered = Headers(scope=scope).get("x-request-id", "")
    return offered if _REQUEST_ID.fullmatch(offered) else uuid4().hex


def _level(path: str, status: int) -> int:
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if path.startswith(_PROBES) and status < 400 else logging.INFO
