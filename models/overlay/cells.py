"""Which parts of a picture are text or drawn, and not photographed.

A picture is looked at in cells of 64x64 pixels. Text and interfaces have few colours, steep edges
and nothing in between; photographs have soft gradients nearly everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELL = 64  # pixels on a side
STILL = 1  # steps of luma to a neighbour, at most: flat
SOFT = (3, 24)  # steps of luma that photographs are full of
STEEP = 56  # at least: an edge of a letter
BINS = 32  # of the histogram of luma


def grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of cells."""
    return -(-height // CELL), -(-width // CELL)


def features(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe every cell of a picture (H, W, 3): (rows, columns, 6), each in [0, 1].

    They are the shares of pixels that are flat, soft and steep, those of the most frequent and the
    second most frequent bin of luma, and the share of the bins that are used.
    """
    luma = _luma(rgb)
    rows, columns = luma.shape[0] // CELL, luma.shape[1] // CELL
    signed = luma.astype(np.int16)
    step = np.abs(np.diff(signed, axis=1, append=signed[:, -1:]))
    np.maximum(step, np.abs(np.diff(signed, axis=0, append=signed[-1:])), out=step)
    shares = [
        _share(mask, rows, columns)
        for mask in (step <= STILL, (step >= SOFT[0]) & (step <= SOFT[1]), step >= STEEP)
    ]
    histogram = np.sort(_histogram(luma, rows, columns), -1)
    most = [histogram[..., -1], histogram[..., -2]]
    used = (histogram > 2 / CELL**2).mean(-1)
    return np.stack([*shares, *most, used], -1).astype(np.float32)


def _luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compute luma, padded to whole cells by its last row and column."""
    height, width = rgb.shape[:2]
    weighted = rgb[..., 0] * np.uint16(54) + rgb[..., 1] * np.uint16(183) + rgb[..., 2] * np.uint16(19)
    luma = (weighted >> 8).astype(np.uint8)
    return np.pad(luma, ((0, -height % CELL), (0, -width % CELL)), mode="edge")


def _share(mask: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.float64]:
    counts = mask.reshape(rows, CELL, columns, CELL).sum((1, 3), dtype=np.int32)
    return counts / CELL**2


def _histogram(luma: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float64]:
    """Count the luma of every cell in bins, as shares (rows, columns, BINS)."""
    bins = (luma // (256 // BINS)).reshape(rows, CELL, columns, CELL)
    cell = np.arange(rows * columns, dtype=np.int32).reshape(rows, 1, columns, 1) * BINS
    counts = np.bincount((cell + bins).ravel(), minlength=rows * columns * BINS)
    return counts.reshape(rows, columns, BINS) / CELL**2
