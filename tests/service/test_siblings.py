"""Workers ask each other; one that does not answer costs a moment and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from service import siblings as module
from service.siblings import Siblings
from service.workers import Worker


def test_who_is_alone_asks_nobody() -> None:
    async def steps() -> None:
        async with Siblings(None, {}) as alone:
            assert await alone.ask("metrics") == {}

    asyncio.run(steps())


def test_all_others_that_answer_in_time_have_answered(
    workers: Callable[[int], list[Worker]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third is ready by its own word, and listens, but nobody is there."""
    monkeypatch.setattr(module, "_SECONDS", 0.3)
    first_worker, second_worker, third_worker = workers(3)
    for worker in (first_worker, second_worker, third_worker):
        worker.tell_ready()

    async def twice(number: int) -> int:
        return 2 * number

    async def steps() -> None:
        async with Siblings(first_worker, {}) as first, Siblings(second_worker, {"twice": twice}):
            assert await first.ask("twice", 21) == {1: 42}
            third_worker.board.died(2)
            assert await first.ask("twice", 4) == {1: 8}
            assert await first.ask("nonsense") == {}

    asyncio.run(steps())
