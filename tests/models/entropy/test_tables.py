"""models.entropy.tables"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.entropy.tables import (
    LAPLACE_TABLES,
    LARGEST_SUPPORT,
    TOTAL,
    Z_LIMIT,
    Tables,
    index_thresholds,
    integer_counts,
    laplace_scales,
)


@pytest.fixture(scope="module")
def tables() -> Tables:
    values = np.arange(-Z_LIMIT, Z_LIMIT + 1)
    shifts = ((-2, -1), (0, 0), (5, 9))  # by channel and context
    return Tables.make(
        np.array([[0.5 ** np.abs(values - shift) for shift in row] for row in shifts]), np.array([-2, 0, 5])
    )


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=600).filter(lambda weights: sum(weights) > 0))
def test_counts_sum_to_the_total_and_none_is_zero(weights: list[float]) -> None:
    counts = integer_counts(np.array(weights))
    assert counts.sum() == TOTAL
    assert counts.min() >= 1


def test_a_laplace_table_has_the_entropy_of_its_distribution(tables: Tables) -> None:
    for scale, counts in zip(laplace_scales()[20:50], tables.laplace[20:50], strict=True):
        k = np.arange(-2000, 2001)
        edges = np.where(
            k == 0,
            1 - np.exp(-0.5 / scale),
            0.5 * np.exp(-(np.abs(k) - 0.5) / scale) * (1 - np.exp(-1 / scale)),
        )
        exact = -(edges * np.log2(np.maximum(edges, 1e-300))).sum()
        p = counts / TOTAL
        assert -(p * np.log2(p)).sum() == pytest.approx(exact, rel=1e-3)


def test_code_lengths_grow_with_the_magnitude_and_table_0_costs_nothing(tables: Tables) -> None:
    bits = tables.laplace_bits()
    assert bits.shape == (LAPLACE_TABLES, LARGEST_SUPPORT + 2)
    assert not bits[0].any()
    assert (np.diff(bits[1:], axis=1) >= 0).all()


def test_thresholds_lie_between_the_scales_they_part() -> None:
    scales, thresholds = laplace_scales(), index_thresholds()
    assert (scales[:-1] < thresholds).all()
    assert (thresholds < scales[1:]).all()


def test_arrays_restore_the_tables(tables: Tables) -> None:
    restored = Tables.from_arrays(tables.to_arrays())
    assert all(np.array_equal(a, b) for a, b in zip(tables.laplace, restored.laplace, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(tables.z, restored.z, strict=True))
    assert np.array_equal(tables.z_low, restored.z_low)
    assert np.array_equal(tables.z_centre, restored.z_centre)
    assert np.array_equal(tables.z_high, restored.z_high)


def test_code_lengths_of_z_are_those_of_its_tables(tables: Tables) -> None:
    bits = tables.z_bits()
    assert bits.shape[:2] == (3, 2)
    for channel, contexts in enumerate(tables.z):
        for context, counts in enumerate(contexts):
            assert bits[channel, context, : len(counts)] == pytest.approx(-np.log2(counts / TOTAL), rel=1e-6)
            assert not bits[channel, context, len(counts) :].any()
