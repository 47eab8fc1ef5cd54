"""Limits and addresses of `ziggurat serve`. Draining is in `tests/end_to_end/test_server.py`."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import pytest

from service.server import bind
from service.settings import Settings

from .conftest import Live


@pytest.fixture(scope="module")
def server(live: Callable[[Settings], Live]) -> Iterator[Live]:
    with live(Settings(store="memory://", models=("psnr",), profile="psnr", threads=1)) as server:
        yield server


def test_a_taken_port_is_an_error_and_a_free_one_does_not_listen_yet() -> None:
    with bind("127.0.0.1", 0) as listener:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listener.getsockname()[:2])
        listener.listen()
        with pytest.raises(OSError, match="in use"):
            bind(*listener.getsockname()[:2])


def test_the_server_does_not_tell_its_name(server: Live) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"server:" not in answer.lower().partition(b"\r\n\r\n")[0]
    assert b"x-request-id: " in answer


def test_headers_without_end_are_cut_off(server: Live) -> None:
    with socket.create_connection(server.address) as client:
        client.settimeout(30)
        client.sendall(b"GET /livez HTTP/1.1\r\nX-Endless: " + b"a" * 70_000)
        reply = client.recv(65536)
    assert reply.startswith(b"HTTP/1.1 431 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["status"] == 431


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nX-Slow: "])
def test_headers_that_do_not_come_are_not_waited_for(
    server: Live, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("service.server._MAX_HEADER_SECONDS", 0.2)
    with socket.create_connection(server.address) as client:
        client.settimeout(15)
        client.sendall(sent)
        assert client.recv(65536) == b"", "the server has closed"


def test_what_is_not_http_gets_a_problem_too(server: Live) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(b"\x16\x03\x01 this looks like TLS\r\n\r\n")
        reply = client.recv(65536)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in reply
