"""A decoded picture and its original, for the metrics."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.evaluation.judges import Pair


@pytest.fixture(scope="session")
def original(photo: Image.Image) -> Image.Image:
    """250x190: no multiple of a block, and smaller than the 256 pixels of IW-SSIM."""
    return photo.resize((250, 190), Image.Resampling.LANCZOS)


@pytest.fixture(scope="session")
def blurred(original: Image.Image) -> Pair:
    return Pair(np.array(original.filter(ImageFilter.GaussianBlur(1))), np.array(original))
