"""The overlay section of a learned stream: which cells it covers, and their pixels as AV1 [format].

    offset  bytes  field
         0      n  a bit for every cell, row by row, the first in the highest bit; the last byte is
                   filled with zeros. At least one is set.
         n    all  what `models.avif.section` leaves of an AVIF file of the box of these cells

The box is the smallest that holds all cells of the overlay and `RAMP` pixels around them, within
the picture. A picture has as many cells as z has elements in a channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.avif.decoder import decode
from models.avif.section import restore
from models.errors import DamagedStreamError
from models.grid import HYPER_PIXELS as CELL
from models.grid import hyper_size, latent_size

RAMP = 8  # pixels around a cell in which the overlay fades out [format]

Cells = NDArray[np.bool_]
"""The cells of a picture, (rows, columns), that an overlay covers."""


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Pixels that take the place of the learned codec's.

    Attributes:
        cells: that they cover.
        rgb: the pixels of the box of these cells, uint8 (h, w, 3).
    """

    cells: Cells
    rgb: NDArray[np.uint8]


def grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the cells of a picture."""
    return hyper_size(*latent_size(height, width))


def box(cells: Cells, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels that an overlay holds; at least one cell is chosen."""
    return _span(cells.any(1), height), _span(cells.any(0), width)


def _span(chosen: NDArray[np.bool_], side: int) -> slice:
    numbers = np.flatnonzero(chosen)
    return slice(max(0, int(numbers[0]) * CELL - RAMP), min(side, (int(numbers[-1]) + 1) * CELL + RAMP))


def pack(cells: Cells, av1: bytes) -> bytes:
    """Write the section: at least one cell, and the AV1 section of the box of the cells."""
    return np.packbits(cells).tobytes() + av1


def unpack(section: bytes, *, width: int, height: int, mono: bool) -> Overlay:
    """Read the section of a picture of this size. Nothing larger is decoded.

    Raises:
        DamagedStreamError: it is nothing that an encoder writes.
    """
    rows, columns = grid(height, width)
    size = -(-rows * columns // 8)
    bits = np.unpackbits(np.frombuffer(section[:size], np.uint8))
    cells, padding = bits[: rows * columns].astype(np.bool_), bits[rows * columns :]
    if len(bits) != 8 * size or not cells.any() or padding.any():
        raise DamagedStreamError("the overlay section does not tell which cells it covers")
    cells = cells.reshape(rows, columns)
    down, across = box(cells, height, width)
    height, width = down.stop - down.start, across.stop - across.start
    file = restore(section[size:], width=width, height=height, mono=mono)
    return Overlay(cells, decode(file, width=width, height=height))
