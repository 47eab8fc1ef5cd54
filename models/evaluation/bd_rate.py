"""Bjontegaard's delta rate: how many per cent fewer (negative) or more bits one codec needs for the same quality as another.

ln(rate) is interpolated over quality by piecewise cubics that keep monotonicity (PCHIP, Fritsch and Carlson 1980), as VCEG and MPEG
have done since the cubic fit of Bjontegaard's first paper (VCEG-M33, 2001) was found to overshoot, and the mean difference over a range
of qualities is turned back into a ratio. The range matters as much as the codecs: it is stated with every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.rate_control.pchip import Floats, Pchip


@dataclass(frozen=True, slots=True)
class BDRate:
    """The result and the range of qualities (dB) that it is the mean over.

    Attributes:
        percent: -20.0 says: a fifth fewer bits than the anchor.
        low: the higher of both curves' qualities at the low end of the rate range.
        high: the lower of both at the high end.
    """

    percent: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RateQuality:
    """A curve by rising rate: bits per pixel, and dB of PSNR or of MS-SSIM."""

    bpp: Sequence[float]
    quality: Sequence[float]


def bd_rate(curve: RateQuality, anchor: RateQuality, *, rates: tuple[float, float] = (0.05, 0.8)) -> BDRate:
    """The BD-rate of `curve` against `anchor`, over the qualities that both reach within `rates` (bits per pixel).

    Raises:
        ValueError: a curve has fewer than two points, or no quality is common to both.
    """
    tested, reference = _rising(curve), _rising(anchor)
    if min(len(tested[0]), len(reference[0])) < 2:
        raise ValueError("a curve needs at least two points")
    ranges = [_qualities(points, rates) for points in (tested, reference)]
    low, high = max(ends[0] for ends in ranges), min(ends[1] for ends in ranges)
    if not low < high:
        raise ValueError(f"no common quality between {rates[0]} and {rates[1]} bits per pixel")
    means = [Pchip(quality, rate).mean(low, high) for rate, quality in (tested, reference)]
    return BDRate(percent=100 * float(np.expm1(means[0] - means[1])), low=low, high=high)


def _rising(curve: RateQuality) -> tuple[Floats, Floats]:
    """(ln rate, quality), less the points that cost more than an earlier one and are no better."""
    kept: list[tuple[float, float]] = []
    for bpp, quality in sorted(zip(curve.bpp, curve.quality, strict=True)):
        if not kept or (quality > kept[-1][1] and bpp > kept[-1][0]):
            kept.append((bpp, quality))
    bpps, qualities = np.array(kept, dtype=np.float64).reshape(-1, 2).T
    return np.log(bpps), qualities


def _qualities(points: tuple[Floats, Floats], rates: tuple[float, float]) -> tuple[float, float]:
    """The qualities that a curve has at the ends of the rate range, or at its own ends where those lie inside."""
    ln_rate, quality = points
    low, high = np.clip(np.log(rates), ln_rate[0], ln_rate[-1])
    at = Pchip(ln_rate, quality)
    return float(at(low)), float(at(high))
