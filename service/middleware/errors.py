"""Faults of the service itself, answered with status 500."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..http import problems

_log = logging.getLogger(__name__)


class FaultMiddleware:
    """Answers an exception that nobody handled with a 500: the traceback goes to the log alone.

    Starlette's own handler sits outside all other middleware. There the answer would miss its
    headers, and the log line its request id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            if begun or scope["type"] != "http":
                raise  # the server logs it and cuts the answer off
            _log.exception("the service failed")
            await problems.fault()(scope, receive, send)
