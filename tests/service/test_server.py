"""Limits and addresses of `ziggurat serve`. Draining is in `tests/end_to_end/test_server.py`."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.request import urlopen

import pytest

from service import server as server_module
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
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"server:" not in answer.lower().partition(b"\r\n\r\n")[0]
    assert b"x-request-id: " in answer


def test_the_limit_on_descriptors_is_raised_and_connections_stay_below_it() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        raised = server_module._raise_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == raised
        assert raised == min(hard, 65_536) or hard == resource.RLIM_INFINITY
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [server_module._connections(descriptors) for descriptors in (256, 1024, 65_536)] == [
        192,
        768,
        4000,
    ]


def test_idle_connections_keep_nobody_out(live: Callable[[Settings], Live]) -> None:
    settings = Settings(store="memory://", models=("psnr",), profile="psnr", threads=1, max_connections=8)
    with live(settings) as server, ExitStack() as clients:
        for _ in range(40):
            clients.enter_context(socket.create_connection(server.address))
        with urlopen(f"{server.url}/livez", timeout=30) as answer:
            assert answer.status == 200


def test_another_host_than_loopback_is_refused_where_only_loopback_listens(server: Live) -> None:
    def status(host: bytes, path: bytes = b"/models") -> bytes:
        with socket.create_connection(server.address) as client:
            client.sendall(b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (path, host))
            return b"".join(iter(lambda: client.recv(65536), b""))[9:12]

    assert [status(host) for host in (b"localhost:1", b"127.0.0.1", b"evil.example")] == [
        b"200",
        b"200",
        b"421",
    ]
    assert status(b"10.0.0.7:8000", b"/livez") == b"200", "a probe by the address of a container"
