"""Turns of large bodies, on real connections of a real event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest

from service.http.pace import Pace, PacedFlow

from .test_protocol import HOST, Peer, all_of


@asynccontextmanager
async def paused(pace: Pace, count: int) -> AsyncIterator[list[PacedFlow]]:
    """Open connections that have brought so much that they are not read."""
    with ExitStack() as stack:
        flows = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            stack.callback(theirs.close)
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
            stack.callback(transport.abort)
            flows.append(PacedFlow(transport, pace))
            flows[-1].pause_reading()
        yield flows


def be_busy(pace: Pace) -> None:
    """Use the processor until bodies owe so much that a pause of this process repays little."""
    while pace.balance() > -0.008:
        pass


def test_an_idle_loop_reads_on_at_once() -> None:
    async def scene() -> None:
        pace = Pace()
        async with paused(pace, 1) as [flow]:
            flow.resume_reading()
            assert not flow.read_paused

    asyncio.run(scene())


def test_behind_a_busy_loop_each_waits_for_its_turn() -> None:
    async def scene() -> None:
        pace = Pace(share=0.1)
        async with paused(pace, 3) as flows:
            be_busy(pace)
            for flow in flows:
                flow.resume_reading()
                flow.resume_reading()  # asking twice gives no second turn
            assert all(flow.read_paused for flow in flows)
            order: list[int] = []
            while len(order) < 3:
                await asyncio.sleep(0.01)
                order += [at for at, flow in enumerate(flows) if not flow.read_paused and at not in order]
            assert order == [0, 1, 2]

    asyncio.run(scene())


def test_whoever_hangs_up_holds_nobody_up() -> None:
    async def scene() -> None:
        pace = Pace(share=0.1)
        async with paused(pace, 2) as [gone, other]:
            be_busy(pace)
            gone.resume_reading()
            other.resume_reading()
            gone._transport.abort()
            while other.read_paused:
                await asyncio.sleep(0.01)
            assert gone.read_paused

    asyncio.run(scene())


@pytest.mark.parametrize("framing", ["Content-Length: 3000000", "Transfer-Encoding: chunked"])
def test_many_bodies_at_once_all_arrive(framing: str) -> None:
    head = b"POST / HTTP/1.1\r\n%s%s\r\nConnection: close\r\n\r\n" % (HOST, framing.encode())
    body = bytes(3_000_000)
    if "chunked" in framing:
        body = b"2dc6c0\r\n" + body + b"\r\n0\r\n\r\n"
    with Peer() as peer:
        clients = [peer.connect(head) for _ in range(20)]
        for client in clients:
            client.sendall(body)
        for client in clients:
            with client:
                assert b"\r\n\r\n3000000 " in all_of(client)
