"""Protection of people whose browsers reach the service."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..http import origins, problems
from ..metrics import Metrics

# An orchestrator asks these by the address of a container, and they tell nothing.
_PROBES = ("/livez", "/readyz")


class NosniffMiddleware:
    """Tells browsers in every answer to believe its Content-Type."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await self._app(scope, receive, answer)


class HostMiddleware:
    """Refuses requests that name another host than this one.

    Args:
        app: to be wrapped.
        metrics: count refusals.
        allowed: as for `origins.check_host`.
        listens: the address that the service was told to listen on. It counts only for connections
            that come by loopback: another server than ours may listen elsewhere.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, allowed: Sequence[str], listens: str) -> None:
        self._app = app
        self._metrics = metrics
        self._allowed = allowed
        self._listens = listens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            arrived_at = (scope.get("server") or ("", None))[0]
            try:
                host = origins.host_of(Headers(scope=scope), scope.get("http_version", "1.1"))
                if scope["path"] not in _PROBES:
                    listens = self._listens if origins.is_loopback(arrived_at) else ""
                    origins.check_host(host, self._allowed, listens=listens)
            except (origins.BadHostError, origins.UnknownHostError) as error:
                await problems.refusal(error, self._metrics)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class CrossSiteMiddleware:
    """Refuses what pages of other sites let a browser post or delete.

    Args:
        app: to be wrapped.
        metrics: count refusals.
        welcome: origins whose pages may.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, welcome: Sequence[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._welcome = welcome

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            try:
                origins.check_origin(scope["method"], Headers(scope=scope), self._welcome)
            except origins.CrossSiteError as error:
                await problems.refusal(error, self._metrics)(scope, receive, send)
                return
        await self._app(scope, receive, send)
