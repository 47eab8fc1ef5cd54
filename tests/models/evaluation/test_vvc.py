"""VVC streams have the size, the colours and the quality that are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from models.evaluation import vvc
from models.picture import Picture

pytest.importorskip("imageio_ffmpeg", reason="VVC needs imageio-ffmpeg, of the extra `evaluation`")


@pytest.mark.parametrize("size", [(64, 48), (63, 48), (64, 47), (61, 45)])
def test_any_size_comes_back(photo: Image.Image, size: tuple[int, int]) -> None:
    picture = Picture.from_image(photo.crop((0, 0, *size)))
    decoded = vvc.decode(vvc.encode(picture, 22))
    assert (decoded.width, decoded.height) == size
    assert np.abs(decoded.rgb.astype(int) - picture.rgb).mean() < 4


def test_colours_keep_their_matrix_and_range() -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (200, 40, 60), (30, 180, 90)):
        flat = Picture.from_array(np.full((32, 32, 3), colour, np.uint8))
        decoded = vvc.decode(vvc.encode(flat, 10)).rgb.astype(int)
        assert np.abs(decoded - flat.rgb).max() <= 2, colour


def test_a_lower_qp_is_a_larger_file(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)
    sizes = [len(vvc.encode(picture, qp)) for qp in (52, 42, 32, 22)]
    assert sizes == sorted(sizes)
