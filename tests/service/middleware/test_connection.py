"""Clients that hang up, and clients that are answered while they still send, on real sockets."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from service.settings import Settings

from ..conftest import Live


@pytest.fixture(scope="module")
def server(live: Callable[[Settings], Live]) -> Iterator[Live]:
    settings = Settings(
        store="memory://",
        models=("ms-ssim",),
        threads=1,
        max_body_bytes=4_000_000,
        body_timeout_seconds=0.5,
        api_keys="the-only-key-of-ours",
    )
    with live(settings) as server:
        yield server


def post(
    server: Live, path: str, body: bytes, *, length: int | None = None, key: str = "the-only-key-of-ours"
) -> socket.socket:
    """A request on its way; the answer has not been read."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"X-API-Key: {key}",
        "Content-Type: image/jpeg",
        f"Content-Length: {length or len(body)}",
        "",
        "",
    )
    client = socket.create_connection(server.address)
    client.sendall("\r\n".join(lines).encode() + body)
    return client


def answer(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    with client:
        client.settimeout(30)
        return b"".join(iter(lambda: client.recv(65536), b""))


def _hold_the_device(server: Live) -> threading.Thread:
    """A request of 2048x1536 pixels, which the device has when this returns, for seconds."""
    large = io.BytesIO()
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 256, (192, 256, 3), np.uint8))
    noise.resize((2048, 1536)).save(large, "JPEG")
    request = Request(
        f"{server.url}/compress?bpp=1",
        large.getvalue(),
        {"Content-Type": "image/jpeg", "X-API-Key": "the-only-key-of-ours"},
    )
    holder = threading.Thread(target=lambda: urlopen(request).close())
    holder.start()
    server.wait_for(lambda: server.metric("stage_duration_seconds_count", stage="queue") > 0)
    return holder


def test_the_work_of_clients_that_hang_up_is_never_done(server: Live, jpeg: bytes) -> None:
    pixels = 2048 * 1536
    holder = _hold_the_device(server)

    with ExitStack() as clients:
        for _ in range(200):
            clients.enter_context(post(server, "/compress?bpp=1", jpeg))
        server.wait_for(lambda: server.metric("queue_images") == 200)
    server.wait_for(lambda: server.metric("in_flight_requests") == 1)
    assert server.metric("queue_pixels") == pixels, (
        "the room of those who left is free, and the device is still busy"
    )

    holder.join()
    server.wait_for(lambda: server.metric("in_flight_requests") == 0 and server.metric("queue_images") == 0)
    assert server.metric("pixels_total", direction="compress") == pixels
    assert server.metric("batch_images_sum") == 1, "none of theirs ran"
    assert server.metric("requests_total", route="/compress", method="POST", status="499") == 200
    assert server.metric("requests_total", route="/compress", method="POST", status="201") == 1


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error(server: Live, jpeg: bytes) -> None:
    before = server.metric("requests_total", route="/compress", method="POST", status="499")
    post(server, "/compress?bpp=1", jpeg[:100], length=len(jpeg)).close()
    server.wait_for(
        lambda: server.metric("requests_total", route="/compress", method="POST", status="499") == before + 1
    )
    assert server.metric("in_flight_requests") == 0


def test_a_body_that_does_not_come_is_not_waited_for(server: Live, jpeg: bytes) -> None:
    reply = answer(post(server, "/compress?bpp=1", jpeg[:100], length=len(jpeg)))

    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in reply.lower()
    assert b"body-timeout" in reply


@pytest.mark.parametrize(("key", "status"), [("the-only-key-of-ours", b"413"), ("another", b"401")])
def test_an_early_answer_arrives_although_the_body_was_not_read(
    server: Live, key: str, status: bytes
) -> None:
    """Were the server to close at once, a reset would overtake the answer.

    The body is megabytes more than the buffers between the two hold.
    """
    reply = answer(post(server, "/compress?bpp=1", bytes(12_000_000), key=key))

    assert reply.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in reply.lower()


def test_a_connection_serves_the_next_request_after_an_ordinary_one(server: Live) -> None:
    client = HTTPConnection(*server.address)
    ports = set()
    for _ in range(2):
        client.request("GET", "/livez")
        ports.add(client.sock.getsockname())
        assert client.getresponse().read()
    client.close()
    assert len(ports) == 1


def test_when_there_is_no_room_nobody_waits_for_a_body(live: Callable[[Settings], Live], jpeg: bytes) -> None:
    settings = Settings(store="memory://", models=("psnr",), profile="psnr", threads=1, max_queued_requests=1)
    with live(settings) as server:
        holder = _hold_the_device(server)
        for path in ("/compress?bpp=1", "/decompress"):
            client = post(server, path, b"", length=len(jpeg))
            reply = client.recv(65536)
            client.close()
            assert reply.startswith(b"HTTP/1.1 429 ")
            assert b"retry-after: " in reply.lower()
        holder.join()
