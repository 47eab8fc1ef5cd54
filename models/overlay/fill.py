"""Fills the parts of a picture that another codec carries, smoothly, so that they cost little.

Push and pull (Gortler et al., "The Lumigraph", 1996): the picture is halved, by the means of what
is known, until all of it is known; on the way back the unknown takes what the halved picture has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.overlay.blend import weights
from models.overlay.section import BLOCK, Blocks, box

AROUND = 64  # pixels around the box of the blocks that they are filled from
SQUARE = 8  # pixels on a side

Floats = NDArray[np.float32]


def without(rgb: NDArray[np.uint8], blocks: Blocks) -> NDArray[np.uint8]:
    """Copy a picture (H, W, 3), its blocks filled from around them, for the learned codec."""
    down, across = (_wider(part) for part in box(blocks, *rgb.shape[:2]))
    result = rgb.copy()
    result[down, across] = _filled(rgb[down, across], ~_pixels(blocks, *rgb.shape[:2])[down, across])
    return result


def only(rgb: NDArray[np.uint8], blocks: Blocks) -> NDArray[np.uint8]:
    """Copy the box of the blocks from a picture (H, W, 3), filled but for them and the pixels
    around them in which an overlay fades out.
    """
    part = box(blocks, *rgb.shape[:2])
    return _filled(rgb[part], weights(blocks, *part) > 0)


def _wider(part: slice) -> slice:
    return slice(max(0, part.start - AROUND), part.stop + AROUND)


def _pixels(blocks: Blocks, height: int, width: int) -> NDArray[np.bool_]:
    """Mark the pixels of blocks, (H, W)."""
    return blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)[:height, :width]


def _filled(rgb: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill what is not known of pixels (H, W, 3); mid-grey where nothing is.

    It is done to means of squares, which are enlarged again: what is filled is smooth anyway.
    """
    if not known.any():
        return np.full_like(rgb, 128)
    height, width = known.shape
    weight = _sums(known[..., None].view(np.uint8))
    mean = _sums(rgb * known[..., None]) / np.maximum(weight, 1)
    small = _pushed(mean.astype(np.float32), np.minimum(weight[..., 0], 1).astype(np.float32))
    size = small.shape[1] * SQUARE, small.shape[0] * SQUARE
    smooth = Image.fromarray(np.rint(small).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    return np.where(known[..., None], rgb, np.asarray(smooth)[:height, :width])


def _sums(values: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Sums of squares (H, W, C), cut off at the border."""
    rows, columns = (np.arange(0, side, SQUARE) for side in values.shape[:2])
    down = np.add.reduceat(values, rows, 0, dtype=np.uint32)
    return np.add.reduceat(down, columns, 1)


def _pushed(colour: Floats, known: Floats) -> Floats:
    """Fill (H, W, 3) where `known` (H, W) is 0."""
    if known.all():
        return colour
    height, width = known.shape
    odd = (0, height % 2), (0, width % 2)
    padded = np.pad(colour * known[..., None], (*odd, (0, 0)))
    weight = _quads(np.pad(known, odd))
    mean = _quads(padded) / np.maximum(weight, 1)[..., None]
    coarse = _pushed(mean.astype(np.float32, copy=False), np.minimum(weight, 1))
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
        doubled: Floats = pairs.reshape(-1, *values.shape[1:]).astype(np.float32, copy=False)
        values = doubled.swapaxes(0, axis)
    return values
