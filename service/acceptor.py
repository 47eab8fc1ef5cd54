"""Connections from a listener that several workers share.

A server by itself takes all that wait as soon as it sees them: of sixteen clients that come at once
one worker would get nearly all, and keep them as long as they stay. Here a worker takes one at a
time, and one that has more than another gives it a moment to come first.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from .workers import Worker

_BACKLOG = 2048
_DEFER_SECONDS = 0.002  # what an idle worker needs to wake up; a busy one does not come
_PAUSE_SECONDS = 1.0  # without a descriptor for one more
_log = logging.getLogger(__name__)


class Acceptor:
    """Listens, and makes a protocol of each connection that it takes.

    Args:
        worker: this process.
        listener: bound; closed by whoever made it.
        protocol: makes one.
        connections: counts those of this process.
    """

    def __init__(
        self,
        worker: Worker,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        connections: Callable[[], int],
    ) -> None:
        self._worker = worker
        self._listener = listener
        self._protocol = protocol
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[object]] = set()
        self._closed = False
        listener.setblocking(False)
        listener.listen(_BACKLOG)
        self._listen()

    def close(self) -> None:
        """Take no more."""
        self._closed = True
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Do nothing: those that were taken are their protocols' business."""

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._someone_waits)

    def _someone_waits(self) -> None:
        if self._worker.is_busiest(self._connections() + len(self._beginning)):
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_DEFER_SECONDS, self._take_late)
        else:
            self._take()

    def _take_late(self) -> None:
        if not self._closed and self._take():
            self._listen()

    def _take(self) -> bool:
        """Take one, if it still waits; False when that has to pause."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return True  # another worker has it, or it has gone
        except OSError as error:
            _log.error("no connection can be taken for a moment: %s", error)
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_PAUSE_SECONDS, self._listen)
            return False
        connection.setblocking(False)
        with suppress(OSError):  # it has gone
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))
        self._beginning.add(made)
        made.add_done_callback(self._beginning.discard)
        return True
