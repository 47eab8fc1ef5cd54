"""Limits on one peer, on real sockets; behind the protocol is the smallest app that will do."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.http import protocol
from service.http.protocol import Connections, LimitedProtocol
from service.metrics import Metrics
from service.server import bind

from ..conftest import Log

LARGE = 30_000_000
HOST = b"Host: x\r\n"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how long the body is; /large is large, /slow waits to be set free."""
    length = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        while not Peer.free.is_set():
            await asyncio.sleep(0.01)
    names = ",".join(name.decode() for name, _ in scope["headers"])
    answer = bytes(LARGE) if scope["path"] == "/large" else f"{length} {names}".encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", b"%d" % len(answer))],
        }
    )
    for start in range(0, len(answer), 65_536):
        ends = start + 65_536 >= len(answer)
        await send(
            {"type": "http.response.body", "body": answer[start : start + 65_536], "more_body": not ends}
        )


class Peer:
    """A server, and connections to it."""

    free = threading.Event()

    def __init__(self, *, maximum: int = 100, write_seconds: float = 60) -> None:
        self._listener = bind("127.0.0.1", 0)
        self.metrics = Metrics()
        shared = Connections(maximum, write_seconds, self.metrics)
        config = uvicorn.Config(
            _app,
            http=partial(LimitedProtocol, connections=shared),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, args=([self._listener],))

    def connect(self, sent: bytes = b"", *, receive_buffer: int | None = None) -> socket.socket:
        client = socket.socket()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(30)
        client.connect(self._listener.getsockname())
        client.sendall(sent)
        return client

    def refusals(self, status: int) -> float | None:
        labels = {"status": str(status)}
        return self.metrics.registry.get_sample_value("ziggurat_protocol_refusals_total", labels)

    def __enter__(self) -> Peer:
        self.free.clear()
        self._thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.free.set()
        self.server.should_exit = True
        self._thread.join(60)
        self._listener.close()


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


def pour(client: socket.socket, line: bytes, most: int = 20_000_000) -> int:
    """Send without end; gives the bytes that were accepted until the server had enough."""
    block = line * max(1, 64_000 // len(line))
    sent = 0
    client.settimeout(1)
    try:
        while sent < most:
            client.sendall(block)
            sent += len(block)
    except OSError:
        pass
    return sent


def answer(client: socket.socket) -> bytes:
    """One answer, in however many pieces it comes."""
    client.settimeout(30)
    received = b""
    while chunk := client.recv(65_536):
        received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)\r?$", head, re.MULTILINE)
        if length and len(body) >= int(length[1]):
            break
    return received


def all_of(client: socket.socket) -> bytes:
    client.settimeout(30)
    received = b""
    try:
        while chunk := client.recv(65_536):
            received += chunk
    except ConnectionResetError:  # bytes of ours were not read when it closed
        pass
    return received


def get(path: bytes = b"/", *headers: bytes) -> bytes:
    return b"GET %s HTTP/1.1\r\n%s%s\r\n" % (path, HOST, b"".join(header + b"\r\n" for header in headers))


def chunked(path: bytes = b"/") -> bytes:
    return b"POST %s HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n" % (path, HOST)


@pytest.mark.parametrize(
    ("begun", "line"),
    [
        (b"GET / HTTP/1.1\r\n", b"X-Endless: " + b"a" * 500 + b"\r\n"),
        (b"GET / HTTP/1.1\r\nX-Endless: ", b"a" * 500),
        (b"GET / HTTP/1.1\r\n", b"a:b\r\n"),
        (chunked() + b"1\r\na\r\n0\r\n", b"X-Trailer: " + b"a" * 500 + b"\r\n"),
        (chunked(), b"1\r\na\r\n"),
        (chunked(), b"1;e=" + b"f" * 100 + b"\r\na\r\n"),
    ],
    ids=["headers", "a header", "many headers", "trailers", "chunks", "extensions"],
)
def test_what_is_no_body_does_not_come_without_end(peer: Peer, begun: bytes, line: bytes) -> None:
    with peer.connect(begun) as client:
        pour(client, line, 500_000)
        reply = all_of(client)
    assert reply.startswith(b"HTTP/1.1 431 ")
    assert b"X-Content-Type-Options: nosniff" in reply
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["status"] == 431


def test_a_url_is_bounded(peer: Peer) -> None:
    with peer.connect(get(b"/?" + b"a&" * 5000)) as client:
        assert all_of(client).startswith(b"HTTP/1.1 414 ")


def test_headers_without_end_behind_a_slow_request_end_both() -> None:
    """The request at work would otherwise go on although its client has gone: nobody reads on."""
    with Peer() as peer, peer.connect(get(b"/slow") + b"GET / HTTP/1.1\r\n") as client:
        assert pour(client, b"X-Endless: " + b"a" * 500 + b"\r\n") < 19_000_000, "nobody reads them"
        for _ in range(500):
            if not peer.server.server_state.connections:
                return
            time.sleep(0.01)
    pytest.fail("the connection is still there")


def test_requests_that_wait_are_bounded_and_those_that_fit_are_answered(peer: Peer) -> None:
    with peer.connect(get(b"/slow") + 500 * get()) as client:
        peer.free.set()
        reply = all_of(client)
    peer.free.clear()
    assert reply.count(b"HTTP/1.1 200 ") == 1 + protocol._MAX_PIPELINED
    assert reply.count(b"HTTP/1.1 ") == 1 + protocol._MAX_PIPELINED


