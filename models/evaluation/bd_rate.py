"""Bjontegaard's delta rate: the per cent of bits that one codec saves on another at equal quality.

ln(rate) is interpolated over quality by piecewise cubics that keep monotonicity (PCHIP, Fritsch and
Carlson 1980), as VCEG and MPEG have done since the cubic fit of Bjontegaard's first paper
(VCEG-M33, 2001) was found to overshoot. The mean difference over a range of qualities is turned
back into a ratio. The range matters as much as the codecs: it is stated with every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.rate_control.pchip import Floats, Pchip


@dataclass(frozen=True, slots=True)
class BDRate:
    """A difference in bits, and the range of qualities that it is the mean over.

    Attributes:
        percent: -20.0 says: a fifth fewer bits than the anchor.
        low: lowest quality, the higher of both curves' at the low end of the rate range, in dB.
        high: highest quality, the lower of both curves' at the high end of the rate range, in dB.
    """

    percent: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RateQuality:
    """A curve by rising rate.

    Attributes:
        bpp: bits per pixel.
        quality: in dB of PSNR or of MS-SSIM, or in points of another metric.
    """

    bpp: Sequence[float]
    quality: Sequence[float]


def bd_rate(curve: RateQuality, anchor: RateQuality, *, rates: tuple[float, float] = (0.05, 0.8)) -> BDRate:
    """Compute the BD-rate of a curve against another.

    Args:
        curve: of the codec that is judged.
        anchor: of the codec that it is compared with.
        rates: bits per pixel; the mean is over the qualities that both reach within them.

    Raises:
        ValueError: a curve has fewer than two points, or no quality is common to both.
    """
    both = [_rising(curve), _rising(anchor)]
    if any(len(ln_rate) < 2 for ln_rate, _ in both):
        raise ValueError("a curve needs at least two points")
    ranges = [_qualities(ln_rate, quality, rates) for ln_rate, quality in both]
    low = max(lowest for lowest, _ in ranges)
    high = min(highest for _, highest in ranges)
    if not low < high:
        raise ValueError(f"no common quality between {rates[0]} and {rates[1]} bits per pixel")
    own, reference = (Pchip(quality, ln_rate).mean(low, high) for ln_rate, quality in both)
    return BDRate(percent=100 * float(np.expm1(own - reference)), low=low, high=high)


def _rising(curve: RateQuality) -> tuple[Floats, Floats]:
    """Take ln(rate) and quality, without points that cost more than an earlier one for no more."""
    kept: list[tuple[float, float]] = []
    for bpp, quality in sorted(zip(curve.bpp, curve.quality, strict=True)):
        if not kept or (quality > kept[-1][1] and bpp > kept[-1][0]):
            kept.append((bpp, quality))
    bpps, qualities = np.array(kept, dtype=np.float64).reshape(-1, 2).T
    return np.log(bpps), qualities


def _qualities(ln_rate: Floats, quality: Floats, rates: tuple[float, float]) -> tuple[float, float]:
    """Read a curve's qualities at the ends of the rate range, or at its own ends inside of it."""
    low, high = np.clip(np.log(rates), ln_rate[0], ln_rate[-1])
    at = Pchip(ln_rate, quality)
    return float(at(low)), float(at(high))
