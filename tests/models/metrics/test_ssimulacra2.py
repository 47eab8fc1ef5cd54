"""SSIMULACRA2 follows what an eye sees, and what another implementation of it says."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import Tensor

from models.metrics import ssimulacra2 as module
from models.metrics.ssimulacra2 import TAPS, ssimulacra2


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def test_the_same_picture_scores_100(photo: Image.Image) -> None:
    assert float(ssimulacra2(tensor(photo), tensor(photo))) == pytest.approx(100, abs=0.2)


def test_scores_rise_with_quality(photo: Image.Image) -> None:
    scores = [
        float(ssimulacra2(tensor(jpeg(photo, quality)), tensor(photo))) for quality in (5, 20, 50, 80, 95)
    ]
    assert scores == sorted(scores)
    assert scores[0] < 30
    assert scores[-1] > 80


def test_a_batch_is_scored_one_by_one(photo: Image.Image) -> None:
    x_hat = torch.cat([tensor(jpeg(photo, 20)), tensor(photo.filter(ImageFilter.GaussianBlur(2)))])
    both = ssimulacra2(x_hat, tensor(photo).expand(2, -1, -1, -1))
    assert both.tolist() == pytest.approx(
        [float(ssimulacra2(decoded[None], tensor(photo))) for decoded in x_hat], abs=0.05
    )


def test_the_blur_is_a_gaussian_of_sigma_1_5() -> None:
    gaussian = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
    assert sum(TAPS) == pytest.approx(1)
    assert pytest.approx(gaussian / gaussian.sum(), abs=0.005) == TAPS


@pytest.mark.parametrize(("quality", "score"), [(10, -63.97), (40, -33.00), (80, 15.47)])
def test_agrees_with_vszip_where_that_mirrors_the_picture(
    photo: Image.Image, quality: int, score: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores are vapoursynth-vszip 23.1's of these very pixels, enlarged for all six scales."""
    blur = module._blur

    def mirrored(planes: Tensor) -> Tensor:
        reach = len(TAPS) // 2
        return blur(F.pad(planes, (reach,) * 4, mode="reflect"))[..., reach:-reach, reach:-reach]

    monkeypatch.setattr(module, "_blur", mirrored)
    large = photo.resize((512, 384), Image.Resampling.NEAREST)
    decoded = jpeg(photo, quality).resize((512, 384), Image.Resampling.NEAREST)
    assert float(ssimulacra2(tensor(decoded), tensor(large))) == pytest.approx(score, abs=0.5)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 7), (9, 8)])
def test_any_size(size: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    assert float(ssimulacra2(x, x)) == pytest.approx(100, abs=0.2)
    assert float(ssimulacra2(1 - x, x)) < 80
