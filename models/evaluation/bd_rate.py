"""Bjontegaard's delta rate: how many per cent fewer (negative) or more bits one codec needs for the same quality as another.

ln(rate) is interpolated over quality by piecewise cubics that keep monotonicity (PCHIP, Fritsch and Carlson 1980), as VCEG and MPEG
have done since the cubic fit of Bjontegaard's first paper (VCEG-M33, 2001) was found to overshoot, and the mean difference over a range
of qualities is turned back into a ratio. The range matters as much as the codecs: it is stated with every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
    ranges = [_qualities(points, rates) for points in (tested, reference)]
    low, high = max(ends[0] for ends in ranges), min(ends[1] for ends in ranges)
    if not low < high:
        raise ValueError(f"no common quality between {rates[0]} and {rates[1]} bits per pixel")
    means = [Pchip(quality, rate).mean(low, high) for rate, quality in (tested, reference)]
    return BDRate(percent=100 * float(np.expm1(means[0] - means[1])), low=low, high=high)


class Pchip:
    """The monotone cubic interpolant of (x, y), x rising strictly; slopes as in Fritsch and Butland 1984, as scipy has them."""

    def __init__(self, x: Floats, y: Floats) -> None:
        if len(x) < 2:
            raise ValueError("a curve needs at least two points")
        self.x, self.y = x, y
        self.slopes = _slopes(np.diff(x), np.diff(y) / np.diff(x))

    def __call__(self, at: Floats | float) -> Floats:
        """Values inside [x[0], x[-1]]."""
        at = np.asarray(at, dtype=np.float64)
        left = np.clip(np.searchsorted(self.x, at, side="right") - 1, 0, len(self.x) - 2)
        step = self.x[left + 1] - self.x[left]
        t = (at - self.x[left]) / step
        value: Floats = (
            (1 + 2 * t) * (1 - t) ** 2 * self.y[left]
            + t * (1 - t) ** 2 * step * self.slopes[left]
            + t**2 * (3 - 2 * t) * self.y[left + 1]
            + t**2 * (t - 1) * step * self.slopes[left + 1]
        )
        return value

    def mean(self, low: float, high: float) -> float:
        """The mean over [low, high]: Simpson's rule, which is exact for cubics, on each piece."""
        ends = np.unique(np.concatenate([[low, high], self.x[(self.x > low) & (self.x < high)]]))
        a, b = ends[:-1], ends[1:]
        area = np.sum((b - a) / 6 * (self(a) + 4 * self((a + b) / 2) + self(b)))
        return float(area) / (high - low)


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


def _slopes(step: Floats, secant: Floats) -> Floats:
    if len(step) == 1:
        return np.repeat(secant, 2)
    inner = np.zeros(len(step) - 1)
    agree = secant[:-1] * secant[1:] > 0
    before, after = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    inner[agree] = ((before + after)[agree]) / (before[agree] / secant[:-1][agree] + after[agree] / secant[1:][agree])
    first = _end_slope(step[0], step[1], secant[0], secant[1])
    last = _end_slope(step[-1], step[-2], secant[-1], secant[-2])
    return np.concatenate([[first], inner, [last]])


def _end_slope(step: float, next_step: float, secant: float, next_secant: float) -> float:
    """The parabola through the three outermost points, limited so that the end piece stays monotone."""
    slope = ((2 * step + next_step) * secant - step * next_secant) / (step + next_step)
    if slope * secant <= 0:
        return 0.0
    if secant * next_secant <= 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return slope
