from __future__ import annotations

from contextlib import ExitStack

import pytest

from service.engine import costs
from service.engine.admission import Admission
from service.engine.costs import LARGE_PIXELS, Cost, Size
from service.engine.errors import OverloadedError, TooCostlyError
from service.engine.results import Measure


def admission(
    *, max_requests: int = 100, max_pixels: int = 1000, seconds_per_pixel: float = 0.0
) -> Admission:
    return Admission(
        max_requests=max_requests,
        max_pixels=max_pixels,
        max_seconds=120,
        seconds_per_pixel=lambda: seconds_per_pixel,
        best_seconds_per_pixel=lambda: seconds_per_pixel / 2,
    )


def small(work: float, effort: float = 0.0) -> Cost:
    return Cost(pixels=int(work), size=Size.SMALL, work=work, effort=effort)


def test_it_is_by_work_and_lets_one_giant_in() -> None:
    room = admission(max_pixels=1000)
    with room.admit(small(5000)), pytest.raises(OverloadedError, match="small"), room.admit(small(1)):
        pass
    with room.admit(small(600)), room.admit(small(400)):
        with pytest.raises(OverloadedError), room.admit(small(1)):
            pass
        assert (room.requests, room.pixels) == (2, 1000)
    with room.admit(small(1)):
        assert (room.requests, room.pixels) == (1, 1)
    assert (room.requests, room.pixels) == (0, 0)


def test_it_is_by_requests_too() -> None:
    room = admission(max_requests=2)
    with room.admit(small(1)), room.admit(small(1)):
        with pytest.raises(OverloadedError, match="2 requests"), room.admit(small(1)):
            pass
        with pytest.raises(OverloadedError, match="2 requests"):
            room.check()
    with room.admit(small(1)):
        pass


def test_large_pictures_and_collections_are_not_in_the_way_of_small_ones() -> None:
    room = admission(max_pixels=8_000_000)
    photo = costs.compress(40_000_000, "auto", frozenset(Measure), effort=9)
    with room.admit(photo), room.admit(costs.allocate(40_000_000, effort=9)):
        room.check()
        with pytest.raises(OverloadedError, match="large"), room.admit(costs.decompress(12_000_000)):
            pass
        with ExitStack() as inside:
            for _ in range(8):
                inside.enter_context(room.admit(costs.compress(1_000_000)))
            with pytest.raises(OverloadedError), room.admit(costs.compress(1)):
                pass
            with pytest.raises(OverloadedError, match="pixels are waiting"):
                room.check()  # now nobody would enter
        with room.admit(costs.compress(100_000, effort=9)):
            pass


def test_a_few_large_ones_share_their_room() -> None:
    room = admission(max_pixels=30_000_000)
    with room.admit(costs.compress(12_000_000)), room.admit(costs.compress(12_000_000)):
        with pytest.raises(OverloadedError), room.admit(costs.compress(12_000_000)):
            pass
        with room.admit(costs.compress(LARGE_PIXELS + 1)):
            pass


def test_effort_has_room_of_its_own() -> None:
    room = admission(max_pixels=10_000)
    with room.admit(costs.compress(1000, effort=9)):  # alone, it may be over the limit
        with pytest.raises(OverloadedError, match="effort"), room.admit(costs.compress(1000, effort=1)):
            pass
        with room.admit(costs.compress(1000)), room.admit(costs.compress(1000)):
            pass


def test_what_would_take_longer_than_a_request_may_is_refused_with_the_number() -> None:
    room = admission(max_pixels=10**9, seconds_per_pixel=4e-6)
    with room.admit(costs.compress(40_000_000)), room.admit(costs.compress(1_000_000, effort=9)):
        pass  # effort takes the time that there is
    expected = r"this would take about \d+ s here; a request has 120 s"
    with (
        pytest.raises(TooCostlyError, match=expected),
        room.admit(costs.compress(40_000_000, "auto", frozenset(Measure))),
    ):
        pass


@pytest.mark.parametrize(("seconds_per_pixel", "retry_after"), [(1e-9, 1), (0.004, 4), (0.1, 60)])
def test_the_refused_are_told_how_long_the_device_needs_within_reason(
    seconds_per_pixel: float, retry_after: float
) -> None:
    room = admission(seconds_per_pixel=seconds_per_pixel)
    with room.admit(small(1000)):
        with pytest.raises(OverloadedError) as caught, room.admit(small(10)):
            pass
        assert caught.value.retry_after == retry_after
        assert room.retry_after() == retry_after
