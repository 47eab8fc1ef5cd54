"""models.rate_control.gain_search"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.rate_control import GainSearch, meets
from models.rate_control.gain_search import CODING_SHORTFALL_BYTES, MOST_PROBES
from models.rate_control.position import MAX_INDEX

PREDICTED = np.geomspace(1_000, 60_000, 12)


def run(search: GainSearch, size: object) -> None:
    while (position := search.probe) is not None:
        search.observe(position, size(position))  # type: ignore[operator]  # a function of a position


@given(
    shift=st.floats(-2, 2),
    bend=st.floats(-0.4, 0.4),
    ripple=st.floats(0, 0.004),
    share=st.floats(0.02, 0.98),
    tolerance=st.sampled_from([0.01, 0.004]),
)
def test_any_smooth_rate_curve_is_met_from_below(
    shift: float, bend: float, ripple: float, share: float, tolerance: float
) -> None:
    def size(position: int) -> float:
        t = position / MAX_INDEX
        return math.exp(shift + 7 + 4 * t + bend * math.sin(3 * t) + ripple * math.sin(900 * t))

    budget = round(math.exp(math.log(size(0)) + share * (math.log(size(MAX_INDEX)) - math.log(size(0)))))
    search = GainSearch(budget, PREDICTED, tolerance)
    run(search, size)
    assert meets(search.budget, size(search.best), tolerance)
    assert search.probes <= MOST_PROBES


def test_what_the_coder_takes_off_does_not_miss_the_budget() -> None:
    search = GainSearch(3_000, PREDICTED)
    run(search, lambda position: 2_000 + position / 16)
    assert meets(search.budget, 2_000 + search.best / 16 - CODING_SHORTFALL_BYTES)
    first = GainSearch(3_000, PREDICTED)
    first.observe(0, 2_971)  # in reach of the tolerance, but for the coder
    assert first.probe is not None


def test_a_budget_below_the_range_ends_at_the_lowest_position() -> None:
    search = GainSearch(10, PREDICTED)
    run(search, lambda position: 1_000 + position)
    assert (search.best, search.probes) == (0, 1)


def test_a_budget_above_the_range_ends_at_the_highest_position() -> None:
    search = GainSearch(10_000_000, PREDICTED)
    run(search, lambda position: 1_000 + position)
    assert (search.best, search.probes) == (MAX_INDEX, 1)


def test_a_step_in_the_curve_ends_below_it() -> None:
    search = GainSearch(5_000, PREDICTED)
    run(search, lambda position: 2_000 if position < 30_000 else 9_000)
    assert search.best < 30_000
    assert search.probes <= MOST_PROBES


def test_a_right_prediction_needs_one_probe() -> None:
    search = GainSearch(10_000, PREDICTED)
    run(
        search,
        lambda position: math.exp(np.interp(position, np.linspace(0, MAX_INDEX, 12), np.log(PREDICTED))),
    )
    assert search.probes == 1
