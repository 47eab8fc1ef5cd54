"""Requests in flight, and the end of connections once the process drains."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..drain import Drain, Phase


class DrainMiddleware:
    """Counts requests in flight.

    Once draining, every answer closes its connection, so that the client's next request goes to
    another process.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.phase > Phase.SERVING:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        self._drain.in_flight += 1
        try:
            await self._app(scope, receive, answer)
        finally:
            self._drain.in_flight -= 1
