"""The client for asyncio: the same results, side by side, and cancelled at once."""

from __future__ import annotations

import asyncio
import io
import os
import time
from pathlib import Path

import httpx2
import pytest
from PIL import Image
from ziggurat import AsyncClient, Client, Source
from ziggurat.errors import ImageTooLargeError, TimedOutError, UnreachableError

from tests.client.scripted import Reply, Scripted, problem

SIZES = range(500, 800, 50)


def test_the_results_are_those_of_the_blocking_client(
    service: str, client: Client, folder: Path, photo: Image.Image
) -> None:
    async def run() -> None:
        async with AsyncClient(service) as other:
            mine, theirs = client.compress(photo, bpp=0.5), await other.compress(photo, bpp=0.5)
            assert theirs.data == mine.data
            assert theirs.id == mine.id
            assert (await other.decompress(theirs)).data == client.decompress(mine).data
            assert await other.info(mine.id) == client.info(mine.id)
            assert await other.models() == client.models()
            assert await other.ready()
            images: list[Source] = [folder / "photo.jpg", photo]
            assert await other.allocate(images, budget_bpp=0.4) == client.allocate(images, budget_bpp=0.4)
            with pytest.raises(ImageTooLargeError):
                await other.compress(Image.new("L", (1000, 1000)), bpp=1)

    asyncio.run(run())


def test_many_at_once(service: str, folder: Path) -> None:
    async def run() -> None:
        async with AsyncClient(service) as client:
            path = folder / "photo.jpg"
            made = await asyncio.gather(
                *(client.compress(path, max_bytes=size) for size in range(500, 800, 50))
            )
        assert all(one.bytes <= size for one, size in zip(made, range(500, 800, 50), strict=True))

    asyncio.run(run())


def test_a_refusal_is_waited_out_and_the_body_sent_again(scripted: Scripted, folder: Path) -> None:
    async def run() -> None:
        async with AsyncClient(scripted.url) as client:
            with pytest.raises(Exception, match="told"):
                await client.compress(folder / "photo.jpg", bpp=0.5)

    scripted.replies = [problem(429, "overloaded", Retry_After="0"), problem(422, "damaged-image")]
    asyncio.run(run())
    assert [request.body for request in scripted.received] == [(folder / "photo.jpg").read_bytes()] * 2


def test_time_and_cancellation_end_it_at_once() -> None:
    async def run() -> None:
        async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncClient(url, timeout=0.1) as client:
            with pytest.raises(TimedOutError, match=r"0\.1 seconds"):
                await client.models()
            call = asyncio.create_task(client.within(60).models())
            await asyncio.sleep(0.05)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        server.close()

    begun = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - begun < 30


def test_a_body_that_never_comes_does_not_outlast_its_time(scripted: Scripted) -> None:
    async def run(body: io.FileIO) -> None:
        async with AsyncClient(scripted.url, timeout=0.2) as client:
            with pytest.raises(TimedOutError):
                await client.compress(body, bpp=0.5)
        os.close(sending)  # the thread that reads may end

    receiving, sending = os.pipe()
    with open(receiving, "rb", buffering=0) as body:
        asyncio.run(run(body))
    scripted.replies = [Reply(404)]


def test_one_of_ones_own_is_used_and_left_open(scripted: Scripted) -> None:
    async def run() -> None:
        async with httpx2.AsyncClient(headers={"X-Mine": "yes"}) as http:
            async with AsyncClient(scripted.url, http=http) as client:
                await client.models()
            assert not http.is_closed
        async with AsyncClient("http://127.0.0.1:1", retries=0) as client:
            with pytest.raises(UnreachableError):
                await client.models()
            assert "127.0.0.1:1" in repr(client)

    scripted.replies = [Reply(200, b"[]")]
    asyncio.run(run())
    assert scripted.received[0].headers["X-Mine"] == "yes"
