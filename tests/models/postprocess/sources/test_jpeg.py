"""models.postprocess.sources.jpeg"""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
from PIL import Image

from models.errors import SourceError
from models.postprocess.sources import read
from tests.models.postprocess.sources.encoding import encode


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:4:4", "optimize": True}])
@pytest.mark.parametrize("quality", [5, 10, 35, 50, 75, 95])
def test_a_jpegs_quality_is_the_one_that_its_encoder_was_given(
    photo: Image.Image, quality: int, options: dict[str, Any]
) -> None:
    source = read(encode(photo, "JPEG", quality=quality, **options))
    assert source.kind == "jpeg"
    assert source.coarseness == pytest.approx(1 - quality / 100, abs=0.006)


def test_a_grey_jpeg_with_metadata_is_read_too(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description with bytes like \xff\xdb in it"
    assert read(encode(photo.convert("L"), "JPEG", quality=40, exif=exif)).coarseness == pytest.approx(
        0.6, abs=0.006
    )


def test_tables_of_16_bits_and_tables_clipped_to_255_are_read(photo: Image.Image) -> None:
    flat = encode(photo, "JPEG", qtables=[[255] * 64])
    assert read(flat).coarseness == pytest.approx(1 - 5000 / (100 * 255 / 57.6) / 100)
    at = flat.index(b"\xff\xdb")
    wide = b"\xff\xdb" + struct.pack(">HB64H", 2 + 1 + 128, 0x10, *[600] * 64)
    assert read(flat[:at] + wide + flat[at + 4 + 65 :]).coarseness == pytest.approx(
        1 - 5000 / (100 * 600 / 57.6) / 100
    )


def test_a_file_without_a_luma_table_is_refused(photo: Image.Image) -> None:
    file = encode(photo, "JPEG")
    numbered_otherwise = file.replace(b"\xff\xdb\x00\x43\x00", b"\xff\xdb\x00\x43\x02")
    with pytest.raises(SourceError, match="no quantisation table 0"):
        read(numbered_otherwise)


def exif(size: int) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", size + 8) + b"Exif\0\0" + bytes(size)


@pytest.mark.parametrize(
    "padding",
    [b"\xff\xd8" * 10_000_000, b"\0" * 20_000_000, exif(400) * 50_000],
    ids=["markers", "junk", "metadata"],
)
def test_a_header_of_nothing_but_parts_takes_no_time(photo: Image.Image, padding: bytes) -> None:
    file = encode(photo, "JPEG")
    start = time.perf_counter()
    with pytest.raises(SourceError):
        read(file[:3] + b"\xfe\0\2" + padding + file[2:])
    assert time.perf_counter() - start < 2


def test_a_photograph_with_much_metadata_is_read(photo: Image.Image) -> None:
    """A colour profile over many segments, and an extended XMP of 13 MB, as phones write."""
    file = encode(photo, "JPEG", quality=40, icc_profile=bytes(1_000_000))
    namespace = b"http://ns.adobe.com/xmp/extension/\0"
    segment = b"\xff\xe1" + struct.pack(">H", 65_002) + namespace + bytes(65_000 - len(namespace))
    assert read(file[:2] + segment * 200 + file[2:]) == read(file)
