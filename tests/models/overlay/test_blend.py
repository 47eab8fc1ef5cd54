"""models.overlay.blend: cells are taken whole, and fade out around."""

from __future__ import annotations

import numpy as np

from models.overlay.blend import blend
from models.overlay.section import Overlay, box


def test_an_overlay_fades_out_around_its_cells() -> None:
    cells = np.zeros((3, 3), np.bool_)
    cells[1, 1] = True
    rgb = np.full((180, 190, 3), 80, np.uint8)
    part = box(cells, *rgb.shape[:2])
    blend(rgb, Overlay(cells, np.full_like(rgb[part], 160)))
    assert (rgb[64:128, 64:128] == 160).all()
    assert rgb[56:66, 100, 0].tolist() == [80, 90, 100, 110, 120, 130, 140, 150, 160, 160]
    assert rgb[100, 126:136, 1].tolist() == [160, 160, 150, 140, 130, 120, 110, 100, 90, 80]
    assert rgb[130, 134, 2] == 90, "at a corner the larger distance counts"
    rgb[part] = 80
    assert (rgb == 80).all()


def test_cells_that_meet_have_no_seam() -> None:
    cells = np.zeros((2, 2), np.bool_)
    cells[[0, 1], [0, 1]] = True
    rgb = np.zeros((100, 128, 3), np.uint8)
    blend(rgb, Overlay(cells, np.full_like(rgb, 200)))
    assert (rgb[:64, :64] == 200).all()
    assert (rgb[64:, 64:] == 200).all()
    assert rgb[63, 64, 0] == 175
