"""models.mixed: what is made of a picture follows from what is in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models import Picture
from models.hybrid import libaom
from models.mixed import COARSEST_MIXED, Mixture, choice
from models.overlay.cells import Content, content
from models.overlay.section import unpack
from models.rate_control import Metric
from tests.models.overlay.samples import captioned, page, photograph


def test_photographs_pages_and_captions_are_told_apart() -> None:
    assert choice(content(photograph())) == "learned"
    assert choice(content(captioned(photograph())[0])) == "mixed"
    assert choice(content(page())) == "hybrid"


def test_where_the_picture_does_not_tell_both_are_made() -> None:
    half = np.zeros((2, 4), np.bool_)
    half[0] = True
    nothing = np.zeros_like(half)
    ink = np.ones((4, 16), np.bool_)
    assert choice(Content(text=nothing, flat=half, ink=nothing)) == "both"
    much = half.copy()
    much[1, :2] = True
    assert choice(Content(text=much, flat=nothing, ink=ink)) == "both"
    assert choice(Content(text=half, flat=nothing, ink=ink)) == "mixed"


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_mixture_is_text_and_the_rest(mode: str) -> None:
    rgb, where = captioned(photograph())
    picture = Picture.from_image(Image.fromarray(rgb).convert(mode))
    found = content(picture.rgb)
    settings = []

    def encode(samples: np.typing.NDArray[np.uint8], metric: Metric, setting: int, speed: int) -> bytes:
        settings.append(setting)
        return libaom.encode(samples, metric, setting, speed)

    mixture = Mixture(picture, found, effort=0, encoder=encode)
    ink = found.ink.repeat(16, 0).repeat(16, 1)
    assert np.array_equal(mixture.rest.rgb[~ink], picture.rgb[~ink])
    assert mixture.rest.greyscale == picture.greyscale == (mode == "L")

    assert mixture.section(COARSEST_MIXED - 1, 0.2) == b""
    small, large = mixture.section(40, 0.2), mixture.section(50, 0.7)
    assert len(small) < len(large)
    assert mixture.section(40, 0.2) == small
    assert settings == sorted(settings)
    assert len(settings) == 2, "what was encoded is kept"
    most = len(small) + (len(large) - len(small)) // 2
    assert len(small) <= len(mixture.section(50, 0.7, 2 * most)) <= most
    assert mixture.section(50, 0.7, len(small) // 4) == b"", "without room"
    overlay = unpack(large, width=512, height=384, mono=picture.greyscale)
    assert np.array_equal(overlay.blocks, found.ink)
    assert where.any()


def test_alpha_stays_with_the_rest() -> None:
    rgb, _ = captioned(photograph())
    alpha = np.full(rgb.shape[:2], 7, np.uint8)
    picture = replace(Picture.from_array(rgb), alpha=alpha)
    assert Mixture(picture, content(rgb)).rest.alpha is alpha
