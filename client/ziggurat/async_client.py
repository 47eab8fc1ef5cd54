"""AsyncClient: the same calls for asyncio."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, closing, suppress
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx2

from ziggurat.connection import Connection, incoming_of
from ziggurat.conversation import (
    RETRIES,
    TIMEOUT_SECONDS,
    Answer,
    Conversation,
    Incoming,
    Patience,
    Read,
    Receive,
    Run,
    Send,
    Sleep,
    Step,
)
from ziggurat.errors import TimedOutError
from ziggurat.flow import Flow, Target, written
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


def _chunking(
    operation: Callable[Concatenate[Operations, P], Flow],
) -> Callable[Concatenate[AsyncClient, P], AsyncChunks]:
    """Make an operation a method that gives its answer in chunks."""

    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncChunks:
        return AsyncChunks(self._drive, operation(self.connection.operations(), *args, **kwargs))

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
    link = _awaiting(Operations.link)
    exists = _awaiting(Operations.exists)
    delete = _awaiting(Operations.delete)
    service_info = _awaiting(Operations.service_info)
    stream_chunks = _chunking(Operations.stream_chunks)
    decompress_chunks = _chunking(Operations.decompress_chunks)
    decompress_stored_chunks = _chunking(Operations.decompress_stored_chunks)
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
            case Receive():
                return await self._receive(step)
            case Read():
                return await self._read(step)
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Run(function):
                return await asyncio.to_thread(function)

    async def _send(self, step: Send) -> Answer:
        incoming = await self._receive(step)
        received = []
        try:
            while chunk := await self._read(Read(incoming, step.patience)):
                received.append(chunk)
        finally:
            await incoming.close()
        return Answer(incoming.status, incoming.headers, b"".join(received))

    async def _receive(self, step: Send | Receive) -> Incoming:
        async def sent() -> AsyncGenerator[bytes, None]:
            assert step.request.body is not None
            chunks = step.request.body.open()
            try:
                while chunk := await asyncio.to_thread(next, chunks, b""):
                    yield chunk
            finally:
                with suppress(ValueError):  # a thread still reads, for a call that nobody waits for
                    chunks.close()

        async with self._in_time(step.patience), aclosing(sent()) as chunks:
            with self.connection.faults():
                request = self._http.build_request(**self.connection.arguments(step, chunks))
                response = await self._http.send(request, stream=True, follow_redirects=False)
        return incoming_of(response, response.aiter_bytes(), response.aclose)

    async def _read(self, step: Read) -> bytes:
        async with self._in_time(step.patience):
            with self.connection.faults():
                chunk: bytes = await anext(step.incoming.chunks, b"")
        return chunk

    @asynccontextmanager
    async def _in_time(self, patience: Patience) -> AsyncGenerator[None, None]:
        try:
            async with asyncio.timeout(patience.left()):
                yield
        except TimeoutError as error:
            raise TimedOutError(f"the call took longer than {self.connection.timeout} seconds") from error


class AsyncChunks:
    """An answer in chunks, none of which is held: iterate over it, or save it. Once.

    The time of a call is for all of it, the caller's own between two chunks too.
    """

    def __init__(
        self, drive: Callable[[Conversation[bytes]], Coroutine[Any, Any, bytes]], flow: Flow
    ) -> None:
        self._drive = drive
        self._flow = flow

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        try:
            while chunk := await self._drive(self._flow.next()):
                yield chunk
        finally:
            for incoming in self._flow.opened:
                await incoming.close()

    async def save(self, to: Target) -> int:
        """Write it to a file, or into an open one, and return its length in bytes.

        A file at a path is there when all of it is right, and as it was before when not.
        """
        length = 0
        with written(to) as file:
            async with aclosing(aiter(self)) as chunks:
                async for chunk in chunks:
                    length += await asyncio.to_thread(file.write, chunk)
        return length
