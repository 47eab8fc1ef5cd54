"""Workers: the server processes of one service on one machine, and what they know of each other.

They share a page of memory, made before they are forked. Each of its cells is written by one
process at a time, whole, so that no lock is needed.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import IntEnum
from mmap import mmap
from pathlib import Path


class _Row(IntEnum):
    READY = 0
    CONNECTIONS = 1
    RESTARTS = 2


class Board:
    """Facts about every worker, which all of them read.

    A worker writes its own, its supervisor clears them when it has died.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._cells = memoryview(mmap(-1, len(_Row) * workers * 8)).cast("q")

    def _at(self, row: _Row, worker: int) -> int:
        return row * self.workers + worker

    def connections(self, worker: int) -> int:
        """Return how many connections a worker had when it last said so."""
        return self._cells[self._at(_Row.CONNECTIONS, worker)]

    def set_connections(self, worker: int, connections: int) -> None:
        """Say how many connections a worker has."""
        self._cells[self._at(_Row.CONNECTIONS, worker)] = connections

    def ready(self) -> list[int]:
        """List the workers that take connections."""
        return [worker for worker in range(self.workers) if self._cells[self._at(_Row.READY, worker)]]

    def set_ready(self, worker: int) -> None:
        """Say that a worker takes connections."""
        self._cells[self._at(_Row.READY, worker)] = 1

    def restarts(self, worker: int) -> int:
        """Return how often a worker was replaced."""
        return self._cells[self._at(_Row.RESTARTS, worker)]

    def died(self, worker: int) -> None:
        """Clear what a worker said, and count that it is replaced."""
        self._cells[self._at(_Row.READY, worker)] = 0
        self._cells[self._at(_Row.CONNECTIONS, worker)] = 0
        self._cells[self._at(_Row.RESTARTS, worker)] += 1


@dataclass(frozen=True, slots=True)
class Worker:
    """One server process among others that its supervisor has forked.

    Attributes:
        index: its number, from 0; a process that replaces it has the same.
        board: what the workers know of each other.
        sockets: the folder with each worker's Unix socket, named by its number.
        listener: its own of these, bound and listening.
        supervisor: takes a byte when the worker is ready; gives one when it is to leave, and ends
            with the supervisor.
    """

    index: int
    board: Board
    sockets: Path
    listener: socket.socket
    supervisor: socket.socket

    def others(self) -> list[int]:
        """List the other workers that take connections."""
        return [worker for worker in self.board.ready() if worker != self.index]

    def is_busiest(self, connections: int) -> bool:
        """Say whether another worker has fewer connections, and tell the others of these."""
        self.board.set_connections(self.index, connections)
        return any(self.board.connections(other) < connections for other in self.others())

    def tell_ready(self) -> None:
        """Tell the others and the supervisor that connections are taken from now on."""
        self.board.set_ready(self.index)
        self.supervisor.send(b"r")
