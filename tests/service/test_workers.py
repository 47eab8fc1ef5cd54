"""What workers know of each other."""

from __future__ import annotations

import os
from collections.abc import Callable

from service.workers import Board, Worker


def test_what_a_worker_says_another_process_reads() -> None:
    board = Board(2)
    if not (pid := os.fork()):
        board.set_connections(1, 7)
        board.set_ready(1)
        os._exit(0)
    os.waitpid(pid, 0)
    assert (board.ready(), board.connections(1), board.connections(0)) == ([1], 7, 0)
    board.died(1)
    assert (board.ready(), board.connections(1), board.restarts(1)) == ([], 0, 1)


def test_the_busiest_is_who_has_more_than_another_that_takes_connections(
    workers: Callable[[int], list[Worker]],
) -> None:
    first, second, third = workers(3)
    assert not first.is_busiest(5), "there is nobody else yet"
    for worker in (first, second):
        worker.board.set_ready(worker.index)
    assert first.others() == [1]
    assert first.is_busiest(1)
    assert not second.is_busiest(1)
    assert not first.is_busiest(1), "equal"
    assert third.is_busiest(2)
