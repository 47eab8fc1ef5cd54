from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.engine.admission import Admission
from service.engine.effort import cost
from service.engine.errors import OverloadedError


def admission(
    *, max_requests: int = 100, max_pixels: int = 1000, seconds_per_pixel: float = 0.0
) -> Admission:
    return Admission(
        max_requests=max_requests,
        max_pixels=max_pixels,
        seconds_per_pixel=lambda: seconds_per_pixel,
    )


def run(steps: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await steps()

    asyncio.run(main())


def test_it_is_by_pixels_and_lets_one_giant_in() -> None:
    room = admission(max_pixels=1000)

    async def steps() -> None:
        with room.admit(5000), pytest.raises(OverloadedError, match="5000 pixels"), room.admit(1):
            pass
        with room.admit(600), room.admit(400), pytest.raises(OverloadedError):
            room.check()
        with room.admit(1):
            assert (room.requests, room.pixels) == (1, 1)

    run(steps)
    assert (room.requests, room.pixels) == (0, 0)


def test_it_is_by_requests_too() -> None:
    room = admission(max_requests=2)

    async def steps() -> None:
        with room.admit(1), room.admit(1), pytest.raises(OverloadedError, match="2 requests"), room.admit(1):
            pass
        with room.admit(1):
            pass

    run(steps)


def test_effort_has_room_of_its_own() -> None:
    room = admission(max_pixels=10_000)

    async def steps() -> None:
        with room.admit(1000, 1000 * cost(9)):  # alone, it may be over the limit
            with pytest.raises(OverloadedError, match="effort"), room.admit(1000, 1000 * cost(1)):
                pass
            with room.admit(1000), room.admit(1000):
                pass

    run(steps)


@pytest.mark.parametrize(("seconds_per_pixel", "retry_after"), [(1e-9, 1), (0.004, 4), (10, 60)])
def test_the_refused_are_told_how_long_the_device_needs_within_reason(
    seconds_per_pixel: float, retry_after: float
) -> None:
    room = admission(seconds_per_pixel=seconds_per_pixel)

    async def steps() -> None:
        with room.admit(1000):
            with pytest.raises(OverloadedError) as caught:
                room.check()
            assert caught.value.retry_after == retry_after

    run(steps)
