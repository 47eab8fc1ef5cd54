"""Whole files of every format to pictures: what all of them share."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from models.errors import SourceError
from service.images import (
    AnimatedImageError,
    DamagedImageError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
    decode,
    decode_as_coded,
    finished,
    read_header,
    read_lossy_header,
)
from tests.models.metadata import samples
from tests.service.images.files import LIMIT, matrix_profile, png_chunk, read, saved


def with_metadata(photo: Image.Image, image_format: str) -> bytes:
    """A file that lies on its side, with EXIF, XMP and a profile."""
    options: dict[str, object] = {"exif": b"Exif\0\0" + samples.exif(), "icc_profile": SRGB}
    if image_format == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", samples.XMP.decode())
        options["pnginfo"] = text
    elif image_format == "TIFF":
        exif = Image.Exif()
        exif.load(samples.exif())
        exif[700], exif[33723] = samples.XMP, b"\x1c\2caption"
        options["exif"] = exif
    else:
        options["xmp"] = samples.XMP
    return saved(photo, image_format, **options)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_metadata_of_every_format_is_told_and_kept_when_asked_for(
    photo: Image.Image, image_format: str
) -> None:
    file = with_metadata(photo, image_format)
    plain = decode(file, max_pixels=LIMIT)
    kept = decode(file, max_pixels=LIMIT, keep="keep").kept
    placed = decode(file, max_pixels=LIMIT, keep="keep-with-gps").kept

    iptc = ("iptc",) if image_format == "TIFF" else ()
    assert plain.kept.section is None
    assert plain.kept.dropped == ("exif", "icc", "xmp", *iptc)
    assert plain.picture.width == photo.height, "it is turned in any case"
    assert kept.metadata.names == placed.metadata.names == ("exif", "xmp")
    assert {"icc", "gps", "maker-note"} <= set(kept.dropped)
    assert "gps" not in placed.dropped

    exif = Image.Exif()
    exif.load(kept.metadata.exif or b"")
    assert exif[ExifTags.Base.Make] == "Ziggurat"
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
    photo_ifd = exif.get_ifd(ExifTags.IFD.Exif)
    assert photo_ifd[ExifTags.Base.ExifImageWidth] == photo.height
    exif.load(placed.metadata.exif or b"")
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == samples.LATITUDE
    assert kept.metadata.xmp is not None
    assert b'tiff:Orientation="1"' in kept.metadata.xmp
    assert b"GPSLatitude" not in kept.metadata.xmp


def test_a_caption_of_an_agency_is_told(photo: Image.Image) -> None:
    resource = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\7\x1c\2\x78\0\2hi\0"
    segment = b"\xff\xed" + (len(resource) + 2).to_bytes(2, "big") + resource
    file = saved(photo, "JPEG")
    assert decode(file[:2] + segment + file[2:], max_pixels=LIMIT).kept.dropped == ("iptc",)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "PPM"])
def test_nothing_is_told_of_a_file_without_metadata(photo: Image.Image, image_format: str) -> None:
    decoded = decode(saved(photo, image_format), max_pixels=LIMIT, keep="keep")
    assert (decoded.kept.section, decoded.kept.dropped) == (None, ())


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_metadata_that_cannot_be_read_keeps_no_picture_from_being_read(
    photo: Image.Image, image_format: str
) -> None:
    file = saved(photo, image_format, exif=b"Exif\0\0" + samples.exif(orientation=1))
    at = file.index(b"II*\0") + 4
    file = file[:at] + b"\xff" * 4 + file[at + 4 :]
    if image_format == "PNG":  # with a right checksum
        end = at - 4 + int.from_bytes(file[at - 12 : at - 8], "big")
        file = file[: at - 12] + png_chunk(b"eXIf", file[at - 4 : end]) + file[end + 4 :]
    decoded = decode(file, max_pixels=LIMIT, keep="keep")
    assert decoded.kept.dropped == ("exif",)
    assert decoded.picture.width == photo.width


def test_the_header_for_post_processing_names_the_metadata(photo: Image.Image) -> None:
    file = saved(photo, "JPEG", quality=20, exif=samples.exif())
    assert read_lossy_header(with_metadata(photo, "JPEG"), max_pixels=LIMIT)[0].carries == (
        "exif",
        "icc",
        "xmp",
    )
    assert read_header(file, max_pixels=LIMIT).carries == ()


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_are_read_exactly(photo: Image.Image, image_format: str) -> None:
    np.testing.assert_array_equal(read(saved(photo, image_format)).rgb, np.asarray(photo))


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_lossy_formats_are_read(photo: Image.Image, image_format: str) -> None:
    picture = read(saved(photo, image_format))

    assert (picture.width, picture.height) == photo.size
    assert np.abs(picture.rgb.astype(int) - np.asarray(photo)).mean() < 12


@pytest.mark.parametrize(
    ("mode", "greyscale"),
    [
        ("1", True),
        ("L", True),
        ("LA", True),
        ("P", False),
        ("RGB", False),
        ("RGBA", False),
        ("CMYK", False),
        ("YCbCr", False),
        ("LAB", False),
        ("F", True),
    ],
)
def test_every_mode_is_read(photo: Image.Image, mode: str, greyscale: bool) -> None:
    image = photo.convert(mode)
    if mode == "F":  # fractions from 0 to 1
        image = Image.fromarray(np.asarray(image) / np.float32(255))

    picture = read(saved(image, "TIFF"))

    reference = photo.convert("L") if mode == "F" else image
    expected = np.asarray(reference.convert("RGB")).astype(int)
    assert np.abs(picture.rgb.astype(int) - expected).max() <= 1
    assert picture.greyscale == greyscale


def test_16_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)

    for image_format in ("PNG", "TIFF"):
        picture = read(saved(Image.fromarray(ramp), image_format))
        np.testing.assert_array_equal(picture.rgb[..., 0].ravel(), np.arange(256))


def test_alpha_is_kept(photo: Image.Image) -> None:
    image = photo.copy()
    alpha = np.arange(128 * 96, dtype=np.uint8).reshape(96, 128)
    image.putalpha(Image.fromarray(alpha))

    picture = read(saved(image, "PNG"))

    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, alpha)


def test_palette_transparency_becomes_alpha() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 0)

    picture = read(saved(image, "GIF", transparency=0))

    assert picture.alpha is not None
    assert (picture.alpha[0, 0], picture.alpha[1, 1]) == (0, 255)
    assert picture.rgb[1, 1].tolist() == [0, 255, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:8, :8] = 255  # a mark in the top left corner
    # What a camera held that way writes: the inverse of what a viewer does.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation

    picture = read(saved(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif))

    np.testing.assert_array_equal(picture.rgb, upright)


def test_colour_profiles_are_converted_to_srgb() -> None:
    linear = matrix_profile(gamma=1.0)
    image = Image.new("RGB", (8, 8), (55, 55, 55))  # 0.216 of the light: 0.5 in sRGB's curve

    picture = read(saved(image, "PNG", icc_profile=linear))

    assert np.abs(picture.rgb.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("profile", [b"", b"nonsense", b"\0" * 4000])
def test_a_broken_profile_counts_as_absent(photo: Image.Image, profile: bytes) -> None:

    np.testing.assert_array_equal(read(saved(photo, "PNG", icc_profile=profile)).rgb, np.asarray(photo))


def test_a_profile_of_another_colour_space_counts_as_absent(photo: Image.Image) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()

    np.testing.assert_array_equal(read(saved(photo, "PNG", icc_profile=lab)).rgb, np.asarray(photo))


def test_a_transparent_colour_survives_a_colour_profile(photo: Image.Image) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    picture = read(saved(photo, "PNG", icc_profile=srgb, transparency=photo.getpixel((5, 5))))

    assert picture.alpha is not None
    assert picture.alpha[5, 5] == 0


def test_grey_with_a_colour_profile_stays_grey_and_keeps_alpha(photo: Image.Image) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = photo.convert("LA")
    image.putalpha(100)

    picture = read(saved(image, "PNG", icc_profile=srgb))

    assert picture.greyscale
    assert picture.alpha is not None
    assert (picture.alpha == 100).all()
    assert np.abs(picture.rgb[..., 0].astype(int) - np.asarray(image)[..., 0]).max() <= 1


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_animations_are_refused_with_their_length(photo: Image.Image, image_format: str) -> None:
    frames = [photo, ImageOps.mirror(photo), ImageOps.flip(photo)]

    with pytest.raises(AnimatedImageError, match="3 frames") as caught:
        read(saved(frames[0], image_format, save_all=True, append_images=frames[1:]))
    assert caught.value.frames == 3


def test_too_many_pixels_are_refused_by_the_header_alone() -> None:
    bomb = png_header(16000, 16000)

    with pytest.raises(ImageTooLargeError, match="limit of 1000000 pixels"):
        read_header(bomb, max_pixels=LIMIT)


@pytest.mark.parametrize("size", [(100_000, 100_000), (20_000, 20_000), (16_385, 1)])
def test_no_limit_allows_what_no_stream_can_hold(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLargeError):
        read_header(png_header(*size), max_pixels=10**12)


def test_a_gif_frame_far_beyond_its_screen_is_refused_before_it_is_allocated() -> None:
    screen = b"GIF89a" + struct.pack("<HHBBB", 13, 9, 0x80, 0, 0) + bytes(6)
    # Pillow would fill such a frame with the background while it opens the file.
    disposed = b"!\xf9\x04\x08\0\0\0\0"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 23821, 18689, 0) + b"\x02\0;"

    with pytest.raises(ImageTooLargeError, match="23821x18689"):
        read_header(screen + disposed + frame, max_pixels=LIMIT)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM"])
def test_truncated_files_are_damaged(photo: Image.Image, image_format: str) -> None:
    whole = saved(photo, image_format)

    with pytest.raises(DamagedImageError):
        read(whole[: len(whole) * 2 // 3])


@pytest.mark.parametrize(
    "file",
    [b"", b"hello", b"ZGT\1", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"],
)
def test_what_is_no_image_is_unsupported(file: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match="JPEG, PNG"):
        read(file)


def test_formats_off_the_list_are_unsupported(photo: Image.Image) -> None:
    with pytest.raises(UnsupportedImageError):
        read(saved(photo, "TGA"))


@given(st.data())
def test_damaged_bytes_give_a_picture_or_a_typed_error(data: st.DataObject) -> None:
    image = Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))
    file = bytearray(
        saved(image, data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])))
    )
    for _ in range(data.draw(st.integers(1, 8))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))

    with suppress(ImageError):
        read(bytes(file))


def test_pictures_for_post_processing_are_finished_as_others_are_read(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = saved(photo, "JPEG", exif=exif, icc_profile=matrix_profile(1.0))

    header, source = read_lossy_header(file, max_pixels=LIMIT)
    coded = decode_as_coded(file, max_pixels=LIMIT)

    assert source.kind == "jpeg"
    assert (header.width, header.height) == (coded.width, coded.height) == photo.size
    np.testing.assert_array_equal(finished(coded, file, max_pixels=LIMIT).rgb, read(file).rgb)


def test_colours_of_prints_are_not_post_processed(photo: Image.Image) -> None:
    with pytest.raises(SourceError, match="CMYK"):
        read_lossy_header(saved(photo.convert("CMYK"), "JPEG"), max_pixels=LIMIT)


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"")
