"""models.overlay.cells: text is found, and photographs have none."""

from __future__ import annotations

import numpy as np
import pytest

from models.overlay.cells import HIGH, WIDE, content, look
from tests.models.overlay.samples import captioned, page, photograph


def test_a_photograph_has_no_text() -> None:
    found = content(photograph())
    assert found.text.shape == (384 // HIGH, 512 // WIDE)
    assert not found.text.any()
    assert not found.ink.any()
    assert found.photographed > 0.5


def test_a_caption_is_found_and_little_else() -> None:
    rgb, where = captioned(photograph())
    ink = content(rgb).ink
    pixels = ink.repeat(16, 0).repeat(16, 1)
    assert (pixels & where).sum() > 0.8 * where.sum()
    assert ink.mean() < 0.15


def test_a_caption_on_a_soft_ground_is_found_by_its_line() -> None:
    rows, columns = np.mgrid[0:384, 0:512]
    ground = np.stack([180 + rows // 8, 170 + columns // 9, 150 + 0 * rows], -1)
    noise = np.random.default_rng(0).normal(0, 4, (384, 512, 1))
    rgb, where = captioned((ground + noise).clip(0, 255).astype(np.uint8))
    ink = content(rgb).ink
    assert (ink.repeat(16, 0).repeat(16, 1) & where).sum() > 0.95 * where.sum()


def test_a_page_is_text_and_paper() -> None:
    found = content(page())
    assert found.photographed < 0.1
    assert found.text.mean() > 0.3
    assert not (found.text & found.flat).any()


@pytest.mark.parametrize("size", [(1, 1), (16, 300), (33, 65), (31, 64)])
def test_pictures_of_any_size_are_looked_at(size: tuple[int, int]) -> None:
    height, width = size
    found = content(page()[:height, :width])
    assert found.ink.shape == (-(-height // 16), -(-width // 16))
    described, flat, ink = look(page()[:height, :width])
    assert flat.shape == found.text.shape == (-(-height // HIGH), -(-width // WIDE))
    assert described.shape == (max(1, len(flat) - 1), flat.shape[1], 7)
    assert described.max() <= 1
    assert ink.max() <= 256


def test_features_are_those_of_a_drawing() -> None:
    """A white line of 2 pixels on black, across a cell."""
    rgb = np.zeros((2 * HIGH, WIDE, 3), np.uint8)
    rgb[10:12] = 255
    flat, soft, steep, edges, drawn, thin, used = look(rgb)[0][0, 0].tolist()
    assert (flat, soft, steep) == (30 / 32, 0, 2 / 32)
    assert edges == 4 / 32
    assert drawn == 2 / 32, "seen from outside; from inside the other side is too near"
    assert thin == 2 / 32
    assert used == 2 / 32
