"""Blends an overlay into a decoded picture, in integers, so that no seam shows [format].

In the blocks of the overlay its pixels are taken as they are. Around them it fades out: a pixel at
a distance of d from the nearest block, the larger of rows and columns, has 8 - d eighths of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.overlay.section import BLOCK, RAMP, Blocks, Overlay, box

_SHIFT = RAMP.bit_length() - 1
_ROWS_AT_A_TIME = 64  # pixels: the sums take twice the memory


def blend(rgb: NDArray[np.uint8], overlay: Overlay) -> None:
    """Put an overlay on a picture (H, W, 3), in place."""
    down, across = box(overlay.blocks, *rgb.shape[:2])
    under = rgb[down, across]
    eighths = weights(overlay.blocks, down, across)
    for top in range(0, len(under), _ROWS_AT_A_TIME):
        rows = slice(top, top + _ROWS_AT_A_TIME)
        weight = eighths[rows, :, None].astype(np.uint16)
        mixed = under[rows] * (RAMP - weight) + overlay.rgb[rows] * weight + RAMP // 2
        under[rows] = mixed >> _SHIFT


def weights(blocks: Blocks, down: slice, across: slice) -> NDArray[np.uint8]:
    """Eighths of the overlay at the pixels of its box.

    Squares of RAMP pixels on a side are looked at. One outside of a block is touched by those that
    are inside and beside it, above, below or across.
    """
    top, left = down.start // BLOCK, across.start // BLOCK
    blocks = blocks[top : -(-down.stop // BLOCK), left : -(-across.stop // BLOCK)]
    inside = np.pad(blocks.repeat(BLOCK // RAMP, 0).repeat(BLOCK // RAMP, 1), 1)
    rows, columns = inside.shape[0] - 2, inside.shape[1] - 2
    eighths = np.zeros((rows, RAMP, columns, RAMP), np.uint8)
    rising = np.arange(RAMP, dtype=np.uint8)
    sides = (RAMP - 1 - rising, np.full(RAMP, RAMP, np.uint8), rising)  # from the block before, at, after
    for row, of_row in enumerate(sides):
        for column, of_column in enumerate(sides):
            near = inside[row : row + rows, column : column + columns]
            tile = np.minimum(of_row[:, None], of_column)
            np.maximum(eighths, near[:, None, :, None] * tile[:, None], out=eighths)
    whole = eighths.reshape(rows * RAMP, columns * RAMP)[down.start % BLOCK :, across.start % BLOCK :]
    return whole[: down.stop - down.start, : across.stop - across.start]
