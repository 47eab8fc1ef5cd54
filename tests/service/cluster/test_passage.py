"""What the app of a replica gets, and what its client gets."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from ray.serve._private.http_util import RequestIdMiddleware, _apply_middlewares
from ray.serve._private.http_util import parse_disconnect_disabled_header as left_unwatched
from ray.serve._private.http_util import parse_request_timeout_header as timeout_of
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.cluster.passage import Passage, middleware

Header = tuple[bytes, bytes]


def wrap(app: ASGIApp, middlewares: list[Middleware]) -> ASGIApp:
    """As Ray wraps a replica's server; its annotation of the list is wrong."""
    return _apply_middlewares(app, cast(Any, middlewares))


def through(
    *headers: Header, kind: str = "http", unwatched: bool = True
) -> tuple[dict[bytes, bytes], list[Header]]:
    """Send a request with these headers; gives those that Ray sees, and those of the answer."""
    seen: dict[bytes, bytes] = {}
    answered: list[Header] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope["headers"])
        request_id = Request(scope).headers.get("x-request-id", "") if kind == "http" else ""
        await PlainTextResponse("", headers={"X-Request-ID": request_id or "ours"})(scope, receive, send)

    async def send(message: Message) -> None:
        answered.extend(message.get("headers", ()))

    async def receive() -> Message:
        return {"type": "http.request"}

    async def ask() -> None:
        wrapped = wrap(app, [Middleware(Passage, unwatched=unwatched)])
        await wrapped({"type": kind, "headers": list(headers), "method": "GET"}, receive, send)

    asyncio.run(ask())
    return seen, answered


def test_the_app_reads_the_connection_itself() -> None:
    seen, _ = through((b"x-request-disconnect-disabled", b"?0"))
    assert left_unwatched(seen)


def test_a_proxy_watches_for_clients_that_hang_up() -> None:
    seen, _ = through((b"x-request-disconnect-disabled", b"?1"), unwatched=False)
    assert not left_unwatched(seen)


def test_clients_set_no_deadline() -> None:
    seen, _ = through((b"x-request-timeout-seconds", b"0.001"))
    assert timeout_of(seen, None) is None


def test_an_answer_has_one_request_id() -> None:
    _, answered = through((b"x-request-id", b"theirs"))
    assert [value for name, value in answered if name.lower() == b"x-request-id"] == [b"theirs"]


def test_rays_own_middleware_is_inside() -> None:
    """Else its X-Request-ID would come after the one that `Passage` keeps."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    wrapped = wrap(app, middleware())
    assert isinstance(wrapped, Passage)
    assert isinstance(wrapped._app, RequestIdMiddleware)


def test_what_is_not_http_passes() -> None:
    seen, _ = through((b"x-request-timeout-seconds", b"5"), kind="websocket")
    assert timeout_of(seen, None) == 5
