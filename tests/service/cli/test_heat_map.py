"""The map of differences: bright where they are, with a scale that says how large."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from service.cli.heat_map import ENDS, NARROWEST, _end_of, heat_map


def test_it_is_dark_where_nothing_differs_and_bright_where_much_does() -> None:
    differences = np.zeros((300, 400), np.float32)
    differences[100:200, 100:200] = 20
    with Image.open(io.BytesIO(heat_map(differences, "a title"))) as image:
        assert image.width == 400
        assert image.height > 300
        luma = np.asarray(image.convert("L"))
    assert luma[:90, :300].max() < 5
    assert luma[105:195, 105:195].min() > 200
    assert luma[300:].max() == 255  # the scale is on white
    assert (luma[300:] == 0).any()  # and has text


def test_a_tiny_picture_has_room_for_its_scale() -> None:
    with Image.open(io.BytesIO(heat_map(np.ones((3, 5), np.float32), "a title"))) as image:
        assert image.width == NARROWEST


@pytest.mark.parametrize(("largest", "end"), [(0.0, ENDS[0]), (1.5, 2.0), (7.0, 10.0), (500.0, ENDS[-1])])
def test_scales_have_few_ends_so_that_maps_compare(largest: float, end: float) -> None:
    assert _end_of(np.full((10, 10), largest, np.float32)) == end
