"""models.overlay.section: which cells AVIF covers, and what a hostile section is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avif.section import strip
from models.errors import DamagedStreamError
from models.hybrid import libaom
from models.overlay.section import Cells, box, grid, pack, unpack

HEIGHT, WIDTH = 150, 200  # 3 x 4 cells


def some(*chosen: tuple[int, int]) -> Cells:
    cells = np.zeros(grid(HEIGHT, WIDTH), np.bool_)
    for place in chosen:
        cells[place] = True
    return cells


def section(cells: Cells, rgb: NDArray[np.uint8]) -> bytes:
    height, width, _ = rgb.shape
    file = libaom.encode(rgb, "psnr", 1500, 9)
    return pack(cells, strip(file, width=width, height=height, mono=False))


def test_a_box_holds_all_cells_and_the_pixels_around_them() -> None:
    assert box(some((1, 1), (1, 2)), HEIGHT, WIDTH) == (slice(56, 136), slice(56, 200))
    assert box(some((0, 0), (2, 3)), HEIGHT, WIDTH) == (slice(0, HEIGHT), slice(0, WIDTH))


def test_cells_and_pixels_come_back() -> None:
    cells = some((1, 1), (2, 1))
    rgb = np.full((94, 80, 3), 99, np.uint8)
    packed = section(cells, rgb)
    assert packed[:2] == bytes([0b0000_0100, 0b0100_0000])
    overlay = unpack(packed, width=WIDTH, height=HEIGHT, mono=False)
    assert np.array_equal(overlay.cells, cells)
    assert np.abs(overlay.rgb.astype(int) - rgb).max() <= 2


def test_a_section_that_no_encoder_writes_is_refused() -> None:
    whole = section(some((1, 1)), np.full((80, 80, 3), 99, np.uint8))
    assert unpack(whole, width=WIDTH, height=HEIGHT, mono=False).rgb.shape == (80, 80, 3)
    no_cell, filling, another_box = b"\0\0" + whole[2:], b"\x04\x08" + whole[2:], b"\x06\0" + whole[2:]
    for wrong in (b"", whole[:1], whole[:3], no_cell, filling, another_box, whole[:-30]):
        with pytest.raises(DamagedStreamError):
            unpack(wrong, width=WIDTH, height=HEIGHT, mono=False)
    with pytest.raises(DamagedStreamError, match="tools"):
        unpack(whole, width=WIDTH, height=HEIGHT, mono=True)
