"""Symbols: the small integers that travel between the device and the entropy coder, possibly from
process to process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.overlay.section import Overlay
from models.rate_control import Position, Target


@dataclass(frozen=True, slots=True, eq=False)
class Symbols:
    """The content of a stream.

    Attributes:
        width, height: of the picture, in pixels.
        position: on the gain axis.
        greyscale: whether the picture's planes are equal.
        postprocess: whether the picture is post-processed; the encoder decides as it recommends.
        z: hyper-latents, int8 (C, h/4, w/4).
        residuals: rounded y - mean, int16 (M, h, w).
        alpha: the plane (height, width), None when opaque.
        coded: number of symbols that the range coder takes: all of z, and the residuals that are
            not surely zero.
        overlay: pixels that take the place of the decoded ones; None for none. Encoders add its
            section afterwards.
    """

    width: int
    height: int
    position: Position
    greyscale: bool
    postprocess: bool
    z: NDArray[np.int8]
    residuals: NDArray[np.int16]
    alpha: NDArray[np.uint8] | None
    coded: int
    overlay: Overlay | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """A picture ready to be coded, and how rate control got there.

    Attributes:
        symbols: what to code.
        tables: the table of every residual, as the context model corrects the scale decoder's,
            uint8 (M, h, w).
        alpha: the stream's alpha section.
        target: what was asked for.
        budget: bytes that the stream may have; None when a quality was asked for.
        predicted_bytes: size that the stream will have, give or take a few; over the budget only
            where even the lowest quality is.
        probes: positions that rate control looked at (1 when a quality was asked for).
        search_seconds: how long rate control took, of its whole batch.
    """

    symbols: Symbols
    tables: NDArray[np.uint8]
    alpha: bytes | None
    target: Target
    budget: int | None
    predicted_bytes: float
    probes: int
    search_seconds: float
