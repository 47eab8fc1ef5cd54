"""models.overlay.section: which blocks AVIF covers, and what a hostile section is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avif.section import strip
from models.errors import DamagedStreamError
from models.hybrid import libaom
from models.overlay.section import Blocks, box, pack, unpack

HEIGHT, WIDTH = 150, 200  # 10 x 13 blocks in 3 x 4 cells


def some(*chosen: tuple[int, int]) -> Blocks:
    blocks = np.zeros((10, 13), np.bool_)
    for place in chosen:
        blocks[place] = True
    return blocks


def section(blocks: Blocks, rgb: NDArray[np.uint8]) -> bytes:
    height, width, _ = rgb.shape
    file = libaom.encode(rgb, "psnr", 1500, 9)
    return pack(blocks, strip(file, width=width, height=height, mono=False))


def test_a_box_holds_all_blocks_and_the_pixels_around_them() -> None:
    assert box(some((1, 1), (2, 3)), HEIGHT, WIDTH) == (slice(8, 56), slice(8, 72))
    assert box(some((0, 0), (9, 12)), HEIGHT, WIDTH) == (slice(0, HEIGHT), slice(0, WIDTH))


def test_blocks_and_pixels_come_back() -> None:
    blocks = some((5, 4), (6, 7), (9, 5))
    rgb = np.full((78, 80, 3), 99, np.uint8)
    packed = section(blocks, rgb)
    assert packed[:2] == bytes([0b0000_0100, 0b0100_0000]), "the cells"
    assert packed[2:6] == bytes([0b0000_1000, 0b0001_0000, 0b0000_0100, 0]), "the blocks in them"
    overlay = unpack(packed, width=WIDTH, height=HEIGHT, mono=False)
    assert np.array_equal(overlay.blocks, blocks)
    assert np.abs(overlay.rgb.astype(int) - rgb).max() <= 2


def test_a_section_that_no_encoder_writes_is_refused() -> None:
    whole = section(some((4, 4)), np.full((32, 32, 3), 99, np.uint8))
    assert unpack(whole, width=WIDTH, height=HEIGHT, mono=False).rgb.shape == (32, 32, 3)
    cells, blocks, av1 = whole[:2], whole[2:4], whole[4:]
    for wrong in (
        b"",
        cells,
        cells + blocks + av1[:1],
        b"\0\0" + av1,  # no cell
        b"\x04\x08" + blocks + av1,  # a cell that is not there
        b"\x06\0" + 2 * blocks + av1,  # another box
        cells + b"\0\0" + av1,  # no block
        b"\0\x10" + b"\x01\0" + av1,  # a block that is not there
        whole[:-20],
    ):
        with pytest.raises(DamagedStreamError):
            unpack(wrong, width=WIDTH, height=HEIGHT, mono=False)
    with pytest.raises(DamagedStreamError, match="tools"):
        unpack(whole, width=WIDTH, height=HEIGHT, mono=True)
