"""VMAF NEG follows what an eye sees, and gives nothing for sharpening."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from models.evaluation.vmaf import vmaf


def test_scores_rise_with_quality_and_not_with_sharpness(photo: Image.Image) -> None:
    large = photo.resize((256, 192), Image.Resampling.LANCZOS)
    original = np.array(large)

    def score(image: Image.Image) -> float:
        return vmaf(np.array(image), original)

    same = score(large)
    scores = [score(large.filter(ImageFilter.GaussianBlur(radius))) for radius in (4, 2, 1)]
    assert scores == sorted(scores)
    assert scores[-1] < same <= 100
    assert same > 90
    assert score(large.filter(ImageFilter.UnsharpMask(2, 150, 0))) <= same