def test_many_requests_one_after_another_are_none_too_many(peer: Peer) -> None:
    with peer.connect() as client:
        for _ in range(400):
            client.sendall(get(b"/", b"X-Some: " + b"a" * 500))
            assert answer(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("size", [1_000, 8_192])
def test_honest_chunks_pass(peer: Peer, size: int) -> None:
    chunk = b"%x\r\n%s\r\n" % (size, bytes(size))
    number = 8_000_000 // size
    with peer.connect(chunked() + chunk * number + b"0\r\n\r\n") as client:
        assert b"\r\n\r\n%d " % (number * size) in answer(client)


def test_trailers_do_not_pass_for_headers(peer: Peer) -> None:
    with peer.connect(chunked(b"/slow") + b"1\r\na\r\n0\r\nX-API-Key: smuggled\r\n\r\n") as client:
        peer.free.set()
        reply = answer(client)
    peer.free.clear()
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b"x-api-key" not in reply


def test_an_upgrade_that_is_not_spoken_changes_nothing(peer: Peer) -> None:
    """Java's client offers HTTP/2 in every request, and bodies follow."""
    offer = HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
    sent = b"POST / HTTP/1.1\r\n%sContent-Length: 4\r\n\r\nbody" % offer
    sent += b"GET / HTTP/1.1\r\n%s\r\n" % offer
    with peer.connect(sent + get(b"/", b"Connection: close")) as client:
        reply = all_of(client)
    assert reply.count(b"HTTP/1.1 200 ") == 3
    assert b"\r\n\r\n4 host" in reply


def test_offers_of_other_protocols_are_limited_as_others_are(peer: Peer) -> None:
    offer = get(b"/", b"Connection: Upgrade", b"Upgrade: h2c")
    with peer.connect(get(b"/slow") + 500 * offer) as client:
        peer.free.set()
        reply = all_of(client)
    peer.free.clear()
    assert reply.count(b"HTTP/1.1 200 ") == 1 + protocol._MAX_PIPELINED


def test_this_is_no_proxy(peer: Peer) -> None:
    with peer.connect(b"CONNECT other.example:80 HTTP/1.1\r\n%s\r\n" % HOST) as client:
        assert all_of(client).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX-Slow: "])
def test_headers_that_do_not_come_are_not_waited_for(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "_MAX_HEADER_SECONDS", 0.2)
    with peer.connect(sent) as client:
        assert client.recv(65_536) == b"", "the server has closed"


def test_what_is_not_http_gets_a_problem_too(peer: Peer) -> None:
    with peer.connect(b"\x16\x03\x01 this looks like TLS\r\n\r\n") as client:
        reply = all_of(client)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in reply


def test_an_answer_that_nobody_reads_is_not_kept(log: Log) -> None:
    with Peer(write_seconds=0.3) as peer, peer.connect(get(b"/large"), receive_buffer=4096) as client:
        assert client.recv(1) == b"H"
        deadline = time.monotonic() + 30
        while peer.server.server_state.connections:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "an answer is not read: its connection is closed" in [line["message"] for line in log.lines()]


def test_the_end_of_an_answer_that_nobody_reads_is_not_kept_either() -> None:
    """The app is done with it, and all that is left lies in the server's own buffer."""
    with Peer(write_seconds=0.3) as peer, ExitStack() as clients:
        client = clients.enter_context(peer.connect(receive_buffer=4096))
        client.sendall(30 * get(b"/", b"X-" + b"a" * 1000 + b": b"))
        # The names of headers come back, until nothing fits any more.
        assert pour(client, 30 * get(b"/", b"X-" + b"a" * 1000 + b": b"), 10**9) < 10**9


def test_a_slow_reader_gets_everything() -> None:
    with Peer(write_seconds=0.5) as peer, peer.connect(get(b"/large"), receive_buffer=65_536) as client:
        received = 0
        begun = time.monotonic()
        while received < LARGE:
            # As slow as the limit allows, and a little faster, for some of its periods.
            if time.monotonic() < begun + 2:
                time.sleep(0.05)
            received += len(client.recv(65_536))
    assert received > LARGE


def test_one_connection_more_takes_the_place_of_the_one_idle_longest(log: Log) -> None:
    with Peer(maximum=5) as peer, ExitStack() as clients:
        busy = clients.enter_context(peer.connect(get(b"/slow")))
        idle = [clients.enter_context(peer.connect()) for _ in range(20)]
        newest = clients.enter_context(peer.connect(get()))
        assert newest.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert idle[0].recv(1) == b""
        peer.free.set()
        assert busy.recv(65_536).startswith(b"HTTP/1.1 200 "), "a request at work is not idle"
    told = [line for line in log.lines() if line["message"].startswith("too many connections")]
    assert len(told) == 1, "once in a while is enough"
    assert told[0]["maximum"] == 5


def test_when_no_connection_is_idle_the_next_is_refused() -> None:
    with Peer(maximum=3) as peer, ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(peer.connect(get(b"/slow")))
        time.sleep(0.2)
        reply = all_of(clients.enter_context(peer.connect()))
    assert reply.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: " in reply
    assert peer.refusals(503) == 1


@pytest.mark.parametrize(
    ("status", "hostile"),
    [
        (400, b"no HTTP\r\n\r\n"),
        (414, get(b"/?" + b"a&" * 5000)),
        (431, get(b"/", *[b"a: b"] * 300)),
    ],
)
def test_refusals_are_counted_and_now_and_then_logged(log: Log, status: int, hostile: bytes) -> None:
    with Peer() as peer:
        for _ in range(3):
            with peer.connect(hostile) as client:
                assert all_of(client).startswith(b"HTTP/1.1 %d " % status)
        assert peer.refusals(status) == 3
    told = [line for line in log.lines() if line["message"].startswith("refused by the protocol: ")]
    assert [line["status"] for line in told] == [status]
