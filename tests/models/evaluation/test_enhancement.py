"""models.evaluation.enhancement: real files, an identical post-processor, and one that is not"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from models.evaluation import enhancement
from models.network.postprocess import PostNetwork, PostTopology
from models.picture import Picture
from models.postprocess.model import PostModel
from models.postprocess.postprocessor import PostProcessor
from tests.post import KINDS, tiny_post_card, tiny_post_processor


@pytest.fixture
def identity() -> PostProcessor:
    model = PostModel.of(PostNetwork(PostTopology(KINDS, channels=4, blocks=1)))
    return PostProcessor(model, tiny_post_card(model.model_id))


def test_every_setting_is_measured_before_and_after(
    identity: PostProcessor, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enhancement, "QUALITIES", {"jpeg": (10, 60), "avif-420": (30,)})
    pictures = [Picture.from_image(photo), Picture.from_image(photo.rotate(180))]
    unchanged = enhancement.gains(identity, pictures, tmp_path)
    assert [(gain.codec, gain.quality) for gain in unchanged] == [
        ("avif-420", 30),
        ("jpeg", 10),
        ("jpeg", 60),
    ]
    for gain in unchanged:
        assert gain.psnr[0] == gain.psnr[1]
        assert gain.ms_ssim[0] == gain.ms_ssim[1]
    assert unchanged[1].bpp < unchanged[2].bpp
    assert unchanged[1].psnr[0] < unchanged[2].psnr[0]

    spoilt = enhancement.gains(tiny_post_processor(), pictures, tmp_path)
    for before, after in zip(unchanged, spoilt, strict=True):
        assert after.psnr[0] == before.psnr[0]
        assert after.psnr[1] < before.psnr[1]


def test_files_are_made_once(identity: PostProcessor, photo: Image.Image, tmp_path: Path) -> None:
    anchor = next(maker for maker, _ in enhancement.makers(identity) if maker.name == "jpeg")
    first = enhancement.encoded(Picture.from_image(photo), anchor, 10, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"kept")
    assert enhancement.encoded(Picture.from_image(photo), anchor, 10, tmp_path) == b"kept" != first
