"""Answers in chunks, from a real service, over connections that break."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import tracemalloc
from pathlib import Path
from typing import Self

import pytest
import ziggurat
from PIL import Image
from ziggurat import AsyncClient, Client, errors

from tests.client.scripted import Reply, Scripted, problem


class Cutting:
    """A proxy that breaks off each of its first answers after so many bytes of it."""

    def __init__(self, service: str, *after: int) -> None:
        host, _, port = service.removeprefix("http://").partition(":")
        self._service = (host, int(port))
        self._after = [*after]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.create_connection(self._service) as upstream:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += client.recv(65536)
                self.requests.append(request)
                left = self._after.pop(0) if self._after else 1 << 30
                upstream.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                while left and (piece := upstream.recv(min(left, 65536))):
                    client.sendall(piece)
                    left -= len(piece)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)


@pytest.fixture(scope="module")
def stored(client: Client) -> ziggurat.Compressed:
    """A stream of some kilobytes."""
    return client.compress(Image.effect_noise((240, 200), 60), quality=100)


def test_a_stored_stream_is_saved_as_it_is(
    client: Client, service: str, stored: ziggurat.Compressed, tmp_path: Path
) -> None:
    async def run() -> None:
        async with AsyncClient(service) as other:
            assert await other.stream_chunks(stored.id).save(tmp_path / "b.zgt") == stored.bytes
            chunks = [chunk async for chunk in other.stream_chunks(stored.id)]
            assert b"".join(chunks) == stored.data

    assert client.stream_chunks(stored.id).save(tmp_path / "a.zgt") == stored.bytes
    asyncio.run(run())
    file = io.BytesIO()
    client.stream_chunks(stored.id).save(file)
    contents = {file.getvalue(), *(path.read_bytes() for path in tmp_path.iterdir())}
    assert contents == {stored.data}
    assert len([*tmp_path.iterdir()]) == 2


def test_what_was_cut_off_goes_on_where_it_was(service: str, stored: ziggurat.Compressed) -> None:
    async def awaited(url: str) -> bytes:
        async with AsyncClient(url) as client:
            return b"".join([chunk async for chunk in client.stream_chunks(stored.id)])

    def blocking(url: str) -> bytes:
        with Client(url) as client:
            return b"".join(client.stream_chunks(stored.id))

    for fetch in (blocking, lambda url: asyncio.run(awaited(url))):
        with Cutting(service, 3000, 0, 2000) as cutting:
            assert fetch(cutting.url) == stored.data
        first, *others = cutting.requests
        assert b"Range" not in first
        assert len(others) == 3
        assert all(f'If-Range: "{stored.id}"'.encode() in request for request in others)


def test_there_is_an_end_to_it(service: str, stored: ziggurat.Compressed, tmp_path: Path) -> None:
    path = tmp_path / "a.zgt"
    path.write_bytes(b"as it was")
    with (
        Cutting(service, 3000, 0) as cutting,
        Client(cutting.url, retries=1) as client,
        pytest.raises(errors.ConnectionLostError),
    ):
        client.stream_chunks(stored.id).save(path)
    assert [found.read_bytes() for found in tmp_path.iterdir()] == [b"as it was"]


def test_pictures_come_in_chunks_too(
    client: Client, service: str, stored: ziggurat.Compressed, tmp_path: Path
) -> None:
    expected = client.decompress(stored, format="webp").data
    client.decompress_stored_chunks(stored.id, format="webp").save(tmp_path / "a.webp")
    client.decompress_chunks(stored, format="webp").save(tmp_path / "b.webp")
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {expected}
    # A picture is made anew for each request: a part of another one would not do.
    with (
        Cutting(service, 3000) as cutting,
        Client(cutting.url) as cut,
        pytest.raises(errors.ConnectionLostError),
    ):
        cut.decompress_stored_chunks(stored.id).save(tmp_path / "c.png")
    assert len(cutting.requests) == 1
    assert not (tmp_path / "c.png").exists()


def test_whoever_stops_half_way_holds_no_connection(service: str, stored: ziggurat.Compressed) -> None:
    async def run() -> None:
        async with AsyncClient(service) as other:
            async for _ in (chunks := aiter(other.stream_chunks(stored.id))):
                break
            await chunks.aclose()
            assert await other.ready()

    with Client(service) as client:
        for _ in client.stream_chunks(stored.id):
            break
        assert client.ready()
    asyncio.run(run())


def test_refusals_are_those_of_any_call(client: Client, scripted: Scripted) -> None:
    with pytest.raises(errors.NotStoredError):
        next(iter(client.stream_chunks("0" * 64)))
    with pytest.raises(errors.NotAStreamError):
        next(iter(client.decompress_chunks(b"no stream")))
    with pytest.raises(ValueError, match="64 hex digits"):
        client.stream_chunks("photo.zgt")
    scripted.replies = [problem(429, "overloaded", Retry_After="0"), Reply(200, b"another stream")]
    with Client(scripted.url) as other, pytest.raises(errors.DamagedAnswerError):
        b"".join(other.stream_chunks("0" * 64))
    assert len(scripted.received) == 2
    digest = {"Content-Digest": "sha-256=:AAAA:"}
    scripted.replies = [Reply(200, b"a picture", digest)]
    with Client(scripted.url) as other, pytest.raises(errors.DamagedAnswerError):
        b"".join(other.decompress_chunks(b"a stream"))


def test_what_goes_on_elsewhere_is_not_taken(scripted: Scripted) -> None:
    cut = Reply(200, b"abc", {"Content-Length": "6", "Connection": "close"})
    scripted.replies = [cut, Reply(206, b"ef", {"Content-Range": "bytes 4-5/6"})]
    with Client(scripted.url) as client, pytest.raises(errors.DamagedAnswerError, match="go on at byte 3"):
        b"".join(client.stream_chunks("0" * 64))


def test_nothing_large_is_held(scripted: Scripted, tmp_path: Path) -> None:
    scripted.replies = [Reply(200, bytes(20_000_000))]
    with Client(scripted.url) as client:
        tracemalloc.start()
        try:
            assert client.decompress_chunks(b"a stream").save(tmp_path / "large.png") == 20_000_000
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()
