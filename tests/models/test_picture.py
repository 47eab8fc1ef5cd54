"""Picture: every Pillow mode becomes 8-bit planes, and comes back as what it was seen as."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.errors import PictureError
from models.grid import MAX_SIDE
from models.picture import Picture

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)


def test_rgb_comes_back_bit_for_bit() -> None:
    picture = Picture.from_image(Image.fromarray(COLOUR))
    assert (picture.width, picture.height, picture.pixels) == (7, 5, 35)
    assert picture.alpha is None
    assert not picture.greyscale
    assert picture.to_image().mode == "RGB"
    assert np.array_equal(np.asarray(picture.to_image()), COLOUR)


def test_tall_images_come_back_bit_for_bit() -> None:
    tall = RNG.integers(0, 256, (600, 3, 3), dtype=np.uint8)
    assert np.array_equal(Picture.from_image(Image.fromarray(tall)).rgb, tall)


def test_greyscale_has_three_equal_planes_and_comes_back_as_one() -> None:
    picture = Picture.from_image(Image.fromarray(GREY))
    assert picture.greyscale
    assert np.array_equal(picture.rgb, np.stack([GREY] * 3, axis=2))
    assert picture.to_image().mode == "L"
    assert np.array_equal(np.asarray(picture.to_image()), GREY)


def test_colour_images_of_a_grey_subject_count_as_greyscale() -> None:
    equal = np.stack([GREY] * 3, axis=2)
    assert Picture.from_image(Image.fromarray(equal)).greyscale
    assert Picture.from_array(equal).greyscale
    equal[4, 6, 2] ^= 1
    assert not Picture.from_array(equal).greyscale


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept_exactly(mode: str) -> None:
    image = Image.fromarray(COLOUR if mode == "RGBA" else GREY)
    image.putalpha(Image.fromarray(GREY))
    picture = Picture.from_image(image)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, GREY)
    assert picture.to_image().mode == mode
    assert np.array_equal(np.asarray(picture.to_image()), np.asarray(image))


def test_an_opaque_alpha_plane_is_dropped() -> None:
    assert Picture.from_image(Image.fromarray(COLOUR).convert("RGBA")).alpha is None


def test_a_transparent_palette_entry_becomes_alpha() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode=None).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.info["transparency"] = 1
    picture = Picture.from_image(image)
    assert picture.rgb.tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0, 255]]


def test_a_transparent_colour_becomes_alpha() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    image.info["transparency"] = (9, 9, 9)
    picture = Picture.from_image(image)
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0]]


def test_16_bit_samples_are_rounded_to_8() -> None:
    samples = np.array([[0, 128, 129, 257, 65406, 65407, 65535]], dtype=np.uint16)
    picture = Picture.from_image(Image.fromarray(samples))
    assert picture.greyscale
    assert picture.rgb[0, :, 0].tolist() == [0, 0, 1, 1, 254, 255, 255]


def test_a_transparent_16_bit_sample_becomes_alpha() -> None:
    image = Image.fromarray(np.array([[300, 301]], dtype=np.uint16))
    image.info["transparency"] = 301
    picture = Picture.from_image(image)
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0]]


def test_32_bit_integers_are_clipped_to_16_bits() -> None:
    picture = Picture.from_image(Image.fromarray(np.array([[-5, 65535, 70000]], dtype=np.int32)))
    assert picture.rgb[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "P",
        "RGB",
        "RGBX",
        "CMYK",
        "YCbCr",
        "HSV",
        "LAB",
        "LA",
        "La",
        "PA",
        "RGBA",
        "RGBa",
        "I",
        "I;16",
        "F",
    ],
)
def test_every_mode_is_read(mode: str) -> None:
    picture = Picture.from_image(Image.new(mode, (3, 2)))
    assert picture.rgb.shape == (2, 3, 3)
    assert picture.rgb.flags.c_contiguous
    assert picture.rgb.flags.writeable


def test_from_array_takes_strided_and_read_only_arrays() -> None:
    mirrored = COLOUR[:, ::-1]
    mirrored.flags.writeable = False
    picture = Picture.from_array(mirrored)
    assert picture.rgb.flags.c_contiguous
    assert picture.rgb.flags.writeable
    assert np.array_equal(picture.rgb, mirrored)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 4), (0, 7, 3), (5, 0, 3), (1, MAX_SIDE + 1, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError):
        Picture.from_array(np.zeros(shape, dtype=np.uint8))


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(PictureError, match="float32"):
        Picture.from_array(np.zeros((2, 2, 3), dtype=np.float32))


def test_a_side_over_the_limit_is_refused_before_it_is_converted() -> None:
    with pytest.raises(PictureError, match="16385"):
        Picture.from_image(Image.new("1", (MAX_SIDE + 1, 1)))


def test_alpha_of_another_shape_is_refused() -> None:
    with pytest.raises(PictureError, match="alpha"):
        Picture(rgb=COLOUR, alpha=GREY[:-1], greyscale=False)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("photo.jpg", "PIL.Image.open(path)"),
        (Path("photo.jpg"), "PIL.Image.open(path)"),
        (b"\xff\xd8", "io.BytesIO(data)"),
        ([[[1, 2, 3]]], "numpy.asarray"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(given: Any, remedy: str) -> None:
    no_array: Any = [[1]]
    makers: tuple[Callable[[Any], Picture], ...] = (
        Picture.from_array,
        Picture.from_image,
        lambda rgb: Picture(rgb, None, False),
        lambda alpha: Picture(COLOUR, alpha or no_array, False),
    )
    for make in makers:
        with pytest.raises(PictureError, match=r"a Pillow image or an array") as refused:
            make(given)
        assert remedy in str(refused.value) or given is None


def test_a_picture_is_shown_without_its_pixels() -> None:
    assert repr(Picture.from_array(COLOUR)) == "<Picture 7x5, colour>"
    assert repr(Picture.from_image(Image.fromarray(GREY).convert("LA"))) == "<Picture 7x5, grey>"
