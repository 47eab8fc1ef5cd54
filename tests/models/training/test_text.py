"""models.training.text: pictures that people write on"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from models.training.text import decorate, fonts
from tests.make_golden import golden_picture


def test_text_covers_a_part_of_the_picture_and_leaves_the_original() -> None:
    picture = golden_picture().rgb
    before = picture.copy()
    shares = []
    for seed in range(8):
        written = decorate(picture, np.random.default_rng(seed))
        assert written.shape == picture.shape
        shares.append((written != picture).any(2).mean())
    assert np.array_equal(picture, before)
    assert 0.02 < np.mean(shares) < 0.6


def test_the_same_state_writes_the_same() -> None:
    first, second = (decorate(golden_picture().rgb, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, second)


def test_some_pictures_get_a_border(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.text.BLOCKS", (0, 0))
    monkeypatch.setattr("models.training.text.BORDERED", 1.0)
    picture = np.full((100, 160, 3), 90, np.uint8)
    for seed in range(8):
        inside = (decorate(picture, np.random.default_rng(seed)) == 90).all(2)
        assert inside[45:55, 70:90].mean() > 0.5
    edges = [decorate(picture, np.random.default_rng(seed))[[0, -1]][:, [0, -1]] for seed in range(8)]
    assert any((edge == 0).all() for edge in edges)


def test_every_font_can_write() -> None:
    assert fonts()[0] is None, "Pillow's own is there on every machine"
    for path in fonts()[1:]:
        assert path is not None
        assert ImageFont.truetype(path, 12).getlength("text") > 0
