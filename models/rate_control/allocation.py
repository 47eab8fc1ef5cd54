"""One budget for many pictures: the number of bytes that each of them gets.

    minimise  sum D_i(R_i)   subject to   sum R_i <= budget        (Zhou et al. 2018, eq. 5)

The distortion of each picture is measured at a few sizes and interpolated between them, because the
gain axis is continuous. On the lower convex hulls of these curves the minimum is where no byte
would buy more in another picture: a Lagrangian with one price of a byte for all. Hulls of straight
pieces need no search for that price: their pieces, steepest first, are bought until the budget is
spent.

Nothing is measured or encoded here.
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

SET_TOLERANCE = 0.005  # share of the budget: streams together at most so much smaller have met it
MEMBER_TOLERANCE = 0.004  # share of its own budget that the stream of each may leave
CURVE_PIECES = 192  # straight pieces of a curve; 2 % of the rate each on the shipped models
# Share of a picture's largest distortion: the least that counts, because 0 has no logarithm.
DISTORTION_FLOOR_SHARE = 1e-6


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
        """The part of this picture, of so many pixels, in the sum that is minimised."""
        return self.mse * pixels if metric == "psnr" else 1 - self.ms_ssim


@dataclass(frozen=True, slots=True)
class SetScores:
    """Scores of a whole set.

    Attributes:
        psnr: dB, of one MSE over all pixels; infinite where all came back exactly.
        ms_ssim: mean over the pictures, [0, 1].
    """

    psnr: float
    ms_ssim: float

    @classmethod
    def of(cls, measured: Sequence[Measured], pixels: Sequence[int]) -> SetScores:
        """The scores of pictures, from one measurement and the number of pixels of each."""
        squares = (point.distortion("psnr", count) for point, count in zip(measured, pixels, strict=True))
        similarity = sum(point.ms_ssim for point in measured) / len(measured)
        return cls(psnr_of(sum(squares) / sum(pixels)), similarity)


@dataclass(frozen=True, slots=True, eq=False)
class RateDistortion:
    """Distortion of one picture over bytes: falling, convex, and straight between corners.

    Attributes:
        sizes: bytes at the corners, (n,), rising; the first and the last are the model's range.
        distortions: at the corners, (n,), falling ever more slowly.
    """

    sizes: NDArray[np.int64]
    distortions: NDArray[np.float64]

    @classmethod
    def of(cls, measured: Sequence[Measured], metric: Metric, pixels: int) -> RateDistortion:
        """The curve of a picture of so many pixels, measured at several points of the gain axis."""
        return cls.through([(point.size, point.distortion(metric, pixels)) for point in measured])

    @classmethod
    def through(cls, points: Sequence[tuple[int, float]]) -> RateDistortion:
        """The lower convex hull of the curve through measured points (bytes, distortion).

        Points that cost more and are no better do not count. Between the others ln(distortion) is a
        monotone cubic of ln(bytes): each is close to a straight line of the other.
        """
        floor = DISTORTION_FLOOR_SHARE * max(distortion for _, distortion in points)
        sizes, distortions = _falling([(size, max(distortion, floor)) for size, distortion in points])
        if len(sizes) > 2:
            ln_sizes = np.log(sizes)
            between = Pchip(ln_sizes, np.log(distortions))
            at = np.unique(np.rint(np.exp(np.linspace(ln_sizes[0], ln_sizes[-1], CURVE_PIECES + 1))))
            at = np.union1d(np.clip(at, sizes[0], sizes[-1]), sizes)
            sizes = at
            distortions = np.exp(between(np.log(at)))
        corners = _hull(sizes, distortions)
        return cls(sizes[corners].astype(np.int64), distortions[corners])

    @property
    def costs(self) -> NDArray[np.int64]:
        """Bytes of the straight pieces, (n - 1,)."""
        return np.diff(self.sizes)

    @property
    def gains(self) -> NDArray[np.float64]:
        """Distortion that each piece takes away, (n - 1,)."""
        return -np.diff(self.distortions)

    def __call__(self, size: int) -> float:
        """The distortion at a size in bytes; outside the range, that of its ends."""
        return float(np.interp(size, self.sizes, self.distortions))


@dataclass(frozen=True, slots=True)
class Allocation:
    """Bytes for each picture.

    Attributes:
        budgets: bytes; their sum is the budget where that lies within the model's range.
        reach: "within" the range; "below" it, every picture at its smallest and their sum over the
            budget; or "above" it, every picture at its best and bytes left over.
    """

    budgets: tuple[int, ...]
    reach: Literal["below", "within", "above"]


def allocate(curves: Sequence[RateDistortion], budget: int) -> Allocation:
    """Share `budget` bytes so that the sum of the curves' distortions is the smallest, to the byte.

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
    costs = np.concatenate([curve.costs for curve in curves])
    gains = np.concatenate([curve.gains for curve in curves])
    owners = np.repeat(np.arange(len(curves)), [len(curve.costs) for curve in curves])
    # Curves are convex: no later piece of one is steeper than an earlier one.
    order = np.argsort(-gains / costs, kind="stable")
    costs = costs[order]
    owners = owners[order]
    bought = np.clip(budget - lowest.sum() - (np.cumsum(costs) - costs), 0, costs)
    budgets = lowest.copy()
    np.add.at(budgets, owners, bought)
    return Allocation(tuple(budgets.tolist()), "within")


def next_budget(allocation: Allocation, made: Sequence[int], budget: int) -> int:
    """Bytes for the next picture, after streams of the sizes `made`: its share of what is left.

    Bytes that a stream leaves of its budget go to all that follow, in proportion; a few bytes too
    many are saved by them. At a common price of a byte, moving a few bytes from one picture to
    another changes the sum of distortions in second order only.
    """
    planned = allocation.budgets[len(made) :]
    if allocation.reach == "above":
        return planned[0]
    return max(1, planned[0] * (budget - sum(made)) // sum(planned))


def psnr_of(mse: float) -> float:
    """PSNR in dB of a mean squared error, for pixels in [0, 1]; infinite for 0."""
    return -10 * math.log10(mse) if mse else math.inf


def _falling(points: Sequence[tuple[int, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points of rising size at which distortion falls, by more than its logarithm's rounding.

    Returns:
        Sizes and distortions, (n,) each.
    """
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
            a, b = corners[-2:]
            if (y[b] - y[a]) * (x[i] - x[b]) < (y[i] - y[b]) * (x[b] - x[a]):
                break
            corners.pop()
        corners.append(i)
    return corners
