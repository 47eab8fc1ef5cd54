"""Leaving without dropping anyone: say so first, then refuse, then finish what was accepted.

    serving ── signal ──► draining ── ZIGGURAT_DRAIN_SECONDS ──► refusing ── nothing in flight ──► gone
               /readyz 503, work is still accepted             503 + Retry-After for new work

`service.server` moves it along; the app only asks. Under another server than ours it stays `serving`, and the lifespan's end does the rest.
"""

from __future__ import annotations

from enum import IntEnum

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Phase(IntEnum):
    """How far leaving has got."""

    SERVING = 0
    DRAINING = 1
    REFUSING = 2


class Drain:
    """The phase that one app is in, and its requests in flight. For one event loop."""

    def __init__(self) -> None:
        self.phase = Phase.SERVING
        self.in_flight = 0


class DrainMiddleware:
    """Counts requests in flight; once draining, every answer ends its connection, so that the client's next one goes elsewhere."""

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
