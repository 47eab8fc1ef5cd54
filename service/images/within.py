"""Encoding at a quality: what a search for a file of at most so many bytes is made of."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from models import Picture

from .encode import ImageFormat, first_fitting


@dataclass(frozen=True, slots=True)
class Scale:
    """The quality settings of a format's encoder, coarsest first, and how it is run.

    Attributes:
        qualities: all settings that change what it writes; sizes grow along them.
        options: for Pillow, at which encoders are ordinarily run.
    """

    qualities: range
    options: Mapping[str, object]


SCALES = {
    ImageFormat.JPEG: Scale(range(1, 96), {"optimize": True, "progressive": True, "subsampling": "4:2:0"}),
    ImageFormat.WEBP: Scale(range(101), {"method": 4}),
    # Bytes depend on the number of threads and of tiles, and must not on the machine.
    ImageFormat.AVIF: Scale(
        range(101), {"speed": 6, "subsampling": "4:2:0", "max_threads": 1, "autotiling": False}
    ),
}


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
    file = io.BytesIO()
    picture.to_image().save(file, image_format.name, quality=quality, **SCALES[image_format].options)
    return file.getvalue()
