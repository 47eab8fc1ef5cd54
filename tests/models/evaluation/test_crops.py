"""The comparison sheet shows the centre of each picture by each codec."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models import Codec, Picture
from models.evaluation.anchors import of_families
from models.evaluation.crops import CAPTION, SIDE, centre, comparison
from models.evaluation.points import AnchorPoints


def test_sheet(photo: Image.Image, codec: Codec) -> None:
    pictures = [Picture.from_image(photo), Picture.from_image(photo.transpose(Image.Transpose.ROTATE_90))]
    sheet = comparison(pictures, [codec], of_families(("jpeg", "webp")), 0.8, AnchorPoints(None))
    assert sheet.size == (4 * (SIDE + 4) - 4, 2 * (SIDE + CAPTION))
    original = np.asarray(sheet)[: photo.height, : photo.width]
    assert np.array_equal(original, np.asarray(photo))


def test_centre() -> None:
    rgb = np.zeros((600, 400, 3), np.uint8)
    rgb[172:428, 72:328] = 255
    assert np.asarray(centre(Picture.from_array(rgb))).min() == 255
