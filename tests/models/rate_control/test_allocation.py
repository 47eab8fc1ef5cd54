"""models.rate_control.allocation"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.rate_control import MEMBER_TOLERANCE, Allocation, Measured, RateDistortion, allocate, next_budget


@st.composite
def convex_curves(draw: st.DrawFn, most_bytes: int = 400, most_corners: int = 4) -> RateDistortion:
    """Falling and convex, with whole corners."""
    costs = draw(st.lists(st.integers(1, most_bytes // most_corners), min_size=0, max_size=most_corners - 1))
    slopes = sorted(
        draw(st.lists(st.floats(0.01, 100), min_size=len(costs), max_size=len(costs), unique=True)),
        reverse=True,
    )
    sizes = np.cumsum([draw(st.integers(1, most_bytes)), *costs])
    gains = np.array(slopes) * costs
    return RateDistortion(sizes, gains.sum() - np.concatenate([[0.0], np.cumsum(gains)]))


def total(curves: list[RateDistortion], budgets: tuple[int, ...]) -> float:
    return sum(curve(size) for curve, size in zip(curves, budgets, strict=True))


@given(st.lists(convex_curves(most_bytes=24, most_corners=3), min_size=1, max_size=3), st.floats(0, 1))
def test_no_other_way_to_spend_the_budget_is_better(curves: list[RateDistortion], share: float) -> None:
    lowest, highest = (sum(int(curve.sizes[end]) for curve in curves) for end in (0, -1))
    budget = round(lowest + share * (highest - lowest))
    allocation = allocate(curves, budget)
    every = product(*(range(int(curve.sizes[0]), int(curve.sizes[-1]) + 1) for curve in curves))
    best = min(total(curves, budgets) for budgets in every if sum(budgets) <= budget)
    assert allocation.reach == "within"
    assert sum(allocation.budgets) == budget
    assert total(curves, allocation.budgets) <= best + 1e-9 * max(1.0, abs(best))


@given(st.lists(convex_curves(), min_size=1, max_size=8), st.integers(1, 4000))
def test_a_budget_is_never_exceeded_and_all_of_it_spent(curves: list[RateDistortion], budget: int) -> None:
    lowest, highest = (tuple(int(curve.sizes[end]) for curve in curves) for end in (0, -1))
    allocation = allocate(curves, budget)
    assert all(
        low <= size <= high for low, size, high in zip(lowest, allocation.budgets, highest, strict=True)
    )
    if allocation.reach == "within":
        assert sum(allocation.budgets) == budget
    else:
        assert allocation.budgets == (lowest if allocation.reach == "below" else highest)
        assert (budget < sum(lowest)) if allocation.reach == "below" else (budget > sum(highest))


def test_two_equal_pictures_get_the_same() -> None:
    curve = RateDistortion.through([(1_000, 0.2), (4_000, 0.05), (16_000, 0.01)])
    first, second = allocate([curve, curve], 9_000).budgets
    assert abs(first - second) < 0.03 * 9_000  # a piece at the price belongs to one of them


def test_the_picture_that_gains_more_from_a_byte_gets_more() -> None:
    flat, rich = (
        RateDistortion.through([(1_000, 0.02), (4_000, 0.015), (16_000, 0.01)]),
        RateDistortion.through([(1_000, 0.5), (4_000, 0.2), (16_000, 0.1)]),
    )
    flat_bytes, rich_bytes = allocate([flat, rich], 8_000).budgets
    assert rich_bytes > 3 * flat_bytes


def test_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="no picture"):
        allocate([], 1_000)


points = st.lists(st.tuples(st.integers(20, 10**6), st.floats(0, 1)), min_size=1, max_size=9)


@given(points)
@example([(20, 0.9999999999999999), (21, 1e-06), (22, 0.0)])
def test_a_curve_through_anything_is_falling_convex_and_above_no_measurement(
    measured: list[tuple[int, float]],
) -> None:
    curve = RateDistortion.through(measured)
    assert (np.diff(curve.sizes) > 0).all()
    slopes = np.diff(curve.distortions) / np.diff(curve.sizes)
    assert (slopes < 0).all()
    assert (np.diff(slopes) > 0).all()
    floor = 1e-6 * max(distortion for _, distortion in measured)
    for size, distortion in measured:
        assert curve(size) <= max(distortion, floor) * (1 + 1e-9) + 1e-12 or size < curve.sizes[0]
    assert curve.sizes[0] == min(measured)[0]


def test_a_power_law_is_found_again_from_seven_points() -> None:
    """Rate-distortion curves are like power laws; 10 bytes in 1000 would be felt nowhere."""
    sizes = np.geomspace(1_000, 40_000, 7).round()
    curve = RateDistortion.through([(int(size), 30 * size**-0.8) for size in sizes])
    for size in (1_400, 5_000, 30_000):
        assert curve(size) == pytest.approx(30 * size**-0.8, rel=1e-3)


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=30),
    st.lists(st.floats(0, MEMBER_TOLERANCE), min_size=30, max_size=30),
)
def test_streams_that_come_near_their_budgets_come_nearer_to_the_whole(
    planned: list[int], unspent: list[float]
) -> None:
    budget = sum(planned)
    made: list[int] = []
    allocation = Allocation(tuple(planned), "within")
    for share in unspent[: len(planned)]:
        allowed = next_budget(allocation, made, budget)
        made.append(min(allowed, math.ceil(allowed * (1 - share))))
    assert sum(made) <= budget + len(made)  # next_budget never allows less than one byte
    assert sum(made) >= (1 - MEMBER_TOLERANCE) * budget - 1


def test_what_one_stream_has_too_much_the_others_save() -> None:
    allocation = Allocation((100, 200, 300), "within")
    assert next_budget(allocation, [], 600) == 100
    assert next_budget(allocation, [110], 600) == 200 * 490 // 500
    assert next_budget(allocation, [110, 196], 600) == 294


def test_bytes_that_no_picture_can_use_are_left_alone() -> None:
    assert next_budget(Allocation((100, 200), "above"), [90], 1_000) == 200


@pytest.mark.parametrize(("metric", "distortion"), [("psnr", 0.002 * 5_000), ("ms-ssim", 0.03)])
def test_pixels_count_in_a_pooled_error_and_pictures_in_a_mean(metric: str, distortion: float) -> None:
    assert Measured(900, 0.002, 0.97).distortion(metric, 5_000) == pytest.approx(distortion)  # type: ignore[arg-type]
