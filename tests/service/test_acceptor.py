"""Two workers and one listener: connections that come at once are shared."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest

from service.acceptor import Acceptor
from service.workers import Worker

CLIENTS = 16


def _serve(worker: Worker, listener: socket.socket) -> None:
    """Count connections for as long as the supervisor's end is open."""

    async def run() -> None:
        connected: set[asyncio.BaseTransport] = set()

        class Counted(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connected.add(transport)

        acceptor = Acceptor(worker, listener, Counted, lambda: len(connected))
        worker.tell_ready()
        await asyncio.get_running_loop().sock_recv(worker.supervisor, 1)
        worker.is_busiest(len(connected))
        acceptor.close()
        await acceptor.wait_closed()

    worker.supervisor.setblocking(False)
    asyncio.run(run())


def test_clients_that_come_at_once_go_to_both(workers: Callable[[int], list[Worker]]) -> None:
    both = workers(2)
    board = both[0].board
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as open_ones:
        pids = []
        ours = []
        for index in range(2):
            end, theirs = map(open_ones.enter_context, socket.socketpair())
            if not (pid := os.fork()):
                _serve(replace(both[index], supervisor=theirs), listener)
                os._exit(0)
            pids.append(pid)
            ours.append(end)
        for end in ours:
            assert end.recv(1) == b"r"
        for _ in range(CLIENTS):
            open_ones.enter_context(socket.create_connection(listener.getsockname()))
        deadline = time.monotonic() + 20
        taken = 0
        while taken < CLIENTS and time.monotonic() < deadline:
            time.sleep(0.3)
            for end, pid in zip(ours, pids, strict=True):
                if end.fileno() >= 0:
                    end.send(b"l")
                    os.waitpid(pid, 0)
                    end.close()
            taken = sum(map(board.connections, range(2)))
    each = [board.connections(worker) for worker in range(2)]
    assert sum(each) == CLIENTS
    assert min(each) >= CLIENTS // 4


def test_without_descriptors_it_pauses_and_goes_on(
    workers: Callable[[int], list[Worker]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.acceptor._PAUSE_SECONDS", 0.05)

    class Full(socket.socket):
        refusals = 2

        def accept(self) -> tuple[socket.socket, object]:
            if self.refusals:
                self.refusals -= 1
                raise OSError(24, "Too many open files")
            return super().accept()

    async def steps() -> None:
        made = asyncio.Event()

        class Told(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.set()
                transport.close()

        listener = Full()
        listener.bind(("127.0.0.1", 0))
        acceptor = Acceptor(workers(1)[0], listener, Told, lambda: 0)
        with socket.create_connection(listener.getsockname()), listener:
            async with asyncio.timeout(20):
                await made.wait()
            acceptor.close()
        assert listener.refusals == 0
        await asyncio.sleep(0.05)

    asyncio.run(steps())
