"""Rate control: the position on the gain axis whose stream just fits a budget.

The caller predicts the size at every anchor: `Codec` counts the latents that will not be rounded to zero; on Kodak they cost 5 bits each,
give or take 5 %. The first probe goes where the prediction meets the budget, the second where the prediction scaled to fit the first does,
and from then on it is a secant in the prediction's own coordinate, inside a bracket. Two probes are usually enough.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.rate_control.position import MAX_INDEX
from models.rate_control.target import TOLERANCE

PREDICTED_GRAIN = 4  # the same before coding, which may take a few more off
SHORTFALL = 4  # bytes by which a stream may come out smaller than predicted
AIM = 0.6  # probes aim this far up from the lowest size that meets the budget, so that small errors of the prediction still do
MOST_PROBES = 12


class GainSearch:
    """The search for one image: ask `probe` where to look, tell `observe` what was there, until `probe` is None.

    Args:
        budget: bytes of the whole stream.
        predicted: sizes in bytes to expect at equally spaced positions from 0 to MAX_INDEX; made increasing.
        tolerance: share of the budget that may be left.
    """

    def __init__(self, budget: int, predicted: NDArray[np.float64], tolerance: float = TOLERANCE) -> None:
        self.budget = budget
        self._tolerance = tolerance
        self._ln_aim = math.log(budget * (1 - (1 - AIM) * tolerance))
        self._grid = np.linspace(0, MAX_INDEX, len(predicted))
        # Strictly increasing, so that it can be inverted.
        self._predicted = np.maximum.accumulate(np.log(predicted)) + np.linspace(0, 1e-3, len(predicted))
        self._seen: dict[int, float] = {}
        self.probe: int | None = self._position(self._ln_aim)

    @property
    def probes(self) -> int:
        """How many positions were looked at."""
        return len(self._seen)

    @property
    def best(self) -> int:
        """The highest position seen within the budget; the lowest of all when none was."""
        return max((position for position, size in self._seen.items() if size <= self.budget), default=0)

    def observe(self, position: int, size: float) -> None:
        """Take note that the stream at `position` has `size` bytes, and choose the next probe."""
        self._seen[position] = size
        spare = max(self.budget * self._tolerance - SHORTFALL, PREDICTED_GRAIN)
        close = self.budget - spare <= size <= self.budget
        self.probe = None if close or self.probes >= MOST_PROBES else self._next()

    def _next(self) -> int | None:
        low = max((p for p, size in self._seen.items() if size <= self.budget), default=None)
        high = min((p for p, size in self._seen.items() if size > self.budget), default=None)
        if low == MAX_INDEX or high == 0:
            return None  # the budget lies outside the model's range
        first, last = (0 if low is None else low + 1), (MAX_INDEX if high is None else high - 1)
        if first > last:
            return None
        guess = min(max(self._guess(), first), last)
        bracketed = low is not None and high is not None
        # A guess that hugs an end of the bracket is the secant stalling: halve instead.
        if bracketed and self.probes >= 4 and min(guess - first, last - guess) < (last - first) // 16:
            guess = (first + last) // 2
        return guess

    def _guess(self) -> int:
        """Where the size should be the aim, from the one or two observations nearest to it."""
        nearest = sorted(self._seen.items(), key=lambda item: abs(math.log(item[1]) - self._ln_aim))[:2]
        coordinates = [self._coordinate(position) for position, _ in nearest]
        sizes = [math.log(size) for _, size in nearest]
        slope = 1.0
        if len(nearest) == 2 and coordinates[0] != coordinates[1]:
            slope = min(max((sizes[1] - sizes[0]) / (coordinates[1] - coordinates[0]), 0.2), 5.0)
        return self._position(coordinates[0] + (self._ln_aim - sizes[0]) / slope)

    def _coordinate(self, position: int) -> float:
        """ln(predicted size) at a position."""
        return float(np.interp(position, self._grid, self._predicted))

    def _position(self, coordinate: float) -> int:
        """The position whose ln(predicted size) that is, cut to the axis."""
        return round(float(np.interp(coordinate, self._predicted, self._grid)))
