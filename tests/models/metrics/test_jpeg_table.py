"""JPEG's example table is the one that encoders scale."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from models.metrics.jpeg_table import JPEG_LUMA_STEPS


def test_it_is_what_libjpeg_writes_at_quality_50() -> None:
    file = BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(file, "JPEG", quality=50)
    with JpegImageFile(BytesIO(file.getvalue())) as image:
        assert tuple(image.quantization[0]) == JPEG_LUMA_STEPS
