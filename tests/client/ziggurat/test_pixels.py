"""Images of all modes become what a stream can hold, and mean what they meant."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from ziggurat.pixels import plain

from models import Picture
from service.images import decode

MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"]


def in_mode(photo: Image.Image, mode: str) -> Image.Image:
    """The photo in a mode, by way of one that Pillow can convert from."""
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(photo, srgb, lab, outputMode="LAB")
        assert converted is not None
        return converted
    between = {"La": "LA", "PA": "LA", "RGBa": "RGBA"}.get(mode)
    return (photo.convert(between) if between else photo).convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_comes_out_as_the_codec_takes_it(mode: str, photo: Image.Image) -> None:
    image = in_mode(photo, mode)
    made = plain(image)
    assert made.mode in ("L", "LA", "RGB", "RGBA")
    if mode != "LAB":  # which the codec takes for anything but L*a*b*
        expected = Picture.from_image(image)
        assert np.array_equal(np.asarray(made.convert("RGB")), expected.rgb)
    bands = "L" if mode in ("1", "L", "LA", "La", "PA") else "RGB"
    near = np.asarray(photo.convert(bands).convert("RGB"), int)
    if mode not in ("1", "P"):  # which have few colours
        assert np.abs(np.asarray(made.convert("RGB"), int) - near).mean() <= 2


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B", "I;16L", "I;16N"])
def test_16_bits_are_rounded(mode: str) -> None:
    values = np.array([[0, 128, 129, 385, 386, 19789, 65406, 65407, 65535]], np.int32)
    image = Image.fromarray(values)
    made = plain(image if mode == "I" else image.convert(mode))
    assert np.array_equal(np.asarray(made), (values + 128) // 257)


def test_fractions_are_refused(photo: Image.Image) -> None:
    with pytest.raises(ValueError, match="convert it first"):
        plain(photo.convert("F"))


def test_alpha_and_transparent_colours_are_kept(photo: Image.Image) -> None:
    image = photo.copy()
    image.putalpha(Image.linear_gradient("L").resize(photo.size))
    assert plain(image).tobytes() == image.tobytes()
    keyed = Image.new("L", (2, 1))
    keyed.putpixel((1, 0), 7)
    keyed.info["transparency"] = 7
    assert plain(keyed).getchannel("A").tobytes() == b"\xff\x00"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_turned_upright(orientation: int, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    photo.save(file, "PNG", exif=exif)
    with Image.open(file) as image:
        before = image.size
        made = np.asarray(plain(image))
        assert image.size == before
    service = decode(file.getvalue(), max_pixels=photo.width * photo.height).picture
    assert np.array_equal(made, service.rgb)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_a_profile_is_applied_as_the_service_applies_it(mode: str, photo: Image.Image) -> None:
    # Samples of these primaries look different in sRGB.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128 + 4), profile.index(b"gXYZ", 128 + 4)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    image = photo.convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(photo.size))
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=bytes(profile))
    service = decode(file.getvalue(), max_pixels=photo.width * photo.height).picture
    with Image.open(file) as opened:
        made = plain(opened)
    assert np.array_equal(np.asarray(made.convert("RGB")), service.rgb)
    if mode.startswith("RGB"):
        assert not np.array_equal(np.asarray(made.convert("RGB")), np.asarray(image.convert("RGB")))
    if mode.endswith("A"):
        assert service.alpha is not None
        assert np.array_equal(np.asarray(made)[..., -1], service.alpha)


def test_a_broken_profile_counts_as_absent(photo: Image.Image) -> None:
    image = photo.copy()
    image.info["icc_profile"] = b"\0" * 12 + b"mntrRGB XYZ " + b"\0" * 200
    assert plain(image).tobytes() == photo.tobytes()
