"""Blends an overlay into a decoded picture, in integers, so that no seam shows [format].

In the cells of the overlay its pixels are taken as they are. Around them it fades out: a pixel at a
distance of d from the nearest cell, the larger of rows and columns, has 8 - d eighths of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.grid import HYPER_PIXELS as CELL
from models.overlay.section import RAMP, Cells, Overlay, box

_SHIFT = RAMP.bit_length() - 1


def blend(rgb: NDArray[np.uint8], overlay: Overlay) -> None:
    """Put an overlay on a picture (H, W, 3), in place."""
    down, across = box(overlay.cells, *rgb.shape[:2])
    under = rgb[down, across]
    weights = _weights(overlay.cells, down, across)
    for top in range(0, len(under), CELL):  # some rows at a time: the sums take twice the memory
        rows = slice(top, top + CELL)
        weight = weights[rows, :, None].astype(np.uint16)
        mixed = under[rows] * (RAMP - weight) + overlay.rgb[rows] * weight + RAMP // 2
        under[rows] = mixed >> _SHIFT


def _weights(cells: Cells, down: slice, across: slice) -> NDArray[np.uint8]:
    """Eighths of the overlay at every pixel of its box, (h, w)."""
    side = np.minimum(np.arange(1, CELL + 2 * RAMP - 1), RAMP)
    side = np.minimum(side, side[::-1])
    tile = np.minimum(side[:, None], side).astype(np.uint8)
    weights = np.zeros((down.stop - down.start, across.stop - across.start), np.uint8)
    for row, column in np.argwhere(cells) * CELL - (RAMP - 1) - (down.start, across.start):
        part = weights[max(row, 0) : row + len(tile), max(column, 0) : column + len(tile)]
        seen = tile[max(-row, 0) :, max(-column, 0) :][: part.shape[0], : part.shape[1]]
        np.maximum(part, seen, out=part)
    return weights
