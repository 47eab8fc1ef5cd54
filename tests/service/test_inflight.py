from __future__ import annotations

import asyncio

import pytest

from service.engine.errors import OverloadedError
from service.inflight import MIN_BYTES_PER_SECOND, Answers, Bodies


def test_bodies_are_charged_while_they_are_held() -> None:
    bodies = Bodies(max_bytes=100, seconds=10)
    with bodies.arrival() as first, bodies.arrival() as second:
        first.grow(30)
        first.complete()
        second.grow(40)
        assert bodies.bytes == 70
    assert bodies.bytes == 0


def test_the_slowest_body_gives_way() -> None:
    bodies = Bodies(max_bytes=100, seconds=10)
    with bodies.arrival() as slow, bodies.arrival() as quick:
        slow.grow(60)
        quick.grow(60)
        assert bodies.bytes == 60
        with pytest.raises(OverloadedError, match="100 bytes"):
            slow.grow(1)
        with pytest.raises(OverloadedError):
            slow.complete()
    assert bodies.bytes == 0


def test_a_body_that_keeps_up_the_rate_is_not_the_slowest() -> None:
    period = 10 * MIN_BYTES_PER_SECOND
    bodies = Bodies(max_bytes=2 * period, seconds=10)
    with bodies.arrival() as early, bodies.arrival() as late:
        late.grow(1)
        early.grow(period)  # it came before the other, and has a new period since now
        early.grow(period)
        assert bodies.bytes == 2 * period
        with pytest.raises(OverloadedError):
            late.check()


def test_a_complete_body_does_not_give_way() -> None:
    bodies = Bodies(max_bytes=100, seconds=10)
    with bodies.arrival() as complete, bodies.arrival() as arriving:
        complete.grow(60)
        complete.complete()
        with pytest.raises(OverloadedError) as refused:
            arriving.grow(60)
    assert refused.value.retry_after > 0


def test_one_body_alone_always_enters() -> None:
    bodies = Bodies(max_bytes=100, seconds=10)
    with bodies.arrival() as large:
        large.grow(1000)
        large.complete()


def test_giving_way_ends_the_wait() -> None:
    bodies = Bodies(max_bytes=100, seconds=3600)

    async def stall() -> None:
        with bodies.arrival() as arrival:
            arrival.grow(60)
            try:
                with arrival.waiting() as limit:
                    async with limit:
                        await asyncio.sleep(3600)
            except TimeoutError:
                arrival.check()

    async def both() -> None:
        stalled = asyncio.create_task(stall())
        await asyncio.sleep(0)
        with bodies.arrival() as arrival:
            arrival.grow(60)
            with pytest.raises(OverloadedError):
                await stalled

    asyncio.run(both())


def test_a_body_that_came_fast_and_then_stops_is_waited_for_no_longer_than_others() -> None:
    bodies = Bodies(max_bytes=10**9, seconds=0.05)

    async def fall_silent() -> None:
        with bodies.arrival() as arrival:
            arrival.grow(60_000_000)
            with arrival.waiting() as limit:
                async with limit:
                    await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        asyncio.run(fall_silent())


def test_answers_that_are_not_taken_keep_others_from_being_made() -> None:
    answers = Answers(max_bytes=100)
    with answers.held(60):
        answers.check()
        with answers.held(60), pytest.raises(OverloadedError, match="120 bytes"):
            answers.check()
    answers.check()
    assert answers.bytes == 0
