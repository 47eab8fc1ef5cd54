"""models.entropy.requantisation"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.entropy.layer_torch import RowLayer
from models.entropy.requantisation import (
    EXACT_LIMIT,
    EXACT_PRODUCT,
    MULTIPLIER_BITS,
    UNIT,
    Integers,
    offset_of,
    requantised,
    require_exact,
)
from models.errors import WeightsError

LARGEST_SUM = EXACT_LIMIT - 1
LARGEST_MULTIPLIER = (EXACT_PRODUCT - EXACT_LIMIT) // LARGEST_SUM  # beside the largest sum
HALF = 1 << (MULTIPLIER_BITS - 1)


def by_definition(total: Integers, multiplier: Integers, lowest: int, highest: int) -> Integers:
    """In 64-bit integers."""
    outputs: Integers = ((total.astype(np.int64) * multiplier + HALF) >> MULTIPLIER_BITS).clip(
        lowest, highest
    )
    return outputs


def check(total: Integers, multiplier: Integers, lowest: int, highest: int) -> None:
    """NumPy and torch give what the definition gives."""
    expected = by_definition(total, multiplier, lowest, highest)
    ratio: Integers = multiplier * UNIT
    for bias in (0, 1, -12345, LARGEST_SUM, -LARGEST_SUM):
        fits = abs(total - bias) <= LARGEST_SUM
        sums: Integers = (total - bias)[fits].astype(np.float32)
        assert np.array_equal(sums, (total - bias)[fits])
        offset = offset_of(np.array([bias], np.float32), ratio)
        assert np.array_equal(requantised(sums, ratio, offset, lowest, highest), expected[fits])
        factor, start = (torch.from_numpy(values) for values in (ratio, offset))
        layer = RowLayer(torch.ones(1, 1), factor, start, lowest, highest, torch.float32)
        assert np.array_equal(layer(torch.from_numpy(sums)[:, None])[:, 0].numpy(), expected[fits])


@given(
    st.lists(st.integers(-LARGEST_SUM, LARGEST_SUM), min_size=1, max_size=40),
    st.integers(0, LARGEST_MULTIPLIER),
    st.sampled_from([(0, 255), (0, 1023), (-32, 32), (-(2**24), 2**24)]),
)
def test_it_is_multiply_and_shift(sums: list[int], multiplier: int, limits: tuple[int, int]) -> None:
    check(np.array(sums), np.array([multiplier]), *limits)


@pytest.mark.parametrize("multiplier", [1, 3, HALF - 1, HALF, HALF + 1, 2 * HALF - 1, LARGEST_MULTIPLIER])
def test_it_is_at_the_edges_too(multiplier: int) -> None:
    """The extreme sums, and those on either side of where the output changes."""
    steps = np.arange(-300, 300)
    edges = ((steps << MULTIPLIER_BITS) - HALF) // multiplier
    sums = np.concatenate([edges - 1, edges, edges + 1, [-LARGEST_SUM, LARGEST_SUM]])
    sums = sums[abs(sums) <= LARGEST_SUM]
    check(sums, np.array([multiplier]), -(2**24), 2**24)


def test_what_would_not_be_exact_is_refused() -> None:
    multiplier = np.array([0, LARGEST_MULTIPLIER], np.int32)
    require_exact(LARGEST_SUM, multiplier, "a layer")
    with pytest.raises(WeightsError, match=r"a layer can exceed 2\*\*24"):
        require_exact(EXACT_LIMIT, multiplier, "a layer")
    with pytest.raises(WeightsError, match=r"a layer can exceed 2\*\*53"):
        require_exact(LARGEST_SUM, multiplier + 1, "a layer")
