"""Effort: refining one picture's stream on the device for long, without anybody else waiting for it.

Refinement runs in iterations of at most a window's forward and backward pass. Between two of them its `EffortDeadline`
is asked whether to go on. Then the device beats its pulse and runs one batch of what else waits: what came without
effort is late by one iteration. Refinement ends early, with a valid stream, when what is left would pass the deadline,
and when nobody waits for the result any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from models.learned.refinement.refiner import ITERATIONS
from models.progress import Progress

# Cost of a pass forward and backward through the synthesis and the post-processor, in plain quantisations of the same
# picture (measured: 2.2 with the distortion of `psnr`, 3.6 with that of `ms-ssim`; a megapixel, one thread).
QUANTISATIONS_PER_PASS = 3.0
RESERVED_TIMEOUT_FRACTION = 0.1  # for what comes after: the entropy coder, measuring, the store


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Moments on `time.monotonic`'s clock.

    Attributes:
        effort: when effort should have ended.
        answer: when the result is of no more use.
    """

    effort: float
    answer: float


def cost(effort: int) -> float:
    """Cost that effort adds to quantising a picture, in plain quantisations: two passes to begin, and the iterations."""
    return QUANTISATIONS_PER_PASS * (1 + ITERATIONS[effort]) if effort else 0.0


class EffortDeadline(Progress):
    """Decides after every iteration of one picture's refinement.

    Args:
        effort: asked for, 1 to 9.
        until: when it should have ended, on `time.monotonic`'s clock.
        between: called between two iterations, for others.
        wanted: says whether anybody waits for more than the quickest result.
    """

    def __init__(self, effort: int, *, until: float, between: Callable[[], None], wanted: Callable[[], bool]) -> None:
        self.effort = effort
        self.abandoned = False  # set it when the caller is gone
        self.paused = 0.0  # seconds that others had in between
        self._until = until
        self._between = between
        self._wanted = wanted
        self._windows = 0  # of the picture; 0 until the first is under way
        self._cut: int | None = None  # iterations of all windows that were done when it was to end early
        self._before: tuple[int, float] | None = None  # iterations done at the call before, and when it returned
        self._step = 0.0  # seconds of the slowest iteration

    def affordable(self, seconds: float) -> bool:
        """Say whether even the least refinement would end in time, where quantising takes about `seconds`."""
        return not self._unwanted and time.monotonic() + (1 + cost(1)) * seconds < self._until

    def advance(self, done: int, of: int) -> bool:
        """Say whether to go on, after others had the device."""
        iterations = ITERATIONS[self.effort]
        self._windows = of // iterations
        if done == of:
            return self._cut is None
        now = time.monotonic()
        if self._before is not None and done == self._before[0] + 1:
            self._step = max(self._step, now - self._before[1])
        back = self._let_others()
        self._before = done, back
        # This window takes two passes and its last iteration; every window that is left one more, for y and what it rounds to.
        windows_left = self._windows - 1 - done // iterations
        if self._cut is None and (self._unwanted or back + self._step * (3 + 4 * windows_left) > self._until):
            self._cut = done
        return self._cut is None

    def affords(self, iterations: int) -> bool:
        """Say whether there is time for so many iterations more, after others had the device."""
        if self._cut is not None or self._unwanted:
            return False
        return self._let_others() + self._step * (iterations + 3 * self._windows) < self._until

    def _let_others(self) -> float:
        """Let others have the device; gives the time when it is back."""
        now = time.monotonic()
        self._between()
        back = time.monotonic()
        self.paused += back - now
        return back

    @property
    def reached(self) -> int:
        """The effort that was done, 0 to 9: what was asked for unless it ended early, or was never begun."""
        if not self._windows:
            return 0
        if self._cut is None:
            return self.effort
        # The iteration that was under way is finished, and each window that was left has one.
        windows_left = self._windows - 1 - self._cut // ITERATIONS[self.effort]
        mean = (self._cut + 1 + windows_left) / self._windows
        return max(effort for effort in range(1, self.effort + 1) if ITERATIONS[effort] <= mean)

    @property
    def _unwanted(self) -> bool:
        return self.abandoned or not self._wanted()
