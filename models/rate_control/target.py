"""What a picture is compressed to: a budget, a quality, or scores that it must reach; and what its
bits are spent for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from models.errors import TargetError

Metric = Literal["ms-ssim", "psnr"]
"""The two scores of CLIC 2018.

A set is judged by the mean MS-SSIM of its pictures, or by one MSE over all their pixels.
"""

Score = Literal["psnr", "ms-ssim", "ssimulacra2"]
"""A metric of a decoded picture against its original; see `models.metrics`."""

_MINIMA: dict[str, Score] = {
    "min_psnr": "psnr",
    "min_ms_ssim": "ms-ssim",
    "min_ssimulacra2": "ssimulacra2",
}

TOLERANCE = 0.01  # share of the budget: a stream at most so much smaller has met it
# A stream at most so many bytes under its budget has met it. For very small pictures 1 % of the
# budget is finer than positions are.
CLOSE_BYTES = 8
HIGHEST_BPP = 32.0  # bits per pixel that a target may ask for
HIGHEST_BYTES = 2**53  # the same in bytes: floats, with which budgets are compared, hold no more exactly

# Searches aim this share of the way from the lowest size that meets the budget to the budget, so
# that small errors of a prediction do no harm.
AIM_SHARE = 0.6


HIGHEST_PSNR = 100.0  # dB that a target may ask for; 8 bits have no more, but for an exact picture


@dataclass(frozen=True, slots=True)
class Target:
    """The target of one picture: a size, a quality, or the smallest stream that is good enough.

    Exactly one of the first three is given, or minima, alone or beside a budget. With minima the
    stream is the smallest whose decoded picture reaches all of them; a budget beside them is never
    exceeded for their sake.

    Attributes:
        bpp: bits of the whole stream per pixel of the picture, (0, 32].
        max_bytes: size of the whole stream in bytes, at least 1 and at most 2^53.
        quality: [0, 100], the codec's own axis; no size is asked for.
        tolerance: share of the budget that the search may leave unused, (0, 0.5]; a smaller one
            takes more probes. With minima, about the share by which the stream may be larger than
            the smallest.
        min_psnr: dB, [0, 100].
        min_ms_ssim: [0, 1).
        min_ssimulacra2: [0, 100).

    Raises:
        TargetError: the combination makes no sense, or a value is no number or out of range.
    """

    bpp: float | None = None
    max_bytes: int | None = None
    quality: float | None = None
    tolerance: float = TOLERANCE
    min_psnr: float | None = None
    min_ms_ssim: float | None = None
    min_ssimulacra2: float | None = None

    def __post_init__(self) -> None:
        minima = [name for name in _MINIMA if getattr(self, name) is not None]
        given = [name for name in ("bpp", "max_bytes", "quality") if getattr(self, name) is not None]
        if minima and self.quality is not None:
            raise TargetError(f"quality and {minima[0]} contradict each other; give one of them")
        if len(given) > 1 or (not given and not minima):
            names = " and ".join(given) or "none"
            raise TargetError(
                f"exactly one of bpp, max_bytes and quality is needed, or a minimum, not {names}"
            )
        for name in (*given, *minima, "tolerance"):
            value = getattr(self, name)
            if not isinstance(value, Integral if name == "max_bytes" else Real) or isinstance(value, bool):
                kind = "a whole number" if name == "max_bytes" else "a number"
                raise TargetError(f"{name} is {kind}, not {value!r}")
        if self.bpp is not None and not 0 < self.bpp <= HIGHEST_BPP:
            raise TargetError(f"bpp must be in (0, {HIGHEST_BPP:g}], not {self.bpp}")
        if self.max_bytes is not None and not 1 <= self.max_bytes <= HIGHEST_BYTES:
            # Not said which: it may have thousands of digits, more than Python writes.
            raise TargetError(f"max_bytes must be at least 1 and at most {HIGHEST_BYTES}")
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise TargetError(f"quality must be in [0, 100], not {self.quality}")
        if not 0 < self.tolerance <= 0.5:
            raise TargetError(f"tolerance must be in (0, 0.5], not {self.tolerance}")
        if self.min_psnr is not None and not 0 <= self.min_psnr <= HIGHEST_PSNR:
            raise TargetError(f"min_psnr must be in [0, {HIGHEST_PSNR:g}], not {self.min_psnr}")
        if self.min_ms_ssim is not None and not 0 <= self.min_ms_ssim < 1:
            raise TargetError(f"min_ms_ssim must be in [0, 1), not {self.min_ms_ssim}")
        if self.min_ssimulacra2 is not None and not 0 <= self.min_ssimulacra2 < 100:
            raise TargetError(f"min_ssimulacra2 must be in [0, 100), not {self.min_ssimulacra2}")

    @property
    def minima(self) -> dict[Score, float]:
        """The scores that the decoded picture must reach; empty where none must."""
        values = {score: getattr(self, name) for name, score in _MINIMA.items()}
        return {score: float(value) for score, value in values.items() if value is not None}

    def check_for_minima(self) -> None:
        """Refuse minima where nothing is decoded that could be measured. Raises `TargetError`."""
        if self.minima:
            raise TargetError("minima are reached by models.Codec.compress, which decodes what it made")

    def budget(self, pixels: int) -> int | None:
        """The largest stream allowed for a picture of `pixels`, in bytes; None for a quality."""
        return math.floor(self.bpp * pixels / 8) if self.bpp is not None else self.max_bytes


def meets(budget: int, size: float, tolerance: float = TOLERANCE, close_bytes: int = CLOSE_BYTES) -> bool:
    """Tell whether a stream of `size` bytes meets its budget.

    It does when it is within, and under it by at most `tolerance` of it or `close_bytes`.
    """
    return budget - max(budget * tolerance, close_bytes) <= size <= budget


def aim(budget: int, tolerance: float) -> float:
    """The size in bytes that a search should try for; see `AIM_SHARE`."""
    return budget * (1 - (1 - AIM_SHARE) * tolerance)
