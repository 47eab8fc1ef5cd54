"""Requests counted and timed for Prometheus."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..metrics import Metrics

UNKNOWN_ROUTE = "unknown"  # the label of requests that reached no endpoint


class MetricsMiddleware:
    """Counts each request when it ends, by the template of its route.

    Unknown paths share one label, so that clients cannot make new series.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what the server answers when the app raises

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun = time.monotonic()
        with self._metrics.in_flight():
            try:
                await self._app(scope, receive, watch)
            except asyncio.CancelledError:
                status = 499  # the client hung up; the code is nginx's
                raise
            finally:
                route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
                self._metrics.answered(route, scope["method"], status, time.monotonic() - begun)
