"""Client: calls of the service that block."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx2

from ziggurat.connection import Connection, incoming_of
from ziggurat.conversation import (
    RETRIES,
    TIMEOUT_SECONDS,
    Answer,
    Conversation,
    Incoming,
    Read,
    Receive,
    Run,
    Send,
    Sleep,
    Step,
)
from ziggurat.flow import Flow, Target, written
from ziggurat.operations import Operations, document

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    operation: Callable[Concatenate[Operations, P], Conversation[T]],
) -> Callable[Concatenate[Client, P], T]:
    """Make an operation a method that returns its result."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._drive(operation(self.connection.operations(), *args, **kwargs))

    return document(method, operation)


def _chunking(
    operation: Callable[Concatenate[Operations, P], Flow],
) -> Callable[Concatenate[Client, P], Chunks]:
    """Make an operation a method that gives its answer in chunks."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Chunks:
        return Chunks(self._drive, operation(self.connection.operations(), *args, **kwargs))

    return document(method, operation)


class Client:
    """A client of one service. Several threads may share one; `with` closes its connections.

    Args:
        url: of the service, such as "http://localhost:8000"; `ZIGGURAT_URL` if None, and then
            the key is `ZIGGURAT_API_KEY`.
        api_key: where the service asks for one.
        timeout: seconds for a call, waits and repetitions included; None for any number.
        retries: times that a request is sent again, at most. That is done where nothing was done:
            without a connection, and where the service turns it away (429, 503) and says when to
            come back. One that only reads is sent again after a lost connection, too.
        http: an httpx2 client to send with, for proxies and certificates of one's own. It is the
            caller's to close.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | None = TIMEOUT_SECONDS,
        retries: int = RETRIES,
        http: httpx2.Client | None = None,
    ) -> None:
        self.connection = Connection.to(url, api_key, timeout, retries)
        self._owns_http = http is None
        self._http = http or httpx2.Client()

    def __repr__(self) -> str:
        return f"<Client of {self.connection.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

    def within(self, timeout: float | None) -> Self:
        """Return this client with another timeout: `client.within(900).allocate(...)`.

        Both share the connections.
        """
        other = copy.copy(self)
        other._owns_http = False
        other.connection = self.connection.within(timeout)
        return other

    compress = _blocking(Operations.compress)
    decompress = _blocking(Operations.decompress)
    decompress_stored = _blocking(Operations.decompress_stored)
    enhance = _blocking(Operations.enhance)
    allocate = _blocking(Operations.allocate)
    allocate_stored = _blocking(Operations.allocate_stored)
    stream = _blocking(Operations.stream)
    info = _blocking(Operations.info)
    link = _blocking(Operations.link)
    exists = _blocking(Operations.exists)
    delete = _blocking(Operations.delete)
    service_info = _blocking(Operations.service_info)
    stream_chunks = _chunking(Operations.stream_chunks)
    decompress_chunks = _chunking(Operations.decompress_chunks)
    decompress_stored_chunks = _chunking(Operations.decompress_stored_chunks)
    models = _blocking(Operations.models)
    ready = _blocking(Operations.ready)

    def _drive(self, conversation: Conversation[T]) -> T:
        """Perform a conversation's steps, and return its result."""
        with closing(conversation):
            try:
                step = next(conversation)
                while True:
                    try:
                        reply = self._perform(step)
                    except Exception as error:
                        step = conversation.throw(error)
                    else:
                        step = conversation.send(reply)
            except StopIteration as done:
                result: T = done.value
                return result

    def _perform(self, step: Step) -> Any:
        match step:
            case Send():
                return self._send(step)
            case Receive():
                return self._receive(step)
            case Read():
                return self._read(step)
            case Sleep(seconds):
                time.sleep(seconds)
            case Run(function):
                return function()

    def _send(self, step: Send) -> Answer:
        incoming = self._receive(step)
        received = []
        with closing(incoming):
            while chunk := self._read(Read(incoming, step.patience)):
                received.append(chunk)
        return Answer(incoming.status, incoming.headers, b"".join(received))

    # The timeouts of sockets begin anew with each chunk, so the time is looked at between them.
    def _receive(self, step: Send | Receive) -> Incoming:
        def sent() -> Generator[bytes, None, None]:
            assert step.request.body is not None
            for chunk in step.request.body.open():
                step.patience.left()
                yield chunk

        with closing(sent()) as chunks, self.connection.faults():
            request = self._http.build_request(**self.connection.arguments(step, chunks))
            response = self._http.send(request, stream=True, follow_redirects=False)
        return incoming_of(response, response.iter_bytes(), response.close)

    def _read(self, step: Read) -> bytes:
        step.patience.left()
        with self.connection.faults():
            chunk: bytes = next(step.incoming.chunks, b"")
        return chunk


class Chunks:
    """An answer in chunks, none of which is held: iterate over it, or save it. Once.

    The time of a call is for all of it, the caller's own between two chunks too.
    """

    def __init__(self, drive: Callable[[Conversation[bytes]], bytes], flow: Flow) -> None:
        self._drive = drive
        self._flow = flow

    def __iter__(self) -> Iterator[bytes]:
        try:
            while chunk := self._drive(self._flow.next()):
                yield chunk
        finally:
            for incoming in self._flow.opened:
                incoming.close()

    def save(self, to: Target) -> int:
        """Write it to a file, or into an open one, and return its length in bytes.

        A file at a path is there when all of it is right, and as it was before when not.
        """
        with written(to) as file:
            return sum(file.write(chunk) for chunk in self)
