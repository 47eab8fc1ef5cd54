"""Clients that hang up too early, and clients that are answered while they still send."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Unread body is discarded up to these limits before an answered connection closes.
_MAX_LINGER_SECONDS = 2.0
_MAX_LINGER_BYTES = 16 * 2**20


class DisconnectMiddleware:
    """Cancels the work on a request whose client has hung up.

    It then answers 499, which reaches nobody but the log and the metrics. A server reports that a
    client is gone only to an app that asks, and an endpoint that waits for the device does not ask.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body_read = asyncio.Event()
        held: list[Message] = []
        begun = False
        ended = False

        async def read() -> Message:
            message = held.pop() if held else await receive()
            if _ends_body(message):
                body_read.set()
            return message

        async def answer(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def watch(limit: asyncio.Timeout) -> None:
            await body_read.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            if not ended:  # after the answer's last byte "disconnect" is how every request ends
                limit.reschedule(0)

        if not _announces_body(scope):
            # The endpoint will not ask for an empty body, but only behind it comes "disconnect".
            held.append(await receive())
            body_read.set()
        try:
            async with asyncio.timeout(None) as limit:
                watcher = asyncio.create_task(watch(limit))
                try:
                    await self._app(scope, read, answer)
                finally:
                    watcher.cancel()
        except TimeoutError:
            if not limit.expired():
                raise
            if not begun:
                await send({"type": "http.response.start", "status": 499, "headers": []})
                await send({"type": "http.response.body"})


class LingerMiddleware:
    """Closes the connection of a request that was answered before its body was read, with a delay.

    Closing with unread bytes resets the connection, and a reset can overtake the answer: the client
    would see an error and no 413. So the rest of the body is read for a while, and discarded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or not _announces_body(scope):
            await self._app(scope, receive, send)
            return
        read_all = False

        async def read() -> Message:
            nonlocal read_all
            message = await receive()
            read_all = read_all or _ends_body(message)
            return message

        async def discard() -> None:
            length = 0
            while not read_all and length < _MAX_LINGER_BYTES:
                length += len((await read()).get("body", b""))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not read_all:
                MutableHeaders(scope=message)["Connection"] = "close"
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if ends and not read_all:
                await send({**message, "more_body": True})  # the whole answer goes out before the wait
                with suppress(TimeoutError):
                    async with asyncio.timeout(_MAX_LINGER_SECONDS):
                        await discard()
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, read, answer)


def _announces_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _ends_body(message: Message) -> bool:
    return message["type"] == "http.disconnect" or not message.get("more_body", False)
