"""Encoding at a quality: what a search for a file of at most so many bytes is made of."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from models import Picture

from .encode import ImageFormat, first_fitting

# The quality settings that change what an encoder writes, coarsest first. Sizes grow along them.
QUALITIES = {ImageFormat.JPEG: range(1, 96), ImageFormat.WEBP: range(101), ImageFormat.AVIF: range(101)}

_AVIF_SPEED, _LARGE_AVIF_SPEED = 6, 8
_LARGE_PIXELS = 2_000_000  # of more, seven encodes at speed 6 would take half a minute


def avif_speed(pixels: int) -> int:
    """Choose libaom's speed for a picture of so many pixels: the ordinary one, or a higher."""
    return _AVIF_SPEED if pixels <= _LARGE_PIXELS else _LARGE_AVIF_SPEED


def flattened(picture: Picture) -> Picture:
    """Put a picture with alpha on white, as for a format that has none."""
    if picture.alpha is None:
        return picture
    image = picture.to_image().convert("RGBA")
    return Picture.from_image(
        Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    )


def encode_at(picture: Picture, image_format: ImageFormat, quality: int) -> bytes:
    """Encode a picture at a quality of the format's scale.

    Raises:
        FormatLimitError: the picture is too large for the format.
    """
    first_fitting([image_format], picture.width, picture.height)
    options: dict[str, Any]
    match image_format:
        case ImageFormat.JPEG:
            options = {"optimize": True, "progressive": True, "subsampling": "4:2:0"}
        case ImageFormat.WEBP:
            options = {"method": 4}
        case _:
            # Bytes depend on the number of threads and of tiles, and must not on the machine.
            options = {"speed": avif_speed(picture.pixels), "max_threads": 1, "autotiling": False}
    file = io.BytesIO()
    picture.to_image().save(file, image_format.name, quality=quality, **options)
    return file.getvalue()
