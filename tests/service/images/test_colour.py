from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from service.images import UnsupportedVariantError
from service.images.colour import Colour, described, in_8_bits, to_srgb
from tests.service.images.files import gradient, matrix_profile
from tests.service.images.files import in_8_bits as rounded

P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def test_srgb_and_bt_709_are_left_alone() -> None:
    image = Image.fromarray(rounded(gradient()))
    for primaries, transfer in ((1, 13), (2, 2), (1, 1), (1, 6), (2, 13)):
        colour = described(primaries, transfer, "PNG") or Colour()
        np.testing.assert_array_equal(np.asarray(to_srgb(image, colour)), np.asarray(image))


def test_numbers_do_what_a_profile_of_the_same_primaries_does() -> None:
    """P3 in sRGB's curve, against the matrix of the CSS Color specification."""
    image = Image.new("RGB", (2, 2), (200, 100, 50))
    colour = described(12, 13, "PNG")

    assert colour == Colour(None, P3, None)
    assert np.abs(np.asarray(to_srgb(image, colour))[0, 0].astype(int) - [215, 93, 31]).max() <= 1


def test_white_and_grey_stay_so_whatever_the_primaries() -> None:
    image = Image.new("RGB", (1, 1), (255, 255, 255))
    for primaries in (4, 5, 6, 9, 10, 11, 12, 22):
        colour = described(primaries, 13, "PNG")
        assert colour is not None
        assert np.asarray(to_srgb(image, colour)).min() >= 254


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.8])
def test_a_gamma_is_the_power_that_makes_light(gamma: float) -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    light = (np.arange(256) / 255) ** gamma
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255

    for image in (Image.fromarray(ramp), Image.fromarray(np.repeat(ramp[..., None], 3, 2))):
        converted = np.asarray(to_srgb(image, Colour(gamma=gamma))).reshape(256, -1)
        assert np.abs(converted[:, 0] - expected).max() <= 0.6


def test_16_bits_are_converted_before_they_are_rounded() -> None:
    """In linear light 8 bits would leave a few dozen dark greys."""
    ramp = np.arange(2048, dtype=np.uint16).reshape(32, 64, 1)

    converted = np.asarray(to_srgb(ramp, Colour(gamma=1.0)))

    assert len(np.unique(converted)) > 45
    np.testing.assert_array_equal(np.unique(np.asarray(in_8_bits(ramp))), np.arange(9))


def test_alpha_is_no_colour() -> None:
    for samples in (np.full((2, 2, 4), 128 * 257, np.uint16), np.full((2, 2, 2), 128 * 257, np.uint16)):
        converted = np.asarray(to_srgb(samples, Colour(gamma=1.0, primaries=P3)))
        assert (converted[..., -1] == 128).all()
        assert (converted[..., 0] != 128).all()


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused_by_name(transfer: int) -> None:
    with pytest.raises(UnsupportedVariantError, match=r"AVIF with HDR \((PQ|HLG)"):
        described(9, transfer, "AVIF")


def test_primaries_that_are_no_triangle_are_passed_over() -> None:
    image = Image.fromarray(rounded(gradient()))
    for primaries in ((0.3, 0.3, *(0.1, 0.1) * 3), (0.3, 0.3, *(0.0, 0.0) * 3), (0.0, 0.1, *P3[2:])):
        to_srgb(image, Colour(primaries=primaries))


@pytest.mark.parametrize(
    ("mode", "space"),
    [("RGB", b"GRAY"), ("RGBA", b"GRAY"), ("L", b"RGB "), ("LA", b"RGB "), ("CMYK", b"RGB ")],
)
def test_a_profile_of_another_colour_model_is_absent(mode: str, space: bytes) -> None:
    image = Image.fromarray(rounded(gradient())).convert(mode)

    converted = to_srgb(image, Colour(matrix_profile(1.0, space)))

    expected = image.convert("RGB") if mode == "CMYK" else image
    np.testing.assert_array_equal(np.asarray(converted), np.asarray(expected))


def test_a_grey_profile_converts_grey() -> None:
    converted = to_srgb(Image.new("L", (2, 2), 55), Colour(matrix_profile(1.0, b"GRAY")))

    assert converted.mode == "L"
    assert np.abs(np.asarray(converted).astype(int) - 128).max() <= 1


def test_a_profile_of_a_conversion_is_absent() -> None:
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    srgb[12:16] = b"link"
    image = Image.fromarray(rounded(gradient()))

    np.testing.assert_array_equal(np.asarray(to_srgb(image, Colour(bytes(srgb)))), np.asarray(image))
