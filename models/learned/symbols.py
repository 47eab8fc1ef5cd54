"""What travels between the device and the entropy coder, possibly from process to process: small integers, cheap to pickle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bitstream import CodecKind
from models.rate_control import Target
from models.rate_control.allocation import Metric


@dataclass(frozen=True, slots=True, eq=False)
class Symbols:
    """What a stream says.

    Attributes:
        width, height: of the picture, in pixels.
        quality: position on the gain axis, 0..65535.
        greyscale: whether the picture's planes are equal.
        postprocess: whether the picture should be post-processed; where it is read, the encoder's recommendation.
        z: hyper-latents, int8 (C, h/4, w/4).
        residuals: rounded y - mean, int16 (M, h, w).
        alpha: the plane (height, width), None when opaque.
        coded: symbols that the range coder takes for it: all of z, and the residuals that are not surely zero.
    """

    width: int
    height: int
    quality: int
    greyscale: bool
    postprocess: bool
    z: NDArray[np.int8]
    residuals: NDArray[np.int16]
    alpha: NDArray[np.uint8] | None
    coded: int


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """A picture ready to be coded, and how rate control got there.

    Attributes:
        symbols: what to code.
        indices: the table of every residual by the scale decoder, uint8 (M, h, w); neighbours correct it.
        alpha: the stream's alpha section.
        target: what was asked for.
        budget: bytes that the stream may have; None when a quality was asked for.
        predicted: bytes that it will have, give or take a few; over the budget only where even the lowest quality is.
        probes: positions that rate control looked at (1 when a quality was asked for).
        search_seconds: how long rate control took, of its whole batch.
    """

    symbols: Symbols
    indices: NDArray[np.uint8]
    alpha: bytes | None
    target: Target
    budget: int | None
    predicted: float
    probes: int
    search_seconds: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both codecs' decoded pictures against the original.

    Attributes:
        metric: "psnr" (in dB) or "ms-ssim" (in [0, 1]); more is better.
        learned, hybrid: what each reached within the same budget.
    """

    metric: Metric
    learned: float
    hybrid: float

    def of(self, codec: CodecKind) -> float:
        """What one of them reached."""
        return self.hybrid if codec is CodecKind.HYBRID else self.learned


@dataclass(frozen=True, slots=True)
class Stream:
    """A compressed picture and how it came out.

    Attributes:
        data: the container.
        width, height: of the picture, in pixels.
        quality: position on the codec's axis, [0, 100].
        model: name of the model.
        probes: positions that rate control looked at (1 when a quality was asked for).
        target: what was asked for.
        target_met: within the budget and at most 1 % (or 8 bytes) under it; always true for a quality. False means that the budget
            lies outside the model's range for this picture: `data` is then the largest stream (under the budget) or the smallest (over
            it) there is.
        codec: what made the payload.
        auto: when that was left to the codec, how the two compared.
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

    @property
    def bpp(self) -> float:
        """Bits of the whole stream per pixel."""
        return 8 * len(self.data) / (self.width * self.height)
