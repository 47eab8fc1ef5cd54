"""AsyncClient: the same calls for asyncio."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, closing, suppress
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx2

from ziggurat.connection import Connection, answer_of
from ziggurat.conversation import RETRIES, TIMEOUT_SECONDS, Answer, Conversation, Run, Send, Sleep, Step
from ziggurat.errors import TimedOutError
from ziggurat.operations import Operations, document

P = ParamSpec("P")
T = TypeVar("T")


def _awaiting(
    operation: Callable[Concatenate[Operations, P], Conversation[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """Make an operation a method whose result is awaited."""

    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._drive(operation(self.connection.operations(), *args, **kwargs))

    return document(method, operation)


class AsyncClient:
    """A client of one service for asyncio; `async with` closes its connections.

    Its methods are those of `Client`. Files are read, and images encoded, in threads. Arguments are
    those of `Client`, too, with `http` an `httpx2.AsyncClient`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | None = TIMEOUT_SECONDS,
        retries: int = RETRIES,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self.connection = Connection.to(url, api_key, timeout, retries)
        self._owns_http = http is None
        self._http = http or httpx2.AsyncClient()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self.connection.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            await self._http.aclose()

    def within(self, timeout: float | None) -> Self:
        """Return this client with another timeout: `await client.within(900).allocate(...)`.

        Both share the connections.
        """
        other = copy.copy(self)
        other._owns_http = False
        other.connection = self.connection.within(timeout)
        return other

    compress = _awaiting(Operations.compress)
    decompress = _awaiting(Operations.decompress)
    decompress_stored = _awaiting(Operations.decompress_stored)
    enhance = _awaiting(Operations.enhance)
    allocate = _awaiting(Operations.allocate)
    allocate_stored = _awaiting(Operations.allocate_stored)
    stream = _awaiting(Operations.stream)
    info = _awaiting(Operations.info)
    exists = _awaiting(Operations.exists)
    delete = _awaiting(Operations.delete)
    service_info = _awaiting(Operations.service_info)
    models = _awaiting(Operations.models)
    ready = _awaiting(Operations.ready)

    async def _drive(self, conversation: Conversation[T]) -> T:
        """Perform a conversation's steps, and return its result."""
        with closing(conversation):
            try:
                step = next(conversation)
                while True:
                    try:
                        reply = await self._perform(step)
                    except Exception as error:
                        step = conversation.throw(error)
                    else:
                        step = conversation.send(reply)
            except StopIteration as done:
                result: T = done.value
                return result

    async def _perform(self, step: Step) -> Any:
        match step:
            case Send():
                return await self._send(step)
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Run(function):
                return await asyncio.to_thread(function)

    async def _send(self, step: Send) -> Answer:
        async def sent() -> AsyncGenerator[bytes, None]:
            assert step.request.body is not None
            chunks = step.request.body.open()
            try:
                while chunk := await asyncio.to_thread(next, chunks, b""):
                    yield chunk
            finally:
                with suppress(ValueError):  # a thread still reads, for a call that nobody waits for
                    chunks.close()

        try:
            async with asyncio.timeout(step.patience.left()), aclosing(sent()) as chunks:
                with self.connection.faults():
                    request = self._http.build_request(**self.connection.arguments(step, chunks))
                    response = await self._http.send(request, stream=True, follow_redirects=False)
                    async with aclosing(response):
                        return answer_of(response, await response.aread())
        except TimeoutError as error:
            raise TimedOutError(f"the call took longer than {self.connection.timeout} seconds") from error
