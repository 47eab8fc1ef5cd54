"""Effort: refining one picture's stream on the device for long, without anybody waiting for it.

Refinement runs in iterations of at most a window's forward and backward pass. Between two of them
it asks its `EffortDeadline` whether to go on. That is when the device beats its pulse and runs one
batch of what else waits: what came without effort is late by one iteration. Refinement ends early,
with a valid stream, when what is left of it would pass the deadline, and when the service is
stopping. It ends at once, without any, when nobody waits for the result any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from models.learned.refinement.refiner import ITERATIONS
from models.progress import UNINTERRUPTED, Progress

# Cost of a forward and backward pass through the synthesis and the post-processor, in quantisations
# of the same picture without effort (measured: 2.2 with the distortion of `psnr`, 3.6 with that of
# `ms-ssim`; a megapixel, one thread).
QUANTISATIONS_PER_PASS = 3.0
# Refinement holds some 70 bytes of memory a pixel, 2.7 GB of 40 megapixels, and a request may buy
# 2.5 GB. A larger picture is quantised without effort, and its answer says so.
MAX_EFFORT_PIXELS = 30_000_000
KEPT_SHARE_OF_TIMEOUT = 0.1  # left for what comes after: the entropy coder, measuring, the store
# Times as long as iterations took so far, that those still to come are given: others may take the
# cores meanwhile, and what ends a window is not quite what its iterations are.
MARGIN = 1.5


def cost(effort: int) -> float:
    """Estimate what effort adds to quantising a picture, in quantisations without effort.

    A start takes about a pass, and each iteration another.
    """
    return QUANTISATIONS_PER_PASS * (1 + ITERATIONS[effort]) if effort else 0.0


class EffortDeadline(Progress):
    """Decides after every iteration of one picture's refinement whether to go on.

    Args:
        effort: asked for, 1 to 9.
        until: when it should have ended, on `time.monotonic`'s clock.
        wanted: says whether anybody waits for more than the quickest result.

    Attributes:
        share: of all iterations that are done, 0 to 1; what may come after them is not among them.
        lent_seconds: how long others had the device between iterations.
    """

    def __init__(self, effort: int, *, until: float, wanted: Callable[[], bool]) -> None:
        self.effort = effort
        self.share = 0.0
        self.lent_seconds = 0.0
        self._until = until
        self._job = UNINTERRUPTED
        self._wanted = wanted
        self._windows = 0  # of the picture; 0 until the first is under way
        self._cut_at: int | None = None  # iterations that were done when it was to end early
        self._last: tuple[int, float] | None = None  # iterations done at the last call, and its end
        self._slowest = 0.0  # seconds of the slowest iteration

    def begin(self, job: Progress) -> None:
        """Take the progress of the job that refines: its pauses lend the device, or end the job."""
        self._job = job

    def pause(self) -> None:
        """Let others have the device; raises what the job's pause raises."""
        self._lend_device()

    def allows_start(self, quantise_seconds: float) -> bool:
        """Say whether even the least refinement would end in time.

        Args:
            quantise_seconds: what quantising the picture without effort takes, about.
        """
        seconds = MARGIN * (1 + cost(1)) * quantise_seconds
        return self._wanted() and time.monotonic() + seconds < self._until

    def advance(self, done: int, of: int) -> bool:
        """Let others have the device, then say whether to go on."""
        iterations = ITERATIONS[self.effort]
        self.share = done / of
        self._windows = of // iterations
        if done == of:
            return self._cut_at is None
        if self._last is not None and done == self._last[0] + 1:
            self._slowest = max(self._slowest, time.monotonic() - self._last[1])
        now = self._lend_device()
        self._last = (done, now)
        # This window still takes two passes and its last iteration. Every window that is left takes
        # one more than that, for y and what it rounds to.
        windows_left = self._windows - 1 - done // iterations
        seconds = MARGIN * self._slowest * (3 + 4 * windows_left)
        if self._cut_at is None and (not self._wanted() or now + seconds > self._until):
            self._cut_at = done
        return self._cut_at is None

    def affords(self, iterations: int) -> bool:
        """Let others have the device, then say whether so many more iterations end in time."""
        if self._cut_at is not None or not self._wanted():
            return False
        seconds = MARGIN * self._slowest * (iterations + 3 * self._windows)
        return self._lend_device() + seconds < self._until

    @property
    def reached(self) -> int:
        """Effort done, 0 to 9; less than asked for if it ended early or never began."""
        if not self._windows:
            return 0
        if self._cut_at is None:
            return self.effort
        # The iteration that was under way is finished, and each window that was left has one.
        windows_left = self._windows - 1 - self._cut_at // ITERATIONS[self.effort]
        mean = (self._cut_at + 1 + windows_left) / self._windows
        return max(effort for effort in range(1, self.effort + 1) if ITERATIONS[effort] <= mean)

    def _lend_device(self) -> float:
        """Let others have the device. Returns the time when it is back."""
        lent = time.monotonic()
        self._job.pause()
        back = time.monotonic()
        self.lent_seconds += back - lent
        return back
