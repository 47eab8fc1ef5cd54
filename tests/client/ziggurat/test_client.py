"""The blocking client: it sends, waits, and gives up on time."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from PIL import Image
from ziggurat import AsyncClient, Client
from ziggurat.errors import OverloadedError, StatusError, TimedOutError
from ziggurat.operations import Operations

from tests.client.scripted import Reply, Scripted, problem

MODELS = Reply(200, b"[]", {"Content-Type": "application/json"})
BUSY = problem(429, "overloaded", Retry_After="0")


class Peer:
    """Takes one connection, and does with it what a subclass says. As a context, its URL."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)

    def talk(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection, contextlib.suppress(OSError):
            self.talk(connection)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)
        self._listener.close()
        assert not self._thread.is_alive()


class Discarding(Peer):
    """Reads a body of 50 MB, keeps nothing of it, and answers 404."""

    def talk(self, connection: socket.socket) -> None:
        left = 50_000_000
        while left > 0:
            left -= len(connection.recv(1 << 16))
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


class Dripping(Peer):
    """Answers a byte at a time."""

    def talk(self, connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n")
        for _ in range(600):
            connection.sendall(b"x")
            time.sleep(0.05)


def test_a_refusal_is_waited_out_and_the_body_sent_again(scripted: Scripted, folder: Path) -> None:
    file = folder / "photo.jpg"
    scripted.replies = [BUSY, BUSY, problem(422, "damaged-image")]
    with Client(scripted.url) as client, pytest.raises(Exception, match="told"):
        client.compress(file, bpp=0.5)
    assert [request.body for request in scripted.received] == [file.read_bytes()] * 3


def test_there_is_an_end_to_it(scripted: Scripted) -> None:
    scripted.replies = [BUSY]
    with Client(scripted.url, retries=2) as client, pytest.raises(OverloadedError):
        client.models()
    assert len(scripted.received) == 3


def test_a_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.tiff"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    with Discarding() as url, Client(url) as client:
        tracemalloc.start()
        try:
            with pytest.raises(StatusError, match="404"):
                client.compress(path, bpp=1)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


def test_an_answer_that_drips_is_cut_off() -> None:
    """Each byte comes in time, and all of them would take half a minute."""
    with Dripping() as url, Client(url, timeout=0.3) as client, pytest.raises(TimedOutError):
        client.models()


def test_another_time_on_the_same_connections(scripted: Scripted) -> None:
    scripted.replies = [MODELS]
    with Client(scripted.url, "key", timeout=50) as client:
        other = client.within(None)
        assert (other.connection.timeout, client.connection.timeout) == (None, 50)
        other.models()
        other.close()  # not its own
        client.models()
    assert {request.headers["Authorization"] for request in scripted.received} == {"Bearer key"}


def test_a_client_of_ones_own_is_used_and_left_open(scripted: Scripted) -> None:
    scripted.replies = [MODELS]
    with httpx2.Client(headers={"X-Mine": "yes"}) as http:
        with Client(scripted.url, http=http) as client:
            client.models()
        assert not http.is_closed
    assert scripted.received[0].headers["X-Mine"] == "yes"


def test_threads_share_one(client: Client, photo: Image.Image) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda size: client.compress(photo, max_bytes=size), range(500, 900, 50)))
    assert [one.target_met and one.bytes <= size for one, size in zip(made, range(500, 900, 50), strict=True)]
    assert len({one.id for one in made}) == len(made)


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_its_methods_are_the_operations_documented_and_typed(cls: type) -> None:
    for name, operation in inspect.getmembers(Operations, inspect.isfunction):
        if name.startswith("_"):
            continue
        method = getattr(cls, name)
        assert method.__doc__ == operation.__doc__
        assert list(inspect.signature(method).parameters) == list(inspect.signature(operation).parameters)
        assert "Conversation" not in str(inspect.signature(method))
        chunks = name.endswith("_chunks")  # begin with the first one
        assert inspect.iscoroutinefunction(method) == (cls is AsyncClient and not chunks)
        if chunks:
            result = "AsyncChunks" if cls is AsyncClient else "Chunks"
            assert inspect.signature(method).return_annotation == result
