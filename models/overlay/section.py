"""The overlay section of a learned stream: the blocks it covers, and their pixels as AV1 [format].

    offset  bytes  field
         0      n  a bit for every cell of 64x64 pixels, row by row, the first in the highest bit;
                   the last byte is filled with zeros. At least one is set.
         n     2c  for each of the c cells that are set, in this order, a bit for every block of
                   16x16 pixels in it, in the same order; at least one is set, and none outside of
                   the picture
    n + 2c    all  what `models.avif.section` leaves of an AVIF file of the box of these blocks

The box is the smallest that holds all blocks of the overlay and `RAMP` pixels around them, within
the picture. A picture has as many blocks as y has elements in a channel, and as many cells as z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.avif.decoder import decode
from models.avif.section import restore
from models.errors import DamagedStreamError
from models.grid import HYPER_STRIDE, STRIDE, hyper_size, latent_size

BLOCK = STRIDE  # pixels on a side of a block [format]
SIDE = HYPER_STRIDE  # blocks on a side of a cell [format]
RAMP = 8  # pixels around a block in which the overlay fades out [format]

Blocks = NDArray[np.bool_]
"""The blocks of a picture, (rows, columns), that an overlay covers."""


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Pixels that take the place of the learned codec's.

    Attributes:
        blocks: that they cover.
        rgb: the pixels of the box of these blocks, uint8 (h, w, 3).
    """

    blocks: Blocks
    rgb: NDArray[np.uint8]


def box(blocks: Blocks, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels that an overlay holds; at least one block is chosen."""
    rows, columns = np.any(blocks, 1), np.any(blocks, 0)
    return _span(rows, height), _span(columns, width)


def _span(chosen: NDArray[np.bool_], side: int) -> slice:
    numbers = np.flatnonzero(chosen)
    return slice(max(0, int(numbers[0]) * BLOCK - RAMP), min(side, (int(numbers[-1]) + 1) * BLOCK + RAMP))


def pack(blocks: Blocks, av1: bytes) -> bytes:
    """Write the section: at least one block, and the AV1 section of the box of the blocks."""
    rows, columns = hyper_size(*blocks.shape)
    whole = np.zeros((rows * SIDE, columns * SIDE), np.bool_)
    whole[: blocks.shape[0], : blocks.shape[1]] = blocks
    by_cell = whole.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).reshape(rows * columns, SIDE**2)
    cells = by_cell.any(1)
    return np.packbits(cells).tobytes() + np.packbits(by_cell[cells], 1).tobytes() + av1


def unpack(section: bytes, *, width: int, height: int, mono: bool) -> Overlay:
    """Read the section of a picture of this size. Nothing larger is decoded.

    Raises:
        DamagedStreamError: it is nothing that an encoder writes.
    """
    blocks, size = _blocks(section, *latent_size(height, width))
    down, across = box(blocks, height, width)
    height, width = down.stop - down.start, across.stop - across.start
    file = restore(section[size:], width=width, height=height, mono=mono)
    return Overlay(blocks, decode(file, width=width, height=height))


def _blocks(section: bytes, height: int, width: int) -> tuple[Blocks, int]:
    """Read the blocks (height, width) of a section, and where its AV1 begins."""
    rows, columns = hyper_size(height, width)
    size = -(-rows * columns // 8)
    bits = np.unpackbits(np.frombuffer(section[:size], np.uint8))
    cells, padding = np.flatnonzero(bits[: rows * columns]), bits[rows * columns :]
    end = size + 2 * len(cells)
    if len(section) < end or not len(cells) or padding.any():
        raise DamagedStreamError("the overlay section does not tell which cells it covers")
    by_cell = np.zeros((rows * columns, SIDE**2), np.bool_)
    by_cell[cells] = np.unpackbits(np.frombuffer(section[size:end], np.uint8)).reshape(-1, SIDE**2)
    whole = by_cell.reshape(rows, columns, SIDE, SIDE).swapaxes(1, 2).reshape(rows * SIDE, columns * SIDE)
    blocks = whole[:height, :width]
    if not by_cell[cells].any(1).all() or np.count_nonzero(whole) > np.count_nonzero(blocks):
        raise DamagedStreamError("the overlay section does not tell which blocks it covers")
    return blocks, end
