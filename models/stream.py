"""Stream: a compressed picture and how it came out, whichever codec made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from models.bitstream import CodecKind
from models.rate_control import Metric, Score, Target

Choice = Literal["learned", "hybrid", "mixed", "both"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The scores of both codecs' decoded pictures against the original.

    Attributes:
        metric: "psnr" (in dB) or "ms-ssim" (in [0, 1]); more is better.
        learned: score of the learned codec within the budget.
        hybrid: score of the hybrid codec within the same budget.
    """

    metric: Metric
    learned: float
    hybrid: float

    def of(self, codec: CodecKind) -> float:
        """The score of one of them."""
        return self.hybrid if codec is CodecKind.HYBRID else self.learned


@dataclass(frozen=True, slots=True, repr=False)
class Stream:
    """A compressed picture and how it came out.

    Attributes:
        data: the container.
        width, height: of the picture, in pixels.
        quality: position on the codec's axis, [0, 100].
        model: name of the model.
        probes: positions that rate control looked at (1 when a quality was asked for).
        target: what was asked for.
        target_met: within the budget and at most 1 % (or 8 bytes) under it; always true for a
            quality. False means that the budget lies outside the model's range for this picture:
            `data` is then the largest stream (under the budget) or the smallest (over it) there is.
            With minima: the decoded picture reaches all, within the budget if there is one; `data`
            is then the smallest stream that does, and where none does, the nearest to them.
        codec: what made the payload.
        auto: when the codec was chosen by making both, how the two compared.
        chosen: when the codec was to be chosen, what was made: one of the two, the learned one with
            an overlay ("mixed"), or both.
        scores: of the decoded picture, by every metric that had a minimum.
    """

    data: bytes
    width: int
    height: int
    quality: float
    model: str
    probes: int
    target: Target
    target_met: bool
    codec: CodecKind = CodecKind.LEARNED
    auto: Comparison | None = None
    scores: Mapping[Score, float] = field(default_factory=dict)
    chosen: Choice | None = None

    def __repr__(self) -> str:
        """Without the bytes of `data`, which may be megabytes."""
        met = "" if self.target_met else ", target missed"
        facts = f"{len(self.data)} bytes, {self.width}x{self.height}, {self.bpp:.4f} bpp"
        return f"<Stream {facts}, quality {self.quality:.1f}, {self.codec.name.lower()} {self.model}{met}>"

    @property
    def within_budget(self) -> bool:
        """True when it has no more bytes than its target allows."""
        budget = self.target.budget(self.width * self.height)
        return budget is None or len(self.data) <= budget

    @property
    def bpp(self) -> float:
        """Bits of the whole stream per pixel."""
        return 8 * len(self.data) / (self.width * self.height)

    @property
    def target_bpp(self) -> float | None:
        """Bits per pixel that the target comes to; None when a quality was asked for."""
        if self.target.max_bytes is not None:
            return 8 * self.target.max_bytes / (self.width * self.height)
        return self.target.bpp
