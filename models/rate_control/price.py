"""One budget for more pictures than fit in memory: the price of a byte, from a histogram.

`allocate` buys the pieces of all curves, steepest first, until the budget is spent. Where it stops,
there is one price of a byte for all pictures. That price is found here without sorting the pieces,
or holding them: they are counted into bins of equal steepness, whose counts of different pictures
add up.

    first look     every piece into a coarse bin; the bin in which the money runs out
    second look    the pieces of that bin alone, into fine bins; the fine bin in which it runs out
    price          a picture buys what is steeper than this bin, and its share of what is in it

So the budgets of all pictures together are never over the budget, and under it by less than a byte
a picture. A fine bin is 5 millionths of the steepness wide: within it no order of buying matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.rate_control.allocation import RateDistortion

_COARSE = 32  # bins for a factor of 2 in steepness
_FINE = 4096  # in each of them
_LOG2_FLATTEST, _LOG2_STEEPEST = -100, 60  # beyond, for any picture and metric
_BINS = (_LOG2_STEEPEST - _LOG2_FLATTEST) * _COARSE


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The straight pieces of curves, and the bin of each.

    Attributes:
        smallest: bytes of the pictures' smallest streams together, which have no price.
        costs: bytes of the pieces, (n,).
        bins: fine bins of the distortion that a byte takes away, (n,); steeper is higher.
    """

    smallest: int
    costs: NDArray[np.int64]
    bins: NDArray[np.int64]

    @classmethod
    def of(cls, curves: Iterable[RateDistortion]) -> Pieces:
        """The pieces of some curves together."""
        curves = list(curves)
        none = np.zeros(0)
        costs = np.concatenate([none, *(curve.costs for curve in curves)])
        gains = np.concatenate([none, *(curve.gains for curve in curves)])
        return cls.from_slopes(sum(int(curve.sizes[0]) for curve in curves), costs, gains)

    @classmethod
    def from_slopes(cls, smallest: int, costs: NDArray[np.int64], gains: NDArray[np.float64]) -> Pieces:
        """Pieces that cost so many bytes each, (n,), and take so much distortion away, (n,)."""
        octaves = np.log2(np.maximum(gains / costs, 2.0**_LOG2_FLATTEST)) - _LOG2_FLATTEST
        bins = (octaves * (_COARSE * _FINE)).astype(np.int64).clip(0, _BINS * _FINE - 1)
        return cls(smallest, costs.astype(np.int64), bins)


@dataclass(slots=True, eq=False)
class SlopeHistogram:
    """Bytes that the pieces of many curves cost, by bins of steepness.

    Histograms of the same look add up, in any order: each may be of other pictures, made elsewhere.

    Attributes:
        counted: bytes in each bin: the coarse ones, (5120,), or the fine ones of `inside`, (4096,).
        inside: the coarse bin that is looked into; None at the first look.
        smallest: bytes of the pictures' smallest streams together.
    """

    counted: NDArray[np.int64]
    inside: int | None = None
    smallest: int = 0

    @classmethod
    def empty(cls, inside: int | None = None) -> SlopeHistogram:
        """A first look; or a second one, into this coarse bin."""
        return cls(np.zeros(_BINS if inside is None else _FINE, np.int64), inside)

    def add(self, pieces: Pieces) -> None:
        """Count the pieces of some curves."""
        coarse, fine = np.divmod(pieces.bins, _FINE)
        if self.inside is None:
            np.add.at(self.counted, coarse, pieces.costs)
        else:
            here = coarse == self.inside
            np.add.at(self.counted, fine[here], pieces.costs[here])
        self.smallest += pieces.smallest

    def merge(self, other: SlopeHistogram) -> None:
        """Count what another histogram of the same look has counted.

        Raises:
            ValueError: it is of another look.
        """
        if self.inside != other.inside:
            raise ValueError("histograms of different looks do not add up")
        self.counted += other.counted
        self.smallest += other.smallest

    def reach(self, budget: int) -> Literal["below", "within", "above"]:
        """Say where a budget lies; to be asked of a first look."""
        if budget < self.smallest:
            return "below"
        return "within" if budget <= self.smallest + int(self.counted.sum()) else "above"

    def runs_out(self, money: int) -> tuple[int, int]:
        """Find the bin in which the money runs out, when the steepest are bought first.

        Returns:
            The bin, and the bytes that are left for what is in it. With money for all, the flattest
            bin that has any.
        """
        filled = np.flatnonzero(self.counted)
        if not len(filled):
            return 0, 0
        steepest_first = filled[::-1]
        spent = np.cumsum(self.counted[steepest_first])
        at = min(int(np.searchsorted(spent, money)), len(spent) - 1)
        here = int(steepest_first[at])
        return here, money - int(spent[at] - self.counted[here])


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a byte: what a picture buys at it, no matter what others have.

    Attributes:
        bin: fine bin in which the budget runs out.
        left: bytes of the budget for the pieces in it.
        of: bytes that these cost, of all pictures.
        reach: whether the budget lies within the model's range, below or above it.
    """

    bin: int
    left: int
    of: int
    reach: Literal["below", "within", "above"] = "within"

    @classmethod
    def find(cls, budget: int, first: SlopeHistogram, second: SlopeHistogram) -> Price:
        """Find the price at which all pictures spend a budget.

        Args:
            budget: bytes.
            first: look at all of them.
            second: look at all of them into `first.runs_out(budget - first.smallest)`'s bin.
        """
        reach = first.reach(budget)
        if reach != "within":
            return cls(-1 if reach == "above" else _BINS * _FINE, 0, 1, reach)
        coarse, left = first.runs_out(budget - first.smallest)
        if second.inside != coarse:
            raise ValueError(
                f"the second look is into bin {second.inside}, and the money runs out in {coarse}"
            )
        fine, left = second.runs_out(left)
        return cls(coarse * _FINE + fine, left, max(1, int(second.counted[fine])))

    def budget(self, pieces: Pieces) -> int:
        """Bytes for one picture, whose pieces these are."""
        steeper = int(pieces.costs[pieces.bins > self.bin].sum())
        here = int(pieces.costs[pieces.bins == self.bin].sum())
        return pieces.smallest + steeper + here * self.left // self.of
