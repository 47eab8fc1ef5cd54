"""A real S3 server (moto) in a process of its own, behind a TCP proxy with faults on demand."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Literal

import pytest

Fault = Literal["refuses", "answers 503", "is silent"]
_numbers = count()


class Proxy(ThreadingTCPServer):
    """Passes connections on to `upstream`, answers `delay` seconds late, or has a `fault`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = upstream
        self.delay = 0.0
        self.fault: Fault | None = None
        self.connections: set[socket.socket] = set()

    def fail(self, fault: Fault) -> None:
        """From now on, open connections included."""
        self.fault = fault
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        match self.server.fault:
            case "refuses":
                return
            case "answers 503":
                self.request.recv(65536)
                self.request.sendall(
                    b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            case "is silent":
                while self.request.recv(65536):
                    pass
                return
        with socket.create_connection(self.server.upstream) as upstream:
            self.server.connections |= {self.request, upstream}
            back = threading.Thread(target=self._pump, args=(upstream, self.request, True), daemon=True)
            back.start()
            self._pump(self.request, upstream, False)
            back.join()
            self.server.connections -= {self.request, upstream}

    def _pump(self, source: socket.socket, target: socket.socket, late: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                if late:
                    time.sleep(self.server.delay)
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, int]]:
    """Host and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    command = [sys.executable, "-m", "moto.server", "-H", address[0], "-p", str(address[1])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(address).close()
                break
            except OSError:
                assert process.poll() is None, "moto did not start"
                assert time.monotonic() < deadline, "moto did not listen"
                time.sleep(0.05)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def proxy(s3_server: tuple[str, int]) -> Iterator[Proxy]:
    with Proxy(s3_server) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
        thread.start()
        yield proxy
        proxy.fail("refuses")
        proxy.shutdown()
        thread.join()


@pytest.fixture
def bucket(s3_server: tuple[str, int], proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new bucket, reached through the proxy."""
    name = f"streams-{os.getpid()}-{next(_numbers)}"
    host, port = s3_server
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/{name}", method="PUT")).close()
    for variable, value in {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_address[1]}",
    }.items():
        monkeypatch.setenv(variable, value)
    return f"s3://{name}/kept/here"


@pytest.fixture(autouse=True)
def _bytes_are_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in blocks: so a few small streams fill a quota."""
    monkeypatch.setattr("service.store.disk.BLOCK", 1)
