"""models.overlay.fill: what stays is the picture, what is filled is smooth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.overlay import fill
from models.overlay.section import box


def written() -> NDArray[np.uint8]:
    """A slope, and noise in a cell of it."""
    rows, columns = np.mgrid[0:190, 0:250]
    rgb = np.stack([rows, columns, 255 - columns], -1).astype(np.uint8)
    rgb[70:120, 140:180] = np.random.default_rng(0).integers(0, 256, (50, 40, 3))
    return rgb


def cell() -> NDArray[np.bool_]:
    cells = np.zeros((3, 4), np.bool_)
    cells[1, 2] = True
    return cells


def test_a_filled_cell_is_as_its_surroundings() -> None:
    rgb = written()
    made = fill.without(rgb, cell())
    outside = np.ones(rgb.shape[:2], np.bool_)
    outside[64:128, 128:192] = False
    assert np.array_equal(made[outside], rgb[outside])
    steps = np.abs(np.diff(made[60:132, 124:196].astype(int), axis=0)).max()
    assert steps <= 12
    assert rgb[70, 140].tolist() == written()[70, 140].tolist(), "the picture itself is left"


def test_only_cells_and_their_margin_are_kept() -> None:
    rgb, cells = written(), cell()
    cells[0, 0] = True
    made = fill.only(rgb, cells)
    part = rgb[box(cells, *rgb.shape[:2])]
    assert made.shape == part.shape == (136, 200, 3)
    assert np.array_equal(made[56:136, 120:200], part[56:136, 120:200])
    assert np.array_equal(made[:72, :72], part[:72, :72])
    assert not np.array_equal(made, part)


def test_any_size_is_filled(photo: Image.Image) -> None:
    rgb = np.asarray(photo)
    for height, width in ((1, 1), (65, 3), (96, 127)):
        cells = np.ones((-(-height // 64), -(-width // 64)), np.bool_)
        assert (fill.without(rgb[:height, :width], cells) == 128).all()
        assert np.array_equal(fill.only(rgb[:height, :width], cells), rgb[:height, :width])
