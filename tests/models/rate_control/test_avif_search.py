"""models.rate_control.avif_search"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.rate_control import meets
from models.rate_control.avif_search import (
    LAST_SETTING,
    LEVELS,
    MOST_ENCODES,
    STRENGTHS,
    AvifSearch,
    average_sizes,
)

PIXELS = 400_000
FIXED = 24


def run(search: AvifSearch, size: Callable[[int], int]) -> dict[int, int]:
    seen: dict[int, int] = {}
    while (setting := search.probe) is not None:
        assert setting not in seen, "nothing is encoded twice"
        seen[setting] = size(setting)
        search.observe(setting, seen[setting])
    return seen


def picture(shift: float, bend: float, span: float) -> Callable[[int], int]:
    """Sizes as pictures have them: of their own scale and slope, and with strengths that add
    nothing or more than a level does.
    """
    levels = average_sizes(PIXELS)

    def size(setting: int) -> int:
        level, strength = divmod(setting, STRENGTHS)
        return FIXED + round(
            float(levels[level]) * math.exp(shift + bend * level / LEVELS + span * strength / STRENGTHS)
        )

    return size


@given(
    shift=st.floats(-2, 2),
    bend=st.floats(-0.5, 0.5),
    span=st.floats(0.09, 0.3),
    share=st.floats(0.1, 0.9),
)
def test_any_picture_is_brought_just_under_its_budget(
    shift: float, bend: float, span: float, share: float
) -> None:
    size = picture(shift, bend, span)
    budget = round(
        math.exp((1 - share) * math.log(size(0)) + share * math.log(size((LEVELS - 1) * STRENGTHS)))
    )
    search = AvifSearch(budget, FIXED, average_sizes(PIXELS))
    seen = run(search, size)

    assert len(seen) <= MOST_ENCODES
    assert seen[search.best] <= budget
    assert seen[search.best] >= 0.93 * budget
    assert seen[search.best] == max(size for size in seen.values() if size <= budget)


@given(budget=st.integers(1, 5_000_000), sizes=st.lists(st.integers(25, 2_000_000), min_size=64, max_size=64))
def test_whatever_the_sizes_are_the_search_ends(budget: int, sizes: list[int]) -> None:
    search = AvifSearch(budget, FIXED, average_sizes(PIXELS))
    seen = run(search, lambda setting: sizes[setting % 64])

    assert 1 <= len(seen) <= MOST_ENCODES
    assert all(0 <= setting <= LAST_SETTING for setting in seen)
    within = [size for size in seen.values() if size <= budget]
    assert seen[search.best] == (max(within) if within else min(seen.values()))


def test_budgets_out_of_reach_end_at_the_ends() -> None:
    size = picture(0, 0, 0.1)
    for budget, best in ((10, 0), (50_000_000, LAST_SETTING)):
        search = AvifSearch(budget, FIXED, average_sizes(PIXELS))
        seen = run(search, size)
        assert search.best == best
        assert len(seen) <= 3


def test_a_right_expectation_needs_one_encode() -> None:
    expected = average_sizes(PIXELS)
    search = AvifSearch(round(1.004 * expected[30]) + FIXED, FIXED, expected)
    seen = run(search, picture(0, 0, 0.1))

    assert list(seen) == [30 * STRENGTHS]
    assert meets(search.budget, seen[search.best])


def test_without_strengths_only_levels_are_seen() -> None:
    search = AvifSearch(20_000, FIXED, average_sizes(PIXELS), strengths=False)
    seen = run(search, picture(0.4, -0.2, 0.1))

    assert not any(setting % STRENGTHS for setting in seen)
    assert np.all(np.diff(search.expected()) >= 0)
