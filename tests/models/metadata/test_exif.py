"""models.metadata.exif: what still holds is kept as it was; what does not, or tells too much, is
not.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from models.bitstream.metadata import MAX_EXIF_BYTES
from models.metadata.exif import cleaned, is_telling
from tests.models.metadata import samples

BASE, GPS, IFD = ExifTags.Base, ExifTags.GPS, ExifTags.IFD


def read(block: bytes | None) -> Image.Exif:
    assert block is not None
    exif = Image.Exif()
    exif.load(block)
    return exif


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("before", [b"", b"Exif\0\0"])
def test_what_a_photographer_wrote_is_kept(endian: str, before: bytes) -> None:
    block, removed = cleaned(before + samples.exif(endian=endian), 3000, 4000, turned=6)
    exif = read(block)
    assert removed == {"gps", "maker-note", "thumbnail"}
    assert (exif[BASE.Make], exif[BASE.Model]) == ("Ziggurat", "Z1")
    photo = exif.get_ifd(IFD.Exif)
    assert photo[BASE.ExposureTime] == pytest.approx(1 / 125)
    assert photo[BASE.ExposureBiasValue] == pytest.approx(-1 / 3)
    assert photo[BASE.DateTimeOriginal] == "2026:11:30 12:00:00"


def test_what_says_how_the_picture_lay_is_set_right() -> None:
    exif = read(cleaned(samples.exif(), 3000, 4000, turned=6)[0])
    photo = exif.get_ifd(IFD.Exif)
    assert exif[BASE.Orientation] == 1
    assert (photo[BASE.ExifImageWidth], photo[BASE.ExifImageHeight]) == (3000, 4000)
    assert photo[BASE.ColorSpace] == 1
    assert (exif[BASE.XResolution], exif[BASE.YResolution]) == (144, 72)
    assert samples.SUBJECT_AREA not in photo
    upright = read(cleaned(samples.exif(orientation=1), 4000, 3000)[0])
    assert (upright[BASE.XResolution], upright[BASE.YResolution]) == (72, 144)
    assert upright.get_ifd(IFD.Exif)[samples.SUBJECT_AREA] == (10, 20, 30, 40)
    assert BASE.Orientation not in read(cleaned(samples.exif(), 3, 4, orientation=False)[0])


def test_place_thumbnail_and_notes_are_in_no_byte() -> None:
    block, _ = cleaned(samples.exif(), 3000, 4000, turned=6)
    assert block is not None
    assert len(block) < 450
    for secret in (samples.MAKER_NOTE, samples.JPEG_OF_ORIGINAL, b"PrintIM", struct.pack("<II", 2999, 100)):
        assert secret not in block
        assert secret in samples.exif()


def test_the_place_is_kept_when_asked_for() -> None:
    block, removed = cleaned(samples.exif(), 3000, 4000, turned=6, gps=True)
    assert "gps" not in removed
    assert read(block).get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] == samples.LATITUDE


@pytest.mark.parametrize("gps", [False, True])
def test_what_was_cleaned_comes_back_as_it_is(gps: bool) -> None:
    once, _ = cleaned(samples.exif(), 3000, 4000, turned=6, gps=gps)
    assert once is not None
    assert cleaned(once, 3000, 4000, gps=True) == (once, frozenset())


def test_types_stay() -> None:
    """A signed exposure bias of 0 is one that Pillow would write without a sign."""
    pointer = struct.pack("<HHHII", 1, IFD.Exif, 4, 1, 26) + bytes(4)
    bias = struct.pack("<HHHII", 1, BASE.ExposureBiasValue, 10, 1, 44) + bytes(4) + struct.pack("<ii", 0, 1)
    block = b"II*\0\x08\0\0\0" + pointer + bias
    assert cleaned(block, 1, 1) == (block, frozenset())
    by_pillow = read(block)
    by_pillow.get_ifd(IFD.Exif)
    assert struct.pack("<HH", BASE.ExposureBiasValue, 5) in by_pillow.tobytes()


def test_a_block_of_nothing_that_is_kept_is_none() -> None:
    exif = Image.Exif()
    exif[0xC4A5] = b"PrintIM"
    assert cleaned(exif.tobytes(), 1, 1) == (None, frozenset())


def test_a_tiff_file_tells_more_than_its_coding_or_not() -> None:
    block = samples.exif()
    assert is_telling(block, 8)
    exif = Image.Exif()
    exif[256] = exif[257] = 3
    assert not is_telling(exif.tobytes()[6:], 8)
    assert not is_telling(block, len(block))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II+\0\x08\0\0\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0\xff\xff" + bytes(12),
        b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, IFD.Exif, 4, 1, 9999) + bytes(4),
        # a thousand tags that all point to the same 60 KB
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 2)
        + b"".join(struct.pack("<HHII", tag, 1, 60_000, 8) for tag in (270, 271))
        + bytes(60_100),
    ],
)
def test_what_cannot_be_read_is_told_as_dropped(block: bytes) -> None:
    assert cleaned(block, 1, 1) == (None, frozenset({"exif"}))


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=8), st.booleans())
@example([], True)
def test_hostile_blocks_end_in_sound_ones_or_none(changes: list[tuple[int, int]], gps: bool) -> None:
    block = bytearray(samples.exif())
    for at, value in changes:
        block[at % len(block)] = value
    new, _ = cleaned(bytes(block), 3000, 4000, turned=6, gps=gps)
    if new is not None:
        assert len(new) <= MAX_EXIF_BYTES
        assert cleaned(new, 3000, 4000, gps=True) == (new, frozenset())
