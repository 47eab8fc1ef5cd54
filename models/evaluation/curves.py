"""From points of single images to curves of a set, and to what a codec reaches at one rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.evaluation.bd_rate import RateQuality
from models.evaluation.points import Point

Metric = Literal["psnr", "ms-ssim", "ssimulacra2", "vmaf"]
METRICS: tuple[Metric, ...] = ("psnr", "ms-ssim", "ssimulacra2", "vmaf")


@dataclass(frozen=True, slots=True)
class Mean:
    """Means over the images of a set at one setting; `ms_ssim` is the mean of the raw values, from which its decibels are taken.

    `ssimulacra2` and `vmaf` are None where not every image has them.
    """

    setting: float
    bpp: float
    psnr: float
    ms_ssim: float
    ssimulacra2: float | None = None
    vmaf: float | None = None

    def quality(self, metric: Metric) -> float | None:
        """PSNR and MS-SSIM in dB, the others in their own points."""
        match metric:
            case "psnr":
                return self.psnr
            case "ms-ssim":
                return decibels(self.ms_ssim)
            case "ssimulacra2":
                return self.ssimulacra2
            case "vmaf":
                return self.vmaf


@dataclass(frozen=True, slots=True)
class Curve:
    """A codec over a set: one mean per setting, by rising rate."""

    codec: str
    means: tuple[Mean, ...]

    def rate_quality(self, metric: Metric) -> RateQuality:
        """For BD-rates and plots; without the points at which the metric was not taken."""
        points = [(mean.bpp, quality) for mean in self.means if (quality := mean.quality(metric)) is not None]
        return RateQuality([bpp for bpp, _ in points], [quality for _, quality in points])


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
        ssimulacra2=_mean([point.ssimulacra2 for point in points]),
        vmaf=_mean([point.vmaf for point in points]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    taken = [value for value in values if value is not None]
    return float(np.mean(taken)) if len(taken) == len(values) else None


def curve_of(codec: str, sweeps: Sequence[Sequence[Point]]) -> Curve:
    """The curve of a set from one sweep per image, all over the same settings."""
    means = [mean_of(points, setting=points[0].setting) for points in zip(*sweeps, strict=True)]
    return Curve(codec, tuple(sorted(means, key=lambda mean: mean.bpp)))


def interpolated(sweep: Sequence[Point], bpp: float) -> Point | None:
    """A point that this image's sweep has at exactly `bpp`: each metric linear in ln(rate) between its nearest two, MS-SSIM in dB.

    No stream has that size; an integer quality scale is given the benefit of the doubt. None where the sweep does not reach the rate.
    """
    points = sorted(sweep, key=lambda point: point.bpp)
    similarity = _between(points, bpp, [decibels(point.ms_ssim) for point in points])
    if similarity is None:
        return None
    return Point(
        setting=_between(points, bpp, [point.setting for point in points]) or 0.0,
        size=0,
        bpp=bpp,
        psnr=_between(points, bpp, [point.psnr for point in points]) or 0.0,
        ms_ssim=1 - 10 ** (-similarity / 10),
        ssimulacra2=_between(points, bpp, [point.ssimulacra2 for point in points]),
        vmaf=_between(points, bpp, [point.vmaf for point in points]),
    )


def _between(points: Sequence[Point], bpp: float, values: Sequence[float | None]) -> float | None:
    taken = [(math.log(point.bpp), value) for point, value in zip(points, values, strict=True) if value is not None]
    if not taken or not taken[0][0] <= math.log(bpp) <= taken[-1][0]:
        return None
    return float(np.interp(math.log(bpp), [rate for rate, _ in taken], [value for _, value in taken]))
