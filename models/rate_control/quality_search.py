"""Rate control by quality: the smallest stream whose decoded picture reaches given scores.

It is the search for a budget, turned round. Each score has a loss that falls as the stream grows,
about as fast in logarithms: a squared error, 1 - MS-SSIM, SSIMULACRA2's distance. The minima allow
so much of each. `GainSearch` finds the coarsest position whose loss, relative to what is allowed
and of the worst score, keeps to it and leaves little: a secant inside a bracket, in the coordinate
of an average photograph's loss. Only what was decoded and measured counts. So where quality does
not rise all along the axis, that costs bytes, and never quality.

With a budget beside the minima, the first attempt spends it. When that does not reach them, nothing
within the budget does. Effort comes last, near the position that was found without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.rate_control.avif_search import LAST_SETTING
from models.rate_control.gain_search import GainSearch
from models.rate_control.position import MAX_INDEX
from models.rate_control.target import CLOSE_BYTES, Score, Target

MOST_ATTEMPTS = 10  # without effort
MOST_REFINED = 3  # with effort
# Share of the tolerance that the loss may leave: 1 % of it costs 1.2 to 2 % of the bytes on Kodak.
LOSS_TOLERANCE_SHARE = 0.6
NEARLY = 1.03  # losses, relative to what is allowed, that chance may mend
BELOW_STEPS = (1.0, 2.0, 4.0)  # of quality, at which it is given the chance
# What is allowed, for `GainSearch`: beside so much its margins of a few bytes are nothing.
_ALLOWED = 1 << 40
_LEAST_LOSS = 1e-9  # of what is allowed; that of an exact picture has no logarithm

_GRID = np.linspace(0, 1, 121)  # of predictions, as shares of the axis


@dataclass(frozen=True, slots=True)
class Axis:
    """A codec's quality axis, and the losses of an average photograph along it.

    A search begins where these say. It ends at about the same stream wherever it begins.

    Attributes:
        losses: shares of the axis, rising, and ln(loss) there, by metric.
        last: position of the finest quality.
    """

    losses: Mapping[Score, tuple[Sequence[float], Sequence[float]]]
    last: int = MAX_INDEX

    @classmethod
    def of_scores(cls, scores: Mapping[Score, Mapping[float, float]]) -> Axis:
        """Make the axis of a learned codec that was measured.

        Args:
            scores: mean scores of pictures by quality, [0, 100], rising. A metric with fewer than
                two has what is usual.
        """
        measured = {
            score: (
                [quality / 100 for quality in found],
                [math.log(max(_loss(score, value), _LEAST_LOSS)) for value in found.values()],
            )
            for score, found in scores.items()
            if len(found) > 1
        }
        return cls({**USUAL_AXIS.losses, **measured})

    def ln_loss(self, score: Score) -> NDArray[np.float64]:
        """Interpolate ln(loss) at the points of the grid."""
        return np.interp(_GRID, *self.losses[score])


def _evenly(*ln_losses: float) -> tuple[Sequence[float], Sequence[float]]:
    """Pair losses with equally spaced shares of the axis."""
    return np.linspace(0, 1, len(ln_losses)).tolist(), ln_losses


USUAL_AXIS = Axis(
    {
        "psnr": _evenly(-4.9, -5.4, -5.9, -6.5, -7.3, -7.9, -8.4),
        "ms-ssim": _evenly(-1.3, -1.7, -2.2, -2.9, -3.6, -4.3, -4.9),
        "ssimulacra2": _evenly(0.8, 0.7, 0.3, -0.2, -0.9, -1.6, -2.2),
    }
)
"""The axis of a learned codec of which nothing is known."""

HYBRID_AXIS = Axis(
    {
        "psnr": _evenly(-5.5, -6.3, -6.7, -7.1, -7.6, -8.1, -8.6, -9.0, -9.4, -10.1, -11.5),
        "ms-ssim": _evenly(-1.8, -2.6, -2.9, -3.4, -3.8, -4.3, -4.7, -5.1, -5.5, -6.2, -8.0),
        "ssimulacra2": _evenly(0.6, -0.1, -0.4, -0.9, -1.4, -2.0, -2.4, -2.8, -3.2, -3.9, -4.8),
    },
    LAST_SETTING,
)
"""The axis of the hybrid codec, whose two tunings are alike: means over 4 photographs."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One stream to make, decode and measure.

    Attributes:
        target: a quality, or the budget that stands beside the minima.
        refined: with effort.
    """

    target: Target
    refined: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """An attempt that was measured.

    Attributes:
        position: on the axis.
        loss: of the worst score, relative to what its minimum allows.
        size: bytes of the stream.
        refined: with effort.
    """

    position: int
    loss: float
    size: int
    refined: bool


class QualitySearch:
    """The search for one picture: make `attempt`, `observe` it, until `attempt` is None.

    Args:
        target: its minima, and a budget or not.
        pixels: of the picture.
        axis: the codec's.
        effort: whether effort is asked for.

    Attributes:
        met: the best stream so far reaches the minima, within the budget.
    """

    def __init__(self, target: Target, pixels: int, *, axis: Axis, effort: bool = False) -> None:
        self.met = False
        self._target = target
        self._budget = target.budget(pixels)
        self._last = axis.last
        self._axis = axis
        self._allowed = {score: _loss(score, value) for score, value in target.minima.items()}
        self._seen: list[_Seen] = []
        self._best = (False, False, -math.inf)  # rank
        self._plan = self._attempts(effort=effort)
        self.attempt = next(self._plan, None)

    @property
    def attempts(self) -> int:
        """Number of attempts observed."""
        return len(self._seen)

    @property
    def part(self) -> tuple[int, int]:
        """Attempts with effort that are done, and the most that there may be."""
        return sum(seen.refined for seen in self._seen), MOST_REFINED + 1

    def observe(self, quality: float, size: int, scores: Mapping[Score, float]) -> bool:
        """Take note of what the attempt came to, and choose the next.

        Args:
            quality: of the stream, [0, 100].
            size: of the stream, in bytes.
            scores: of the decoded picture, by every metric that has a minimum.

        Returns:
            True when it is the best so far: the smallest that reaches the minima, or where none
            does, the nearest to them. One over the budget is the best only where all are over it.
        """
        assert self.attempt is not None
        loss = max(_loss(score, scores[score]) / allowed for score, allowed in self._allowed.items())
        position = round(quality / 100 * self._last)
        self._seen.append(_Seen(position, max(loss, _LEAST_LOSS), size, self.attempt.refined))
        within = self._budget is None or size <= self._budget
        met = within and loss <= 1
        rank = (met, within, -float(size) if met else -loss)
        is_best = rank > self._best
        if is_best:
            self._best = rank
            self.met = met
        self.attempt = next(self._plan, None)
        return is_best

    def _attempts(self, *, effort: bool) -> Iterator[Attempt]:
        """Plan the attempts; each is observed before the next is asked for."""
        tolerance = LOSS_TOLERANCE_SHARE * self._target.tolerance
        for refined in (False, True) if effort else (False,):
            search = GainSearch(_ALLOWED, self._predicted(), tolerance, last=self._last)
            if self._budget is not None and not self.met:
                budget = Target(self._target.bpp, self._target.max_bytes, tolerance=self._target.tolerance)
                yield Attempt(budget, refined)
                if not self.met:
                    yield from self._below(refined=refined)
                    continue
                self._tell(search)
            for _ in range(MOST_REFINED if refined else MOST_ATTEMPTS):
                if search.probe is None or self._is_close(refined=refined):
                    break
                quality = 100 * (self._last - search.probe) / self._last
                yield Attempt(Target(quality=quality), refined)
                self._tell(search)
            if not self.met:
                yield from self._below(refined=refined)

    def _below(self, *, refined: bool) -> Iterator[Attempt]:
        """Plan attempts below the finest one there may be, which falls short by little.

        The last few hundredths of a score do not always rise with the size.
        """
        finest = self._seen[-1]
        for step in BELOW_STEPS if finest.loss < NEARLY else ():
            if not self.met:
                quality = 100 * finest.position / self._last - step
                yield Attempt(Target(quality=max(quality, 0.0)), refined)

    def _tell(self, search: GainSearch) -> None:
        """Tell a search, whose axis runs from fine to coarse, what came of the last attempt."""
        search.observe(self._last - self._seen[-1].position, self._seen[-1].loss * _ALLOWED)

    def _is_close(self, *, refined: bool) -> bool:
        """Say whether nothing much smaller than what reaches the minima can reach them."""
        sizes = [
            [seen.size for seen in self._seen if seen.refined == refined and (seen.loss <= 1) == reaches]
            for reaches in (True, False)
        ]
        if not all(sizes):
            return False
        spare = min(sizes[0]) - max(sizes[1])
        return spare <= max(self._target.tolerance * min(sizes[0]), CLOSE_BYTES)

    def _predicted(self) -> NDArray[np.float64]:
        """The loss to expect from fine to coarse: an average photograph's, bent to go through what
        was seen.
        """
        ln_losses = [
            self._axis.ln_loss(score) - math.log(allowed) for score, allowed in self._allowed.items()
        ]
        ln_loss = np.max(ln_losses, 0)
        if seen := {seen.position / self._last: math.log(seen.loss) for seen in self._seen}:
            shares = sorted(seen)
            shifts = [seen[share] - np.interp(share, _GRID, ln_loss) for share in shares]
            ln_loss = ln_loss + np.interp(_GRID, shares, shifts)
        predicted: NDArray[np.float64] = _ALLOWED * np.exp(ln_loss[::-1])
        return predicted


def _loss(score: Score, value: float) -> float:
    """Loss of a picture with this score; 0 for an exact one."""
    if score == "psnr":
        return math.pow(10, -value / 10)
    if score == "ms-ssim":
        return max(1 - value, 0.0)
    return math.pow(max((100 - value) / 100, 0.0), 1.6)  # about the distance whose power the score is
