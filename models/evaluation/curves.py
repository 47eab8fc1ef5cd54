"""From points of single images to curves of a set, and to what a codec reaches at one rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.evaluation.bd_rate import RateQuality
from models.evaluation.points import Point

Metric = Literal["psnr", "ms-ssim"]
METRICS: tuple[Metric, ...] = ("psnr", "ms-ssim")


@dataclass(frozen=True, slots=True)
class Mean:
    """Means over the images of a set at one setting; `ms_ssim` is the mean of the raw values, from which its decibels are taken."""

    setting: float
    bpp: float
    psnr: float
    ms_ssim: float

    def quality(self, metric: Metric) -> float:
        """In dB."""
        return self.psnr if metric == "psnr" else decibels(self.ms_ssim)


@dataclass(frozen=True, slots=True)
class Curve:
    """A codec over a set: one mean per setting, by rising rate."""

    codec: str
    means: tuple[Mean, ...]

    def rate_quality(self, metric: Metric) -> RateQuality:
        """For BD-rates and plots."""
        return RateQuality([mean.bpp for mean in self.means], [mean.quality(metric) for mean in self.means])


def decibels(similarity: float) -> float:
    """MS-SSIM as -10 log10(1 - x)."""
    return -10 * math.log10(max(1 - similarity, 1e-9))


def mean_of(points: Sequence[Point], *, setting: float) -> Mean:
    """The mean of one point per image."""
    return Mean(
        setting=setting,
        bpp=float(np.mean([point.bpp for point in points])),
        psnr=float(np.mean([point.psnr for point in points])),
        ms_ssim=float(np.mean([point.ms_ssim for point in points])),
    )


def curve_of(codec: str, sweeps: Sequence[Sequence[Point]]) -> Curve:
    """The curve of a set from one sweep per image, all over the same settings."""
    means = [mean_of(points, setting=points[0].setting) for points in zip(*sweeps, strict=True)]
    return Curve(codec, tuple(sorted(means, key=lambda mean: mean.bpp)))


def interpolated(sweep: Sequence[Point], bpp: float) -> Point | None:
    """A point that this image's sweep has at exactly `bpp`: PSNR and MS-SSIM in dB linear in ln(rate) between the nearest two.

    No stream has that size; an integer quality scale is given the benefit of the doubt. None where the sweep does not reach the rate.
    """
    points = sorted(sweep, key=lambda point: point.bpp)
    rates = [point.bpp for point in points]
    if not rates[0] <= bpp <= rates[-1]:
        return None
    at, ln_rates = math.log(bpp), np.log(rates)
    similarity = float(np.interp(at, ln_rates, [decibels(point.ms_ssim) for point in points]))
    return Point(
        setting=float(np.interp(at, ln_rates, [point.setting for point in points])),
        size=0,
        bpp=bpp,
        psnr=float(np.interp(at, ln_rates, [point.psnr for point in points])),
        ms_ssim=1 - 10 ** (-similarity / 10),
    )
