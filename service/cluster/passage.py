"""The last step between a replica's connections and its app."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Ray obeys these headers of any client.
_TIMEOUT = "x-request-timeout-seconds"
_UNWATCHED = "x-request-disconnect-disabled"
_ID = b"x-request-id"


def middleware() -> list[Middleware]:
    """List what Ray wraps a replica's server in; `environment.OF_REPLICAS` names this function."""
    return [Middleware(Passage)]


class Passage:
    """Gives the app the connection itself, and answers one X-Request-ID.

    To learn of a client that hung up, Ray reads all of its body into a queue, as fast as it comes:
    the app's limits on bodies (`service.inflight`) would limit nothing. The app watches for such
    clients by itself, so Ray is told not to. A request's deadline is the app's as well.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        del headers[_TIMEOUT]
        headers[_UNWATCHED] = "?1"

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                ids = Headers(raw=message["headers"]).getlist(_ID.decode())
                if len(ids) > 1:  # Ray's own comes behind the app's
                    others = [header for header in message["headers"] if header[0].lower() != _ID]
                    message = {**message, "headers": [*others, (_ID, ids[0].encode())]}
            await send(message)

        await self._app(scope, receive, answer)
