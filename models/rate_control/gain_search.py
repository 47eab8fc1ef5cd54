"""Rate control: the position on the gain axis whose stream just fits a budget.

The caller predicts the size at every anchor: the encoder counts the latents that will not be
rounded to zero; on Kodak they cost 5 bits each, give or take 5 %. The first probe goes where the
prediction meets the budget, the second where the prediction scaled to fit the first does. From then
on it is a secant in the prediction's own coordinate, inside a bracket. Two probes are usually
enough.

Positions are indices here, 0 to 65535 unless told otherwise; see `Position.index`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.rate_control.position import MAX_INDEX
from models.rate_control.target import TOLERANCE, aim

CODING_SHORTFALL_BYTES = 4  # by which a stream may come out smaller than its symbols predict
# A prediction at most so many bytes under the budget meets it: `target.CLOSE_BYTES` less the above.
PREDICTED_CLOSE_BYTES = 4
MOST_PROBES = 12


class GainSearch:
    """The search for one picture: try `probe`, `observe` the size, until `probe` is None.

    Args:
        budget: bytes of the whole stream.
        predicted: sizes in bytes to expect at equally spaced positions from 0 to the last, (n,).
            They are made increasing.
        tolerance: share of the budget that may be left.
        last: the highest position.
    """

    def __init__(
        self,
        budget: int,
        predicted: NDArray[np.float64],
        tolerance: float = TOLERANCE,
        *,
        last: int = MAX_INDEX,
    ) -> None:
        self._last = last
        self.budget = budget
        self._tolerance = tolerance
        self._ln_aim = math.log(aim(budget, tolerance))
        self._grid = np.linspace(0, last, len(predicted))
        # Strictly increasing, so that it can be inverted.
        self._predicted = np.maximum.accumulate(np.log(predicted)) + np.linspace(0, 1e-3, len(predicted))
        self._seen: dict[int, float] = {}
        self.probe: int | None = self._position(self._ln_aim)

    @property
    def probes(self) -> int:
        """Number of positions observed."""
        return len(self._seen)

    @property
    def best(self) -> int:
        """The highest position observed within the budget; 0 when none was."""
        return max((position for position, size in self._seen.items() if size <= self.budget), default=0)

    def observe(self, position: int, size: float) -> None:
        """Take note that the stream at `position` has `size` bytes, and choose the next probe."""
        self._seen[position] = size
        spare = max(self.budget * self._tolerance - CODING_SHORTFALL_BYTES, PREDICTED_CLOSE_BYTES)
        close = self.budget - spare <= size <= self.budget
        self.probe = None if close or self.probes >= MOST_PROBES else self._next()

    def _next(self) -> int | None:
        """The next probe; None when there is nothing left to try."""
        low = max((position for position, size in self._seen.items() if size <= self.budget), default=None)
        high = min((position for position, size in self._seen.items() if size > self.budget), default=None)
        if low == self._last or high == 0:
            return None  # the budget lies outside the model's range
        first = 0 if low is None else low + 1
        last = self._last if high is None else high - 1
        if first > last:
            return None
        guess = min(max(self._guess(), first), last)
        bracketed = low is not None and high is not None
        # A guess that hugs an end of the bracket is the secant stalling: halve instead.
        if bracketed and self.probes >= 4 and min(guess - first, last - guess) < (last - first) // 16:
            guess = (first + last) // 2
        return guess

    def _guess(self) -> int:
        """The position whose size should be the aim, by the one or two sizes nearest to it."""
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
        """The inverse of `_coordinate`, clipped to the axis."""
        return round(float(np.interp(coordinate, self._predicted, self._grid)))
