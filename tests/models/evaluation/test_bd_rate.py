"""BD-rates of curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.bd_rate import RateQuality, bd_rate

RATES = [0.04, 0.09, 0.2, 0.45, 1.0]


def logarithmic(rates: list[float], *, factor: float = 1.0, gain: float = 4.0) -> RateQuality:
    """quality = 30 + gain ln(rate / factor): needs `factor` times the bits of factor 1."""
    return RateQuality(rates, [30 + gain * float(np.log(rate / factor)) for rate in rates])


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25, 2.0])
def test_a_constant_ratio_is_found_exactly(factor: float) -> None:
    bd = bd_rate(logarithmic(RATES, factor=factor), logarithmic(RATES))
    assert bd.percent == pytest.approx(100 * (factor - 1))


def test_other_sampling_of_the_same_curve_makes_no_difference() -> None:
    assert bd_rate(logarithmic([0.03, 0.3, 2.0]), logarithmic(RATES)).percent == pytest.approx(0, abs=1e-9)


def test_range_is_what_both_reach_within_the_rates() -> None:
    bd = bd_rate(logarithmic(RATES, factor=0.5), logarithmic(RATES), rates=(0.05, 0.8))
    # The better codec's quality at 0.05, and the anchor's at 0.8.
    assert bd.low == pytest.approx(30 + 4 * np.log(0.05 / 0.5))
    assert bd.high == pytest.approx(30 + 4 * np.log(0.8))


def test_a_curve_that_starts_late_narrows_the_range() -> None:
    bd = bd_rate(logarithmic([0.2, 0.4, 0.7]), logarithmic(RATES))
    assert (bd.low, bd.high) == pytest.approx((30 + 4 * np.log(0.2), 30 + 4 * np.log(0.7)))


def test_diverging_curves_by_integration() -> None:
    """ln rate is (q - 30) / 4 and (q - 30) / 5.

    The mean difference over [a, b] is (1/4 - 1/5) (m - 30), m its middle.
    """
    bd = bd_rate(logarithmic(RATES, gain=4), logarithmic(RATES, gain=5), rates=(0.1, 0.8))
    middle = (bd.low + bd.high) / 2
    assert bd.percent == pytest.approx(100 * (np.exp((1 / 4 - 1 / 5) * (middle - 30)) - 1))


def test_points_that_cost_more_and_are_no_better_are_left_out() -> None:
    clean = logarithmic(RATES)
    dented = RateQuality([*clean.bpp, 0.5], [*clean.quality, 20.0])
    assert bd_rate(dented, clean).percent == pytest.approx(0, abs=1e-9)


def test_no_common_quality() -> None:
    with pytest.raises(ValueError, match="no common quality"):
        bd_rate(RateQuality([0.1, 0.2], [20, 21]), RateQuality([0.1, 0.2], [30, 31]))


def test_one_point_is_no_curve() -> None:
    with pytest.raises(ValueError, match="two points"):
        bd_rate(RateQuality([0.1], [20]), logarithmic(RATES))
