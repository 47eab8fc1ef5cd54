"""What `ziggurat serve` adds to uvicorn. Headers without end are in `test_connection.py`, draining is in `tests/end_to_end`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from service.server import bind
from service.settings import Settings


def test_a_taken_port_is_an_error_and_a_free_one_does_not_listen_yet() -> None:
    with bind("127.0.0.1", 0) as listener:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listener.getsockname()[:2])
        listener.listen()
        with pytest.raises(OSError, match="in use"):
            bind(*listener.getsockname()[:2])


def test_the_server_does_not_tell_its_name(live: Callable[[Settings], Any]) -> None:
    with live(Settings(store="memory://", models=("psnr",), profile="psnr")) as server, socket.create_connection(server.address) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"server:" not in answer.lower().partition(b"\r\n\r\n")[0]
    assert b"x-request-id: " in answer
