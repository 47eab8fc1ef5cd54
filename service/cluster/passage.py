"""The last step between connections and a replica's app."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Ray obeys these headers of any client.
_TIMEOUT = "x-request-timeout-seconds"
_UNWATCHED = "x-request-disconnect-disabled"
_ID = b"x-request-id"


def middleware() -> list[Middleware]:
    """List what Ray wraps the servers of replicas and of Python proxies in (`environment`)."""
    return [Middleware(Passage, unwatched=_is_replica())]


class Passage:
    """Gives the app the connection itself, and answers one X-Request-ID.

    To learn of a client that hung up, Ray reads all of its body into a queue, as fast as it comes:
    the app's limits on bodies (`service.inflight`) would limit nothing. The app watches for such
    clients by itself, so Ray is told not to. A request's deadline is the app's as well.

    Args:
        app: what it wraps.
        unwatched: whether the app watches for clients that hang up; a proxy has no app that would.
    """

    def __init__(self, app: ASGIApp, unwatched: bool) -> None:
        self._app = app
        self._unwatched = unwatched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        del headers[_TIMEOUT]
        headers[_UNWATCHED] = f"?{self._unwatched:d}"

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                ids = Headers(raw=message["headers"]).getlist(_ID.decode())
                if len(ids) > 1:  # Ray's own comes behind the app's
                    others = [header for header in message["headers"] if header[0].lower() != _ID]
                    message = {**message, "headers": [*others, (_ID, ids[0].encode())]}
            await send(message)

        await self._app(scope, receive, answer)


def _is_replica() -> bool:
    from ray.serve import get_replica_context
    from ray.serve.exceptions import RayServeException

    try:
        get_replica_context()
    except RayServeException:
        return False
    return True
