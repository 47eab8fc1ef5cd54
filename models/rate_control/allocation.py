"""One budget for many pictures: how many bytes each of them gets. Numbers in, numbers out; nothing is measured or encoded here.

    minimise  sum D_i(R_i)   subject to   sum R_i <= budget        (Zhou et al. 2018, eq. 5)

The distortion of each picture is measured at a few sizes and interpolated between them, because the gain axis is continuous. On the lower
convex hulls of these curves the minimum is where no byte would buy more in another picture: a Lagrangian with one price of a byte for all.
Hulls of straight pieces need no search for that price: their pieces, steepest first, are bought until the budget is spent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.rate_control.pchip import Pchip
from models.rate_control.target import Metric

SET_TOLERANCE = 0.005  # share of the budget: streams that are together at most so much smaller have met it
MEMBER_TOLERANCE = 0.004  # share of its own budget that the stream of each may leave
CURVE_PIECES = 192  # straight ones that a curve is cut into; 2 % of the rate each on the shipped models
DISTORTION_FLOOR = 1e-6  # of a picture's largest distortion: what a flawless one is taken for, which has no logarithm


@dataclass(frozen=True, slots=True)
class Measured:
    """One picture at one point of the gain axis.

    Attributes:
        size: bytes of the stream.
        mse: mean squared error over all RGB samples, pixels in [0, 1].
        ms_ssim: [0, 1].
    """

    size: int
    mse: float
    ms_ssim: float

    def distortion(self, metric: Metric, pixels: int) -> float:
        """What this picture of so many pixels adds to the sum that is minimised."""
        return self.mse * pixels if metric == "psnr" else 1 - self.ms_ssim


@dataclass(frozen=True, slots=True)
class SetScores:
    """Of a whole set: PSNR in dB of one MSE over all pixels (infinite where all came back exactly), and the mean MS-SSIM."""

    psnr: float
    ms_ssim: float

    @classmethod
    def of(cls, measured: Sequence[Measured], pixels: Sequence[int]) -> SetScores:
        """From one measurement of each picture, and its pixels."""
        mse = sum(one.distortion("psnr", count) for one, count in zip(measured, pixels, strict=True)) / sum(pixels)
        return cls(psnr_of(mse), sum(one.ms_ssim for one in measured) / len(measured))


@dataclass(frozen=True, slots=True, eq=False)
class RateDistortion:
    """What the bytes of one picture buy: falling, convex, straight between its corners.

    Attributes:
        sizes: of the corners in bytes, rising; the first and the last are the model's range.
        distortions: at the corners, falling ever more slowly.
    """

    sizes: NDArray[np.int64]
    distortions: NDArray[np.float64]

    @classmethod
    def of(cls, measured: Sequence[Measured], metric: Metric, pixels: int) -> RateDistortion:
        """Of a picture of so many pixels that was measured at several points of the gain axis."""
        return cls.through([(one.size, one.distortion(metric, pixels)) for one in measured])

    @classmethod
    def through(cls, points: Sequence[tuple[int, float]]) -> RateDistortion:
        """The lower convex hull of the curve through measured (bytes, distortion); points that cost more and are no better do not count.

        Between the points ln(distortion) is a monotone cubic of ln(bytes): both are close to straight lines of each other.
        """
        floor = DISTORTION_FLOOR * max(distortion for _, distortion in points)
        sizes, distortions = _falling([(size, max(distortion, floor)) for size, distortion in points])
        if len(sizes) > 2:
            ln_sizes = np.log(sizes)
            between = Pchip(ln_sizes, np.log(distortions))
            at = np.unique(np.rint(np.exp(np.linspace(ln_sizes[0], ln_sizes[-1], CURVE_PIECES + 1))))
            at = np.union1d(np.clip(at, sizes[0], sizes[-1]), sizes)
            sizes, distortions = at, np.exp(between(np.log(at)))
        corners = _hull(sizes, distortions)
        return cls(sizes[corners].astype(np.int64), distortions[corners])

    def __call__(self, size: int) -> float:
        """The distortion at a size in bytes; outside the range, that of its ends."""
        return float(np.interp(size, self.sizes, self.distortions))


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who gets how much.

    Attributes:
        budgets: bytes for each picture; their sum is the budget where that lies within the model's range.
        reach: "within" the range; "below" it, every picture at its smallest and their sum over the budget; or "above" it, every picture
            at its best and bytes left over.
    """

    budgets: tuple[int, ...]
    reach: Literal["below", "within", "above"]


def allocate(curves: Sequence[RateDistortion], budget: int) -> Allocation:
    """Share `budget` bytes so that the sum of the curves' distortions is as small as it can be, to the byte.

    Raises:
        ValueError: no curve.
    """
    if not curves:
        raise ValueError("there is no picture to allocate a budget to")
    lowest = np.array([curve.sizes[0] for curve in curves])
    highest = np.array([curve.sizes[-1] for curve in curves])
    if budget < lowest.sum():
        return Allocation(tuple(lowest.tolist()), "below")
    if budget > highest.sum():
        return Allocation(tuple(highest.tolist()), "above")
    costs = np.concatenate([np.diff(curve.sizes) for curve in curves])
    gains = np.concatenate([-np.diff(curve.distortions) for curve in curves])
    owners = np.repeat(np.arange(len(curves)), [len(curve.sizes) - 1 for curve in curves])
    order = np.argsort(-gains / costs, kind="stable")  # convex: no picture's later piece is steeper than its earlier ones
    costs, owners = costs[order], owners[order]
    bought = np.clip(budget - lowest.sum() - (np.cumsum(costs) - costs), 0, costs)
    budgets = lowest.copy()
    np.add.at(budgets, owners, bought)
    return Allocation(tuple(budgets.tolist()), "within")


def next_budget(allocation: Allocation, made: Sequence[int], budget: int) -> int:
    """Bytes for the picture after those whose streams have the sizes `made`: its share of what is left.

    What one stream leaves of its budget goes to all that follow, in proportion; a few bytes over are saved by them. At a common price of
    a byte, moving a few bytes from one picture to another changes the sum of distortions in second order only.
    """
    planned = allocation.budgets[len(made) :]
    if allocation.reach == "above":
        return planned[0]
    return max(1, planned[0] * (budget - sum(made)) // sum(planned))


def psnr_of(mse: float) -> float:
    """dB, for pixels in [0, 1]; infinite for 0."""
    return -10 * math.log10(mse) if mse else math.inf


def _falling(points: Sequence[tuple[int, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sizes rising and distortions falling, both strictly, the latter by more than their logarithms' rounding."""
    kept: list[tuple[int, float]] = []
    for size, distortion in sorted(points):
        if not kept or (distortion < kept[-1][1] * (1 - 1e-12) and size > kept[-1][0]):
            kept.append((size, distortion))
    sizes, distortions = np.array(kept, dtype=np.float64).T
    return sizes, distortions


def _hull(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[int]:
    """Indices of the corners of the lower convex hull (Andrew 1979); x rises strictly."""
    corners: list[int] = []
    for i in range(len(x)):
        while len(corners) > 1:
            a, b = corners[-2], corners[-1]
            if (y[b] - y[a]) * (x[i] - x[b]) < (y[i] - y[b]) * (x[b] - x[a]):
                break
            corners.pop()
        corners.append(i)
    return corners
