"""Requests that are watched, from their first byte on."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.watched import Watches

HEADER = "Ziggurat-Progress"


class ProgressMiddleware:
    """Lets clients watch the requests that carry a token in `Ziggurat-Progress`."""

    def __init__(self, app: ASGIApp, watches: Watches) -> None:
        self._app = app
        self._watches = watches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        token = Headers(scope=scope).get(HEADER) if scope["type"] == "http" else None
        if token is None:
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        received = 0

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        with self._watches.watching(token) as watched:
            if not length.isdecimal() or not int(length):
                await self._app(scope, receive, send)
                return
            watched.receive(lambda: received / int(length))
            await self._app(scope, count, send)
