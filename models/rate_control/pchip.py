"""The monotone cubic interpolant PCHIP (Fritsch and Carlson 1980).

Between rising points it rises, and it never overshoots. It is written out here because it is all
that the codec would need SciPy for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Pchip:
    """The monotone cubic interpolant of points (x, y).

    Slopes are those of Fritsch and Butland 1984, as SciPy has them.

    Args:
        x: (n,), rising strictly.
        y: (n,).

    Raises:
        ValueError: there are fewer than two points.
    """

    def __init__(self, x: Floats, y: Floats) -> None:
        if len(x) < 2:
            raise ValueError("a curve needs at least two points")
        self.x = x
        self.y = y
        self.slopes = _slopes(np.diff(x), np.diff(y) / np.diff(x))

    def __call__(self, at: Floats | float) -> Floats:
        """Values at points inside [x[0], x[-1]]; the shape is that of `at`."""
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
        """The mean over [low, high], by Simpson's rule on each piece: it is exact for cubics."""
        ends = np.unique(np.concatenate([[low, high], self.x[(self.x > low) & (self.x < high)]]))
        a = ends[:-1]
        b = ends[1:]
        area = np.sum((b - a) / 6 * (self(a) + 4 * self((a + b) / 2) + self(b)))
        return float(area) / (high - low)


def _slopes(step: Floats, secant: Floats) -> Floats:
    """Slopes at all points (n,), from the steps of x and the secants between points (n - 1,)."""
    if len(step) == 1:
        return np.repeat(secant, 2)
    inner = np.zeros(len(step) - 1)
    agree = secant[:-1] * secant[1:] > 0
    before = (2 * step[1:] + step[:-1])[agree]
    after = (step[1:] + 2 * step[:-1])[agree]
    inner[agree] = (before + after) / (before / secant[:-1][agree] + after / secant[1:][agree])
    first = _end_slope(step[0], step[1], secant[0], secant[1])
    last = _end_slope(step[-1], step[-2], secant[-1], secant[-2])
    return np.concatenate([[first], inner, [last]])


def _end_slope(step: float, next_step: float, secant: float, next_secant: float) -> float:
    """Slope of the parabola through the outermost three points, limited to stay monotone."""
    slope = ((2 * step + next_step) * secant - step * next_secant) / (step + next_step)
    if slope * secant <= 0:
        return 0.0
    if secant * next_secant <= 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return slope
