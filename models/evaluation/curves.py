"""Curves of a set from points of single pictures, and what a codec reaches at one rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.evaluation.bd_rate import RateQuality
from models.evaluation.judges import JUDGES, Judge
from models.evaluation.points import Point
from models.rate_control import Metric

QualityMetric = Metric | Judge
"""A metric that codecs are compared by."""

METRICS: tuple[QualityMetric, ...] = ("psnr", "ms-ssim", *JUDGES)
IN_DECIBELS: frozenset[QualityMetric] = frozenset({"ms-ssim", "ms-ssim-y", "fsimc", "iw-ssim"})
SMALLEST_DISSIMILARITY = 1e-9  # of 1 - MS-SSIM: identical pictures have 90 dB


@dataclass(frozen=True, slots=True)
class Mean:
    """Means over the pictures of a set at one setting.

    Attributes:
        setting: of the codec.
        bpp: bits per pixel.
        psnr: in dB.
        ms_ssim: in [0, 1]: decibels are taken of the mean, and not the other way round.
        scores: of the judges that were asked about every picture.
    """

    setting: float
    bpp: float
    psnr: float
    ms_ssim: float
    scores: Mapping[Judge, float] = field(default_factory=dict)

    def quality(self, metric: QualityMetric) -> float | None:
        """Look up a metric so that more is better; None where it was not taken.

        Similarities are in dB, which tell good ones apart; distances are negative.
        """
        value = self.value(metric)
        if value is None:
            return None
        if metric in IN_DECIBELS:
            return decibels(value)
        if metric == "nlpd":
            return -20 * math.log10(max(value, SMALLEST_DISSIMILARITY))
        return -value if metric == "ciede2000" else value

    def value(self, metric: QualityMetric) -> float | None:
        """Look up a metric as it is; None where it was not taken."""
        if metric == "psnr":
            return self.psnr
        return self.ms_ssim if metric == "ms-ssim" else self.scores.get(metric)


@dataclass(frozen=True, slots=True)
class MeasuredCurve:
    """A codec over a set.

    Attributes:
        codec: its name.
        means: one for each setting, by rising rate.
    """

    codec: str
    means: tuple[Mean, ...]

    def has(self, metric: QualityMetric) -> bool:
        """Say if the metric was taken at two points at least."""
        return len(self.rate_quality(metric).bpp) > 1

    def rate_quality(self, metric: QualityMetric) -> RateQuality:
        """Take the points at which the metric was taken, for BD-rates and plots."""
        points = [(mean.bpp, quality) for mean in self.means if (quality := mean.quality(metric)) is not None]
        return RateQuality([bpp for bpp, _ in points], [quality for _, quality in points])


def decibels(similarity: float) -> float:
    """Express MS-SSIM as -10 log10(1 - x)."""
    return -10 * math.log10(max(1 - similarity, SMALLEST_DISSIMILARITY))


def mean_of(points: Sequence[Point], *, setting: float | None = None) -> Mean:
    """Take the mean of one point per picture; `setting` is theirs, or their mean unless given."""
    if setting is None:
        setting = float(np.mean([point.setting for point in points]))
    return Mean(
        setting=setting,
        bpp=float(np.mean([point.bpp for point in points])),
        psnr=float(np.mean([point.psnr for point in points])),
        ms_ssim=float(np.mean([point.ms_ssim for point in points])),
        scores={judge: float(np.mean([point.scores[judge] for point in points])) for judge in _asked(points)},
    )


def curve_of(codec: str, sweeps: Sequence[Sequence[Point]]) -> MeasuredCurve:
    """Make the curve of a set from one sweep per picture, all over the same settings."""
    means = [mean_of(points, setting=points[0].setting) for points in zip(*sweeps, strict=True)]
    return MeasuredCurve(codec, tuple(sorted(means, key=lambda mean: mean.bpp)))


def interpolated(sweep: Sequence[Point], bpp: float) -> Point | None:
    """Make up the point that a picture's sweep has at exactly `bpp` bits per pixel.

    Each metric is linear in ln(rate) between its nearest two points, RGB's MS-SSIM in dB. No
    stream has that size; an integer quality scale is given the benefit of the doubt. None where the
    sweep does not reach the rate.
    """
    points = sorted(sweep, key=lambda point: point.bpp)
    setting = _between(points, bpp, [point.setting for point in points])
    psnr = _between(points, bpp, [point.psnr for point in points])
    similarity = _between(points, bpp, [decibels(point.ms_ssim) for point in points])
    if setting is None or psnr is None or similarity is None:
        return None
    return Point(
        setting=setting,
        size=0,
        bpp=bpp,
        psnr=psnr,
        ms_ssim=1 - 10 ** (-similarity / 10),
        scores={
            judge: score
            for judge in JUDGES
            if (score := _between(points, bpp, [point.scores.get(judge) for point in points])) is not None
        },
    )


def _asked(points: Sequence[Point]) -> list[Judge]:
    """List the judges that were asked about all of some points."""
    return [judge for judge in JUDGES if all(judge in point.scores for point in points)]


def _between(points: Sequence[Point], bpp: float, values: Sequence[float | None]) -> float | None:
    """Interpolate values linearly in ln(rate), without those that are None; None out of range."""
    taken = [
        (math.log(point.bpp), value) for point, value in zip(points, values, strict=True) if value is not None
    ]
    if not taken or not taken[0][0] <= math.log(bpp) <= taken[-1][0]:
        return None
    return float(np.interp(math.log(bpp), [rate for rate, _ in taken], [value for _, value in taken]))
