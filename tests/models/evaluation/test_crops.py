"""The sheets show the centre of the same pictures by each codec, within the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from models import Picture
from models.evaluation import crops
from models.evaluation.anchors import of_families
from models.evaluation.crops import CAPTION, SIDE, centre, comparison, sheets
from models.evaluation.points import AnchorPoints
from models.learned.codec import LearnedCodec


def test_sheet(photo: Image.Image, codec: LearnedCodec) -> None:
    pictures = [Picture.from_image(photo), Picture.from_image(photo.transpose(Image.Transpose.ROTATE_90))]
    sheet = comparison(pictures, codec, 0, of_families(("jpeg", "webp")), AnchorPoints(None))
    assert sheet.size == (4 * (SIDE + 4) - 4, 2 * (SIDE + CAPTION))
    original = np.asarray(sheet)[: photo.height, : photo.width]
    assert np.array_equal(original, np.asarray(photo))


def test_first_middle_and_last_beside_one_of_each_family(
    photo: Image.Image, codec: LearnedCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [Picture.from_image(photo.crop((0, 0, 64 + number, 64))) for number in range(24)]
    shown: list[tuple[list[int], list[str]]] = []

    def note(chosen: list[Picture], *arguments: object) -> Image.Image:
        anchors = arguments[2]
        assert isinstance(anchors, list)
        shown.append(([picture.width - 64 for picture in chosen], [anchor.name for anchor in anchors]))
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(crops, "comparison", note)
    psnr = LearnedCodec.load("psnr")
    list(
        sheets(
            pictures,
            [codec, psnr],
            0,
            of_families(("jpeg", "webp", "avif", "heic", "jxl")),
            AnchorPoints(None),
        )
    )
    assert shown == [
        ([0, 12, 23], ["avif-444", "heic-444", "jxl", "webp", "jpeg"]),
        ([0, 12, 23], ["avif-444-psnr", "heic-444-psnr", "jxl", "webp", "jpeg"]),
    ]


def test_centre() -> None:
    rgb = np.zeros((600, 400, 3), np.uint8)
    rgb[172:428, 72:328] = 255
    assert np.asarray(centre(Picture.from_array(rgb))).min() == 255
