from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from models import Picture
from models.bitstream.metadata import MAX_EXIF_BYTES, MAX_XMP_BYTES
from models.metadata import Metadata, kept
from service.images import FormatLimitError, ImageFormat, encode, first_fitting, fits
from tests.models.metadata import samples


@pytest.mark.parametrize("image_format", list(ImageFormat))
def test_pictures_are_written_in_every_format(photo: Image.Image, image_format: ImageFormat) -> None:
    picture = Picture.from_image(photo)

    written = Image.open(io.BytesIO(encode(picture, image_format)))

    assert written.get_format_mimetype() == image_format.value
    error = np.abs(np.asarray(written.convert("RGB")).astype(int) - picture.rgb).mean()
    assert error == 0 if image_format is ImageFormat.PNG else error < 6


@pytest.mark.parametrize("image_format", [ImageFormat.PNG, ImageFormat.WEBP, ImageFormat.AVIF])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_written(photo: Image.Image, image_format: ImageFormat, mode: str) -> None:
    image = photo.convert(mode)
    image.putalpha(77)

    written = Image.open(io.BytesIO(encode(Picture.from_image(image), image_format))).convert("RGBA")

    assert np.abs(np.asarray(written)[..., 3].astype(int) - 77).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_jpeg_puts_transparent_pixels_on_white(photo: Image.Image, mode: str) -> None:
    image = photo.convert(mode)
    image.putalpha(0)

    written = Image.open(io.BytesIO(encode(Picture.from_image(image), ImageFormat.JPEG)))

    assert written.mode == mode.removesuffix("A")
    assert np.asarray(written).min() >= 254


@pytest.mark.parametrize(
    ("image_format", "longest"),
    [
        (ImageFormat.PNG, 16_384),
        (ImageFormat.WEBP, 16_383),
        (ImageFormat.AVIF, 16_384),
        (ImageFormat.JPEG, 16_384),
    ],
)
def test_the_longest_side_of_each_format_is_written_and_no_longer_one(
    image_format: ImageFormat, longest: int
) -> None:
    rgb = np.zeros((1, longest, 3), np.uint8)
    written = Image.open(io.BytesIO(encode(Picture.from_array(rgb), image_format)))
    assert written.size == (longest, 1)
    assert fits(image_format, longest, 1)
    assert fits(image_format, 1, longest)
    if longest < 16_384:
        assert not fits(image_format, 1, longest + 1)
        with pytest.raises(FormatLimitError, match="WEBP, whose longest side is 16383") as caught:
            encode(Picture.from_array(np.zeros((longest + 1, 1, 3), np.uint8)), image_format)
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (copy.format, copy.limit, str(copy)) == ("WEBP", 16_383, str(caught.value))


def test_the_first_format_that_is_large_enough_is_taken() -> None:
    wanted = (ImageFormat.WEBP, ImageFormat.AVIF, ImageFormat.PNG)
    assert first_fitting(wanted, 16_383, 1) is ImageFormat.WEBP
    assert first_fitting(wanted, 16_384, 1) is ImageFormat.AVIF
    with pytest.raises(FormatLimitError):
        first_fitting(wanted[:1], 16_384, 1)


@pytest.mark.parametrize("image_format", list(ImageFormat))
@pytest.mark.parametrize("mode", ["RGB", "LA"])
def test_metadata_is_written_in_every_format(
    photo: Image.Image, image_format: ImageFormat, mode: str
) -> None:
    picture = Picture.from_image(photo.convert(mode))
    metadata = kept(
        Metadata(samples.exif(), samples.XMP), "keep-with-gps", picture.width, picture.height
    ).metadata

    written = Image.open(io.BytesIO(encode(picture, image_format, metadata)))

    exif = written.getexif()
    assert exif[ExifTags.Base.Make] == "Ziggurat"
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == samples.LATITUDE
    assert written.info["xmp"] == metadata.xmp
    assert encode(picture, image_format, Metadata()) == encode(picture, image_format)


@pytest.mark.parametrize("image_format", list(ImageFormat))
def test_metadata_that_does_no_good_is_left_out(photo: Image.Image, image_format: ImageFormat) -> None:
    """A stranger's stream may hold anything."""
    picture = Picture.from_image(photo)
    plain = encode(picture, image_format)
    for metadata in (Metadata(b"", b""), Metadata(b"II*\0\xff\xff\xff\xff", b"<x"), Metadata(bytes(65_527))):
        assert encode(picture, image_format, metadata) == plain
    lying = Image.open(io.BytesIO(encode(picture, image_format, Metadata(samples.exif(orientation=6)))))
    assert ImageOps.exif_transpose(lying).size == photo.size


def test_the_longest_metadata_fits_into_every_format(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * (MAX_EXIF_BYTES - 28)
    packet = b"<x>" + b"y" * (MAX_XMP_BYTES - 7) + b"</x>"
    longest = Metadata(exif.tobytes().removeprefix(b"Exif\0\0"), packet)
    for image_format in ImageFormat:
        written = Image.open(io.BytesIO(encode(Picture.from_image(photo), image_format, longest)))
        assert written.info["xmp"] == packet
        assert len(written.info["exif"].removeprefix(b"Exif\0\0")) == MAX_EXIF_BYTES - 1
