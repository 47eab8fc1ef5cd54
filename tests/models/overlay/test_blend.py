"""models.overlay.blend: blocks are taken whole, and fade out around."""

from __future__ import annotations

import numpy as np

from models.overlay.blend import blend
from models.overlay.section import Overlay, box


def test_an_overlay_fades_out_around_its_blocks() -> None:
    blocks = np.zeros((6, 7), np.bool_)
    blocks[2, 3:5] = True
    rgb = np.full((90, 101, 3), 80, np.uint8)
    part = box(blocks, *rgb.shape[:2])
    blend(rgb, Overlay(blocks, np.full_like(rgb[part], 160)))
    assert (rgb[32:48, 48:80] == 160).all()
    assert rgb[24:34, 60, 0].tolist() == [80, 90, 100, 110, 120, 130, 140, 150, 160, 160]
    assert rgb[40, 78:88, 1].tolist() == [160, 160, 150, 140, 130, 120, 110, 100, 90, 80]
    assert rgb[50, 86, 2] == 90, "at a corner the larger distance counts"
    rgb[part] = 80
    assert (rgb == 80).all()


def test_blocks_that_meet_have_no_seam() -> None:
    blocks = np.eye(2, dtype=np.bool_)
    rgb = np.zeros((25, 32, 3), np.uint8)
    blend(rgb, Overlay(blocks, np.full_like(rgb, 200)))
    assert (rgb[:16, :16] == 200).all()
    assert (rgb[16:, 16:] == 200).all()
    assert rgb[15, 16, 0] == 175
