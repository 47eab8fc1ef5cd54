from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from service.engine.admission import Admission
from service.engine.effort import cost
from service.engine.errors import DeadlineExceededError, OverloadedError


def admission(
    *, max_requests: int = 100, max_pixels: int = 1000, timeout: float = 60, seconds_per_pixel: float = 0.0
) -> Admission:
    return Admission(
        max_requests=max_requests,
        max_pixels=max_pixels,
        timeout=timeout,
        seconds_per_pixel=lambda: seconds_per_pixel,
    )


def run(steps: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await steps()

    asyncio.run(main())


def test_it_is_by_pixels_and_lets_one_giant_in() -> None:
    room = admission(max_pixels=1000)

    async def steps() -> None:
        async with room.admit(5000):
            with pytest.raises(OverloadedError, match="5000 pixels"):
                async with room.admit(1):
                    pass
        async with room.admit(600), room.admit(400):
            with pytest.raises(OverloadedError):
                room.check()
        async with room.admit(1):
            assert (room.requests, room.pixels) == (1, 1)

    run(steps)
    assert (room.requests, room.pixels) == (0, 0)


def test_it_is_by_requests_too() -> None:
    room = admission(max_requests=2)

    async def steps() -> None:
        async with room.admit(1), room.admit(1):
            with pytest.raises(OverloadedError, match="2 requests"):
                async with room.admit(1):
                    pass
        async with room.admit(1):
            pass

    run(steps)


def test_effort_has_room_of_its_own() -> None:
    room = admission(max_pixels=10_000)

    async def steps() -> None:
        async with room.admit(1000, 1000 * cost(9)):  # alone, it may be over the limit
            with pytest.raises(OverloadedError, match="effort"):
                async with room.admit(1000, 1000 * cost(1)):
                    pass
            async with room.admit(1000), room.admit(1000):
                pass

    run(steps)


@pytest.mark.parametrize(("seconds_per_pixel", "retry_after"), [(1e-9, 1), (0.004, 4), (10, 60)])
def test_the_refused_are_told_how_long_the_device_needs_within_reason(
    seconds_per_pixel: float, retry_after: float
) -> None:
    room = admission(seconds_per_pixel=seconds_per_pixel)

    async def steps() -> None:
        async with room.admit(1000):
            with pytest.raises(OverloadedError) as caught:
                room.check()
            assert caught.value.retry_after == retry_after

    run(steps)


def test_a_request_may_not_take_for_ever() -> None:
    room = admission(timeout=0.02)

    async def steps() -> None:
        async with room.admit(1) as deadline:
            assert 0 < deadline - time.monotonic() <= 0.02
        with pytest.raises(DeadlineExceededError):
            async with room.admit(1):
                await asyncio.sleep(10)
        with pytest.raises(TimeoutError, match="another's"):
            async with room.admit(1):
                raise TimeoutError("another's")
        assert room.requests == 0

    run(steps)
