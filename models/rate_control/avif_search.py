"""Rate control for AVIF: the setting whose stream just fits a budget, in as few encodes as possible.

A position is a level of libaom's quantiser (0 the coarsest of 65) and one of 32 strengths of its variance-adaptive quantisation, which
fill the gap to the next level: 8 % of the size in the median, 4 to 13. How much a strength adds depends on the picture: from nothing,
where it is flat, to twice the gap. So the levels are searched first, at the lowest strength:

1. The sizes to expect at all levels begin as those of an average photograph, and after each encode are bent to go through what was seen;
   the next encode is at the highest level that they promise to fit. When that is the level that was seen, or one known not to fit,
2. the strengths at the highest level that fits are searched along a line. Where they add too little, the next level is tried after all.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.rate_control.gain_search import AIM
from models.rate_control.target import TOLERANCE, meets

LEVELS = 65
STRENGTHS = 32  # between two levels
LAST = LEVELS * STRENGTHS - 1
MOST_ENCODES = 6

# ln(size) of training photographs against that at level 19: medians over 14 crops, the same for both tunings to 0.1 up to level 30.
_AVERAGE = (
    (0, 1, 3, 6, 10, 14, 19, 24, 30, 38, 46, 54, 62, 64),
    (-1.65, -1.55, -1.36, -1.0, -0.66, -0.36, 0.0, 0.37, 0.8, 1.24, 1.6, 1.88, 2.45, 2.65),
)
_AVERAGE_BPP = 0.33  # at level 19
_SPAN = 0.13  # ln of sizes at the highest and the lowest strength of a level: where the secant starts


def average_sizes(pixels: int) -> NDArray[np.float64]:
    """Bytes of an average photograph of so many pixels at every level."""
    sizes: NDArray[np.float64] = pixels * _AVERAGE_BPP / 8 * np.exp(np.interp(np.arange(LEVELS), *_AVERAGE))
    return sizes


class AvifSearch:
    """The search for one picture: encode at `probe` and tell `observe` the size, until `probe` is None.

    Args:
        budget: bytes of the whole stream.
        fixed: bytes of it that are not AVIF's.
        expected: bytes of AVIF at every level, rising.
        tolerance: share of the budget that may be left.
        strengths: whether to go on between the levels.
    """

    def __init__(
        self, budget: int, fixed: int, expected: NDArray[np.float64], *, tolerance: float = TOLERANCE, strengths: bool = True
    ) -> None:
        self.budget = budget
        self._tolerance = tolerance
        self._fixed = fixed
        self._expected = np.log(expected)
        self._seen: dict[int, int] = {}
        self._levels: dict[int, int] = {}  # sizes seen at the lowest strength
        self._fine = strengths
        self.probe: int | None = self._promising() * STRENGTHS

    @property
    def best(self) -> int:
        """The position of the largest stream seen within the budget; of the smallest, when there was none."""
        within = [position for position, size in self._seen.items() if size <= self.budget]
        return max(within, key=self._seen.__getitem__) if within else min(self._seen, key=self._seen.__getitem__)

    def observe(self, position: int, size: int) -> None:
        """Take note that the stream at `position` has `size` bytes, and choose the next probe."""
        self._seen[position] = size
        level, strength = divmod(position, STRENGTHS)
        if not strength:
            self._levels[level] = size
            self._bend(level, size)
        self.probe = None if meets(self.budget, size, self._tolerance) or len(self._seen) >= MOST_ENCODES else self._next()

    def expected(self) -> NDArray[np.float64]:
        """Bytes of AVIF at every level, as far as is known by now."""
        return np.exp(self._expected)

    def _next(self) -> int | None:
        fitting = max((level for level, size in self._levels.items() if size <= self.budget), default=None)
        level = self._promising()
        strengths = {p % STRENGTHS: size for p, size in self._seen.items() if p // STRENGTHS == fitting}
        if len(strengths) <= 1 and level != fitting:
            return level * STRENGTHS if level not in self._levels else None  # None: even level 0 is over the budget
        if not self._fine or fitting is None:
            return None
        if fitting and (strength := self._strength(strengths)) is not None:  # level 0 has but one
            return fitting * STRENGTHS + strength
        exhausted = max(strengths.values()) <= self.budget and fitting + 1 < LEVELS
        return (fitting + 1) * STRENGTHS if exhausted and fitting + 1 not in self._levels else None

    def _strength(self, seen: dict[int, int]) -> int | None:
        """The next strength to look at: where a line through the two that enclose the budget says, or half-way when that overshot twice."""
        aim, last = math.log(self.budget * (1 - (1 - AIM) * self._tolerance)), STRENGTHS - 1
        low = max(strength for strength, size in seen.items() if size <= self.budget)
        high = min((strength for strength, size in seen.items() if strength > low), default=None)
        if low == last or high == low + 1:
            return None
        at_low = math.log(seen[low])
        if high is not None and sum(size > self.budget for size in seen.values()) > 1:
            return (low + high) // 2
        if high is not None:
            slope = (math.log(seen[high]) - at_low) / (high - low)
        else:
            high = STRENGTHS
            slope = (at_low - math.log(seen[0])) / low if low else _SPAN / last
        return min(max(low + round((aim - at_low) / max(slope, 1e-6)), low + 1), high - 1)

    def _promising(self) -> int:
        """The highest level that is expected to fit, below the lowest known not to."""
        room = math.log(max(self.budget - self._fixed, 1))
        over = min((level for level, size in self._levels.items() if size > self.budget), default=LEVELS)
        fitting = max((level for level, size in self._levels.items() if size <= self.budget), default=0)
        expected = int(np.searchsorted(self._expected, room, side="right")) - 1
        return min(max(expected, fitting), max(over - 1, 0))

    def _bend(self, level: int, size: int) -> None:
        """Have the expectation go through all that was seen: shifted beyond the ends, and in between along a line."""
        known = sorted(self._levels)
        off = [math.log(max(self._levels[one] - self._fixed, 1)) - self._expected[one] for one in known]
        self._expected = np.maximum.accumulate(self._expected + np.interp(np.arange(LEVELS), known, off))
