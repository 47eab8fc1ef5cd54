"""Means over a set, and what an image reaches at a rate that no setting hits."""

from __future__ import annotations

import math

import pytest

from models.evaluation.curves import METRICS, Mean, curve_of, decibels, interpolated, mean_of
from models.evaluation.judges import JUDGES
from models.evaluation.points import Point


def point(setting: float, bpp: float, psnr: float, ms_ssim: float) -> Point:
    return Point(setting, round(bpp * 1000), bpp, psnr, ms_ssim)


def test_means_are_per_image_and_raw() -> None:
    mean = mean_of([point(1, 0.1, 30, 0.9), point(1, 0.3, 20, 0.99)], setting=1)
    assert (mean.bpp, mean.psnr, mean.ms_ssim) == pytest.approx((0.2, 25, 0.945))
    assert mean.quality("psnr") == 25
    assert mean.quality("ms-ssim") == pytest.approx(-10 * math.log10(0.055))


def test_a_curve_rises_in_rate_whatever_the_order_of_settings() -> None:
    sweeps = [
        [point(9, 0.4, 33, 0.99), point(1, 0.1, 28, 0.9)],
        [point(9, 0.2, 35, 0.99), point(1, 0.1, 30, 0.9)],
    ]
    curve = curve_of("x", sweeps)
    assert [mean.setting for mean in curve.means] == [1, 9]
    assert curve.rate_quality("psnr").bpp == pytest.approx([0.1, 0.3])
    assert curve.rate_quality("psnr").quality == pytest.approx([29, 34])


def test_interpolation_is_linear_in_the_logarithm_of_the_rate() -> None:
    sweep = [point(20, 0.2, 34, 0.99), point(10, 0.05, 30, 0.9)]
    between = interpolated(sweep, 0.1)
    assert between is not None
    assert (between.psnr, between.setting) == pytest.approx((32, 15))
    assert decibels(between.ms_ssim) == pytest.approx(15)


@pytest.mark.parametrize("bpp", [0.049, 0.21])
def test_no_extrapolation(bpp: float) -> None:
    assert interpolated([point(1, 0.05, 30, 0.9), point(2, 0.2, 34, 0.99)], bpp) is None


def test_a_metric_has_the_points_at_which_it_was_taken() -> None:
    def judged(setting: float, bpp: float, score: float | None) -> Point:
        return Point(setting, 1, bpp, 30, 0.9, {} if score is None else {"ssimulacra2": score})

    sweeps = [[judged(1, 0.1, 40), judged(2, 0.2, None), judged(3, 0.4, 80)]] * 2
    curve = curve_of("x", sweeps)
    assert curve.rate_quality("ssimulacra2").quality == [40, 80]
    assert curve.rate_quality("vmaf-neg").quality == []
    assert curve.has("ssimulacra2")
    assert not curve.has("vmaf-neg")
    assert len(curve.rate_quality("psnr").quality) == 3
    between = interpolated(sweeps[0], 0.2)
    assert between is not None
    assert between.scores == {"ssimulacra2": pytest.approx(60)}


def test_more_is_better_by_every_metric() -> None:
    worse = Mean(1, 0.1, 30, 0.9, {**dict.fromkeys(JUDGES, 0.5), "nlpd": 0.2, "ciede2000": 3.0})
    better = Mean(1, 0.1, 31, 0.95, {**dict.fromkeys(JUDGES, 0.6), "nlpd": 0.1, "ciede2000": 2.0})
    for metric in METRICS:
        low, high = worse.quality(metric), better.quality(metric)
        assert low is not None
        assert high is not None
        assert low < high, metric
    assert better.quality("nlpd") == pytest.approx(20)
    assert better.quality("ciede2000") == -2
    assert better.quality("fsimc") == pytest.approx(-10 * math.log10(0.4))
