"""models.collection"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from models import Picture
from models.codec import Codec
from models.collection import QUALITIES, compare, encode, sweep
from models.learned.codec import LearnedCodec
from models.metrics import ms_ssim, psnr
from models.rate_control import Metric, RateDistortion, SetScores, Target, allocate
from models.stream import Stream


@pytest.fixture(scope="module")
def pictures(photo: Image.Image) -> list[Picture]:
    """A photograph, a part of it that is nearly smooth, and one with alpha."""
    faded = photo.copy()
    faded.putalpha(Image.linear_gradient("L").resize(faded.size))
    return [Picture.from_image(image) for image in (photo, photo.crop((64, 0, 128, 40)), faded)]


def test_every_point_is_the_stream_of_its_quality(codec: LearnedCodec, pictures: list[Picture]) -> None:
    for picture in pictures:
        for quality, point in zip(QUALITIES, sweep(codec, picture), strict=True):
            stream = Codec(codec).compress(picture, quality=quality)
            decoded = codec.decode([stream.data])[0]
            x_hat, x = (
                torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
                for rgb in (decoded.rgb, picture.rgb)
            )
            assert abs(point.size - len(stream.data)) <= 2  # batches differ in the last bit of a float
            assert -10 * np.log10(point.mse) == pytest.approx(float(psnr(x_hat, x)), abs=0.01)
            assert point.ms_ssim == pytest.approx(float(ms_ssim(x_hat, x)), abs=1e-3)


def test_a_large_picture_is_measured_in_several_batches(
    codec: LearnedCodec, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = sweep(codec, pictures[0])
    monkeypatch.setattr("models.collection.BATCH_PIXELS", 3 * pictures[0].pixels)
    assert [point.size for point in sweep(codec, pictures[0])] == pytest.approx(
        [point.size for point in at_once], abs=2
    )


@pytest.mark.parametrize(("metric", "effort"), [("ms-ssim", 0), ("ms-ssim", 2), ("psnr", 0)])
def test_shared_bytes_beat_equal_bits_per_pixel(
    codec: LearnedCodec, pictures: list[Picture], metric: Metric, effort: int
) -> None:
    pixels = [picture.pixels for picture in pictures]
    alphas = sum(
        len(Codec(codec).compress(picture, quality=0).data)
        for picture in pictures
        if picture.alpha is not None
    )
    budget = round(0.15 * sum(pixels) / 8) + alphas  # where a byte does most, and not the same for all
    allocation = allocate(
        [RateDistortion.of(sweep(codec, picture), metric, picture.pixels) for picture in pictures], budget
    )
    shared = list(encode(codec, pictures, allocation, budget, effort=effort))
    equal = [
        codec.encode([picture], [Target(bpp=8 * budget / sum(pixels))], effort=effort)[0]
        for picture in pictures
    ]

    def scores(streams: list[Stream]) -> SetScores:
        decoded = [codec.decode([stream.data]) for stream in streams]
        return SetScores.of(
            [compare(codec, *pair, [0])[0] for pair in zip(pictures, decoded, strict=True)], pixels
        )

    spent = sum(len(stream.data) for stream in shared)
    assert allocation.reach == "within"
    assert 0.995 * budget - 8 <= spent <= budget
    ours, constant = scores(shared), scores(equal)
    assert ours.ms_ssim > constant.ms_ssim if metric == "ms-ssim" else ours.psnr > constant.psnr
