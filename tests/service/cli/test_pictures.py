"""Image files of the commands: what is read and how it is written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.grid import MAX_SIDE
from service.cli import pictures
from service.images import ImageError
from tests.service.conftest import Terminal


def test_the_format_follows_the_name_or_the_option(terminal: Terminal, stream_file: Path) -> None:
    assert terminal.run("decompress", stream_file, "-o", stream_file.with_suffix(".JPG")) == 0
    with Image.open(stream_file.with_suffix(".JPG")) as image:
        assert image.format == "JPEG"
    assert terminal.run("decompress", stream_file, "-o", stream_file.with_suffix(".bmp")) == 2
    assert "bmp" in terminal.err


def test_every_format_is_found_by_its_usual_suffix() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".bmp", ".gif", ".ppm"} <= pictures.suffixes()
    assert ".pdf" not in pictures.suffixes()


def test_pictures_are_read_upright_and_broken_ones_are_image_errors(photo: Image.Image) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn right by 90 degrees
    photo.save(file, "PNG", exif=exif)
    assert np.array_equal(pictures.picture_of(file.getvalue()).rgb, np.rot90(np.asarray(photo), -1))
    with pytest.raises(ImageError):
        pictures.picture_of(file.getvalue()[:200])


def test_what_is_wrong_with_a_file_is_told(photo: Image.Image) -> None:
    file = io.BytesIO()
    photo.save(file, "JPEG")
    told: list[str] = []
    pictures.picture_of(file.getvalue()[:1500] + b"\xff\xd9", told.append)
    pictures.picture_of(file.getvalue(), told.append)
    assert told == ["the JPEG image's data end early: a part of the picture is missing"]


def test_a_side_longer_than_the_format_holds_is_an_image_error() -> None:
    file = io.BytesIO()
    Image.new("1", (MAX_SIDE + 1, 1)).save(file, "PNG")
    with pytest.raises(ImageError, match="on a side"):
        pictures.picture_of(file.getvalue())
