"""Image files by Pillow's encoders."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """The image as a file; `options` are those of Pillow's `save`."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()
