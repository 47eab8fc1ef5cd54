"""Rate control for AVIF: the setting whose stream just fits a budget, in as few encodes as can be.

A setting, 0 to 2079, is a level of libaom's quantiser (0 the coarsest of 65) and one of 32
strengths of its variance-adaptive quantisation. With levels alone, streams would lie 4 % under
their budgets on average and up to 13. The strengths fill the gap from one level to the next: 8 % of
the size in the median, 4 to 13. How much a strength adds depends on the picture: from nothing,
where it is flat, to twice the gap. So the levels are searched first, at the lowest strength:

1. The sizes to expect at all levels begin as those of an average photograph, and after each encode
   are bent to go through the sizes observed; the next encode is at the highest level that they
   promise to fit. When that is the level that was tried, or one known not to fit,
2. the strengths at the highest level that fits are searched along a line. Where they add too
   little, the next level is tried after all.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.rate_control.target import TOLERANCE, aim, meets

LEVELS = 65
STRENGTHS = 32  # of each level
LAST_SETTING = LEVELS * STRENGTHS - 1
MOST_ENCODES = 6

# ln(size) of training photographs over that at level 19: medians over 14 crops, the same for both
# metrics' tunings to 0.1 up to level 30.
_AVERAGE_LEVELS = (0, 1, 3, 6, 10, 14, 19, 24, 30, 38, 46, 54, 62, 64)
_AVERAGE_LN_SIZES = (-1.65, -1.55, -1.36, -1.0, -0.66, -0.36, 0.0, 0.37, 0.8, 1.24, 1.6, 1.88, 2.45, 2.65)
_AVERAGE_BPP = 0.33  # at level 19
# ln(size) at the highest strength of a level less that at the lowest: the secant starts with it.
_STRENGTHS_LN_SPAN = 0.13


def average_sizes(pixels: int) -> NDArray[np.float64]:
    """Bytes of an average photograph of so many pixels at every level, (LEVELS,)."""
    ln_sizes = np.interp(np.arange(LEVELS), _AVERAGE_LEVELS, _AVERAGE_LN_SIZES)
    sizes: NDArray[np.float64] = pixels * _AVERAGE_BPP / 8 * np.exp(ln_sizes)
    return sizes


class AvifSearch:
    """The search for one picture: encode at `probe`, `observe` the size, until `probe` is None.

    Args:
        budget: bytes of the whole stream.
        fixed: bytes of it that are not AVIF's.
        expected: bytes of AVIF at every level, (LEVELS,), rising.
        tolerance: share of the budget that may be left.
        strengths: go on between the levels.
    """

    def __init__(
        self,
        budget: int,
        fixed: int,
        expected: NDArray[np.float64],
        *,
        tolerance: float = TOLERANCE,
        strengths: bool = True,
    ) -> None:
        self.budget = budget
        self._tolerance = tolerance
        self._fixed = fixed
        self._ln_expected = np.log(expected)
        self._sizes: dict[int, int] = {}  # by setting
        self._level_sizes: dict[int, int] = {}  # by level, at its lowest strength
        self._uses_strengths = strengths
        self.probe: int | None = self._promising() * STRENGTHS

    @property
    def best(self) -> int:
        """The setting of the largest stream within the budget so far, or of the smallest."""
        within = [setting for setting, size in self._sizes.items() if size <= self.budget]
        if within:
            return max(within, key=self._sizes.__getitem__)
        return min(self._sizes, key=self._sizes.__getitem__)

    def observe(self, setting: int, size: int) -> None:
        """Take note that the stream at `setting` has `size` bytes, and choose the next probe."""
        self._sizes[setting] = size
        level, strength = divmod(setting, STRENGTHS)
        if not strength:
            self._level_sizes[level] = size
            self._bend()
        met = meets(self.budget, size, self._tolerance)
        self.probe = None if met or len(self._sizes) >= MOST_ENCODES else self._next()

    def expected(self) -> NDArray[np.float64]:
        """Bytes of AVIF to expect at every level by now, (LEVELS,)."""
        return np.exp(self._ln_expected)

    def _next(self) -> int | None:
        """The next probe; None when there is nothing left to try."""
        fitting = max(
            (level for level, size in self._level_sizes.items() if size <= self.budget), default=None
        )
        level = self._promising()
        strengths = {
            setting % STRENGTHS: size
            for setting, size in self._sizes.items()
            if setting // STRENGTHS == fitting
        }
        if len(strengths) <= 1 and level != fitting:
            # Known already: even level 0 is over the budget.
            return level * STRENGTHS if level not in self._level_sizes else None
        if not self._uses_strengths or fitting is None:
            return None
        if fitting and (strength := self._strength(strengths)) is not None:  # level 0 has but one
            return fitting * STRENGTHS + strength
        exhausted = max(strengths.values()) <= self.budget and fitting + 1 < LEVELS
        return (fitting + 1) * STRENGTHS if exhausted and fitting + 1 not in self._level_sizes else None

    def _strength(self, sizes: dict[int, int]) -> int | None:
        """The next strength to try at a level, from the sizes observed there; None at the end.

        It is where a line through the two strengths that enclose the budget says, or half-way
        between them when that overshot twice.
        """
        last = STRENGTHS - 1
        low = max(strength for strength, size in sizes.items() if size <= self.budget)
        high = min((strength for strength in sizes if strength > low), default=None)
        if low == last or high == low + 1:
            return None
        if high is not None and sum(size > self.budget for size in sizes.values()) > 1:
            return (low + high) // 2
        ln_low = math.log(sizes[low])
        if high is not None:
            slope = (math.log(sizes[high]) - ln_low) / (high - low)
        else:
            high = STRENGTHS
            slope = (ln_low - math.log(sizes[0])) / low if low else _STRENGTHS_LN_SPAN / last
        steps = (math.log(aim(self.budget, self._tolerance)) - ln_low) / max(slope, 1e-6)
        return min(max(low + round(steps), low + 1), high - 1)

    def _promising(self) -> int:
        """The highest level that is expected to fit, below the lowest known not to."""
        room = math.log(max(self.budget - self._fixed, 1))
        over = min((level for level, size in self._level_sizes.items() if size > self.budget), default=LEVELS)
        fitting = max((level for level, size in self._level_sizes.items() if size <= self.budget), default=0)
        expected = int(np.searchsorted(self._ln_expected, room, side="right")) - 1
        return min(max(expected, fitting), max(over - 1, 0))

    def _bend(self) -> None:
        """Have the expectation go through all sizes observed.

        Between two levels it is shifted along a line, and beyond the ends as at the ends.
        """
        levels = sorted(self._level_sizes)
        shifts = [
            math.log(max(self._level_sizes[level] - self._fixed, 1)) - self._ln_expected[level]
            for level in levels
        ]
        bent = self._ln_expected + np.interp(np.arange(LEVELS), levels, shifts)
        self._ln_expected = np.maximum.accumulate(bent)
