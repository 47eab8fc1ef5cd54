"""Pictures as answers: `?format=` goes before Accept, and PNG is what you get unasked."""

from __future__ import annotations

import io

import pytest
from fastapi import Request
from PIL import Image

from models import Picture
from service.http.negotiation import NotAcceptableError
from service.images import ImageFormat
from service.routes.pictures import _encode, wanted


def request(accept: str = "") -> Request:
    return Request({"type": "http", "headers": [(b"accept", accept.encode())]})


@pytest.mark.parametrize(
    ("accept", "format", "expected"),
    [
        ("", None, ImageFormat.PNG),
        ("*/*", None, ImageFormat.PNG),
        ("image/webp", None, ImageFormat.WEBP),
        ("image/avif;q=0.5, image/jpeg", None, ImageFormat.JPEG),
        ("image/webp", "avif", ImageFormat.AVIF),
    ],
)
def test_the_format_wanted(accept: str, format: str | None, expected: ImageFormat) -> None:
    assert wanted(request(accept), format) is expected


def test_what_cannot_be_given_is_refused() -> None:
    with pytest.raises(NotAcceptableError):
        wanted(request("text/html"), None)


@pytest.mark.parametrize("image_format", ImageFormat)
def test_every_format_opens_again(photo: Image.Image, image_format: ImageFormat) -> None:
    file, digest = _encode(Picture.from_image(photo), image_format)
    with Image.open(io.BytesIO(file)) as image:
        assert image.size == photo.size
        assert Image.MIME[image.format or ""] == image_format.value
    assert len(digest) == 32
