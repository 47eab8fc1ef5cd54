"""Fills the parts of a picture that another codec carries, smoothly, so that they cost little.

Push and pull (Gortler et al., "The Lumigraph", 1996): the picture is halved, by the means of what
is known, until all of it is known; on the way back the unknown takes what the halved picture has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.grid import HYPER_PIXELS as CELL
from models.overlay.section import RAMP, Cells, box

Floats = NDArray[np.float32]


def without(rgb: NDArray[np.uint8], cells: Cells) -> NDArray[np.uint8]:
    """Copy a picture (H, W, 3), its cells filled from around them, for the learned codec."""
    down, across = (_wider(part, CELL) for part in box(cells, *rgb.shape[:2]))
    result = rgb.copy()
    result[down, across] = _filled(rgb[down, across], ~_pixels(cells, *rgb.shape[:2])[down, across])
    return result


def only(rgb: NDArray[np.uint8], cells: Cells) -> NDArray[np.uint8]:
    """Copy the box of the cells from a picture (H, W, 3), filled but for them and the pixels around
    them in which an overlay fades out.
    """
    near = _pixels(cells, *rgb.shape[:2])
    for row, column in np.argwhere(cells) * CELL:
        near[max(row - RAMP, 0) : row + CELL + RAMP, max(column - RAMP, 0) : column + CELL + RAMP] = True
    part = box(cells, *rgb.shape[:2])
    return _filled(rgb[part], near[part])


def _wider(part: slice, margin: int) -> slice:
    return slice(max(0, part.start - margin), part.stop + margin)


def _pixels(cells: Cells, height: int, width: int) -> NDArray[np.bool_]:
    """Mark the pixels of cells, (H, W)."""
    return cells.repeat(CELL, 0).repeat(CELL, 1)[:height, :width]


def _filled(rgb: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill what is not known of pixels (H, W, 3); mid-grey where nothing is."""
    if not known.any():
        return np.full_like(rgb, 128)
    filled = _pushed(rgb.astype(np.float32), known.astype(np.float32))
    result: NDArray[np.uint8] = np.where(known[..., None], rgb, np.rint(filled).astype(np.uint8))
    return result


def _pushed(colour: Floats, known: Floats) -> Floats:
    """Fill (H, W, 3) where `known` (H, W) is 0."""
    if known.all():
        return colour
    height, width = known.shape
    odd = (0, height % 2), (0, width % 2)
    padded = np.pad(colour * known[..., None], (*odd, (0, 0)))
    weight = _quads(np.pad(known, odd))
    mean = _quads(padded) / np.maximum(weight, 1)[..., None]
    coarse = _pushed(mean, np.minimum(weight, 1))
    return np.where(known[..., None] > 0, colour, _doubled(coarse)[:height, :width])


def _quads(values: Floats) -> Floats:
    """Sums of 2x2."""
    rows: Floats = values[::2] + values[1::2]
    sums: Floats = rows[:, ::2] + rows[:, 1::2]
    return sums


def _doubled(values: Floats) -> Floats:
    """Enlarge to twice the rows and columns, linearly."""
    for axis in (0, 1):
        values = values.swapaxes(0, axis)
        before, after = np.concatenate([values[:1], values[:-1]]), np.concatenate([values[1:], values[-1:]])
        pairs = np.stack([0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after], 1)
        values = pairs.reshape(-1, *values.shape[1:]).swapaxes(0, axis)
    return values
