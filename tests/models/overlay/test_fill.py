"""models.overlay.fill: what stays is the picture, what is filled is smooth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.overlay import fill
from models.overlay.section import Blocks, box


def written() -> NDArray[np.uint8]:
    """A slope, and noise on it."""
    rows, columns = np.mgrid[0:190, 0:250]
    rgb = np.stack([rows, columns, 255 - columns], -1).astype(np.uint8)
    rgb[70:120, 140:180] = np.random.default_rng(0).integers(0, 256, (50, 40, 3))
    return rgb


def noisy() -> Blocks:
    blocks = np.zeros((12, 16), np.bool_)
    blocks[4:8, 8:12] = True
    return blocks


def test_filled_blocks_are_as_their_surroundings() -> None:
    rgb = written()
    made = fill.without(rgb, noisy())
    outside = np.ones(rgb.shape[:2], np.bool_)
    outside[64:128, 128:192] = False
    assert np.array_equal(made[outside], rgb[outside])
    assert np.abs(np.diff(made[60:132, 124:196].astype(int), axis=0)).max() <= 12
    assert np.array_equal(rgb, written()), "the picture itself is left"


def test_only_blocks_and_their_margin_are_kept() -> None:
    rgb, blocks = written(), noisy()
    blocks[0, 0] = True
    made = fill.only(rgb, blocks)
    part = rgb[box(blocks, *rgb.shape[:2])]
    assert made.shape == part.shape == (136, 200, 3)
    assert np.array_equal(made[57:135, 121:199], part[57:135, 121:199])
    assert np.array_equal(made[:23, :23], part[:23, :23])
    assert not np.array_equal(made, part)


def test_any_size_is_filled(photo: Image.Image) -> None:
    rgb = np.asarray(photo)
    for height, width in ((1, 1), (65, 3), (96, 127)):
        blocks = np.ones((-(-height // 16), -(-width // 16)), np.bool_)
        assert (fill.without(rgb[:height, :width], blocks) == 128).all()
        assert np.array_equal(fill.only(rgb[:height, :width], blocks), rgb[:height, :width])
