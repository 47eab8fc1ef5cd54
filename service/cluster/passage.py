"""The last step between the connection and a replica's app."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Ray obeys these headers of any client.
_TIMEOUT = "x-request-timeout-seconds"
_UNWATCHED = "x-request-disconnect-disabled"


def middleware() -> list[Middleware]:
    """What Ray wraps the server of each replica and of each Python proxy in."""
    return [Middleware(Passage, unwatched=_is_replica() and _shares_the_loop())]


class Passage:
    """Gives the app the connection itself.

    To learn of a client that hung up, Ray reads all of its body into a queue, as fast as it comes,
    and the limits of the app on bodies (`service.inflight`) would limit nothing. The app watches
    for such clients by itself, so Ray is told not to. The deadline of a request is the app's as
    well.

    Args:
        unwatched: whether the app may have the connection; false where it runs in a thread other
            than the server's.
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
        del headers[_UNWATCHED]
        if self._unwatched:
            headers[_UNWATCHED] = "?1"

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_one_id(message["headers"])
            await send(message)

        await self._app(scope, receive, answer)


def _with_one_id(headers: Any) -> list[tuple[bytes, bytes]]:
    """Leave out Ray's X-Request-ID behind the app's own."""
    kept: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name.lower() != b"x-request-id" or all(other.lower() != b"x-request-id" for other, _ in kept):
            kept.append((name, value))
    return kept


def _is_replica() -> bool:
    from ray.serve import get_replica_context
    from ray.serve.exceptions import RayServeException

    try:
        get_replica_context()
    except RayServeException:
        return False
    return True


def _shares_the_loop() -> bool:
    from ray.serve._private import constants

    return not constants.RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD
