from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.types import Message, Receive, Scope, Send

from service.engine.watched import Watches
from service.middleware.progress import ProgressMiddleware

TOKEN = "0123456789abcdef" * 2


def seen(*headers: tuple[str, str]) -> list[tuple[str, float | None] | None]:
    """Progress of a request whose body of 10 bytes comes in two parts, after each of them."""
    watches = Watches()
    found: list[tuple[str, float | None] | None] = []
    parts: Iterator[Message] = iter(
        {"type": "http.request", "body": b"12345", "more_body": more} for more in (True, False)
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            await receive()
            progress = watches.progress(TOKEN)
            found.append(progress and progress[:2])

    async def receive() -> Message:
        return next(parts)

    async def send(message: Message) -> None: ...

    named = [(name.lower().encode(), value.encode()) for name, value in headers]
    asyncio.run(ProgressMiddleware(app, watches)({"type": "http", "headers": named}, receive, send))
    assert watches.progress(TOKEN) is None
    return found


def test_what_has_come_of_a_body_is_known() -> None:
    token = ("Ziggurat-Progress", TOKEN)
    assert seen(token, ("Content-Length", "10")) == [("receive", 0.5), ("receive", 1.0)]
    for length in ("", "0", "many"):  # a chunked body has none
        assert seen(token, ("Content-Length", length)) == [("receive", None), ("receive", None)]


def test_without_a_token_nothing_is() -> None:
    assert seen(("Content-Length", "10")) == [None, None]
