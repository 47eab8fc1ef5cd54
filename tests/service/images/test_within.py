from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from models import Picture
from service.images import (
    QUALITIES,
    FormatLimitError,
    ImageFormat,
    avif_speed,
    decode,
    encode_at,
    flattened,
)


@pytest.mark.parametrize("image_format", QUALITIES)
def test_sizes_grow_with_quality(image_format: ImageFormat, photo: Image.Image) -> None:
    picture = Picture.from_image(photo)
    sizes = [len(encode_at(picture, image_format, quality)) for quality in (1, 30, 60, 90)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 4


@pytest.mark.parametrize("image_format", QUALITIES)
def test_files_are_read_back(image_format: ImageFormat, photo: Image.Image) -> None:
    picture = Picture.from_image(photo)
    back = decode(encode_at(picture, image_format, 90), max_pixels=10**6).picture
    assert np.abs(back.rgb.astype(int) - picture.rgb.astype(int)).mean() < 4


@pytest.mark.parametrize("image_format", QUALITIES)
def test_the_ends_of_a_scale_are_settings_of_the_encoder(
    image_format: ImageFormat, photo: Image.Image
) -> None:
    qualities = QUALITIES[image_format]
    for quality in (qualities[0], qualities[-1]):
        assert Image.open(io.BytesIO(encode_at(Picture.from_image(photo), image_format, quality)))


def test_a_transparent_picture_is_put_on_white(photo: Image.Image) -> None:
    faint = photo.convert("RGBA")
    faint.putalpha(0)
    opaque = Picture.from_image(photo)

    assert (flattened(Picture.from_image(faint)).rgb == 255).all()
    assert flattened(opaque) is opaque


def test_what_is_too_large_for_the_format_is_refused() -> None:
    wide = Picture.from_array(np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(FormatLimitError, match="16383"):
        encode_at(wide, ImageFormat.WEBP, 50)


def test_large_pictures_are_made_faster() -> None:
    assert avif_speed(400_000) < avif_speed(12_000_000)
