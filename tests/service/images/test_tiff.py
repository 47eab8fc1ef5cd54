from __future__ import annotations

import struct

import numpy as np
import pytest

from service.images import (
    AnimatedImageError,
    DamagedImageError,
    UnsupportedImageError,
    UnsupportedVariantError,
    read_header,
)
from service.images.tiff import MAX_DIRECTORIES, MAX_ENTRIES
from tests.service.images.files import (
    LIMIT,
    TiffTags,
    gradient,
    in_8_bits,
    matrix_profile,
    read,
    tiff_of,
    tiff_of_pages,
)

RGB = in_8_bits(gradient())
HEIGHT, WIDTH = RGB.shape[:2]
TAGS: TiffTags = {256: WIDTH, 257: HEIGHT, 258: [8, 8, 8], 259: 1, 262: 2, 277: 3, 278: HEIGHT}
SMALL: TiffTags = {**TAGS, 256: 2, 257: 2, 278: 2}
PARTS = [RGB.tobytes()]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_forms_are_read_in_both_byte_orders(order: str, big: bool) -> None:
    np.testing.assert_array_equal(read(tiff_of(TAGS, PARTS, order=order, big=big)).rgb, RGB)


@pytest.mark.parametrize("reduced", [{254: 1}, {254: 5}, {254: 4}, {255: 2}])
@pytest.mark.parametrize("first", [False, True])
def test_thumbnails_and_masks_are_no_pages(reduced: TiffTags, first: bool) -> None:
    pages = [(TAGS, PARTS), ({**SMALL, **reduced}, [bytes(12)])]
    np.testing.assert_array_equal(read(tiff_of_pages(pages[::-1] if first else pages)).rgb, RGB)


def test_pages_are_counted_up_to_a_limit() -> None:
    for page in (SMALL, {**SMALL, 254: 2}, {**SMALL, 255: 3}):
        with pytest.raises(AnimatedImageError, match="3 frames"):
            read(tiff_of_pages(3 * [(page, [bytes(12)])]))
    with pytest.raises(AnimatedImageError, match="too many frames"):
        read(tiff_of_pages((MAX_DIRECTORIES + 1) * [(SMALL, [bytes(12)])]))


def test_a_chain_that_bites_its_tail_or_points_nowhere_ends() -> None:
    file = bytearray(tiff_of(TAGS, PARTS))
    for pointer in (struct.unpack_from("<I", file, 4)[0], 2**32 - 1):
        struct.pack_into("<I", file, len(file) - 4, pointer)
        np.testing.assert_array_equal(read(bytes(file)).rgb, RGB)
    np.testing.assert_array_equal(read(bytes(file[:-4])).rgb, RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_once(orientation: int) -> None:
    xmp = b"<x tiff:Orientation='6'/>"
    picture = read(tiff_of({**TAGS, 274: orientation, 700: xmp}, PARTS))
    turns = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: RGB[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RGB),
    }
    np.testing.assert_array_equal(picture.rgb, turns[orientation])


def test_profiles_are_used_or_absent() -> None:
    linear = read(tiff_of({**TAGS, 34675: matrix_profile(1.0)}, PARTS)).rgb
    assert linear.mean() > RGB.mean() + 30
    np.testing.assert_array_equal(
        read(tiff_of({**TAGS, 34675: matrix_profile(1.0, b"GRAY")}, PARTS)).rgb, RGB
    )


def test_bad_tags_are_passed_over_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    file = bytearray(tiff_of({**TAGS, **dict.fromkeys(range(30_000, 30_500), b"12345")}, PARTS))
    at = file.index(struct.pack("<H", 30_000)) + 4
    for entry in range(at, at + 500 * 12, 12):
        struct.pack_into("<II", file, entry, 100_000, len(file))
    np.testing.assert_array_equal(read(bytes(file)).rgb, RGB)
    assert capfd.readouterr() == ("", "")


def test_raw_files_of_cameras_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedImageError, match="DNG"):
        read(tiff_of({**SMALL, 50706: b"\1\4\0\0"}, [bytes(12)]))
    with pytest.raises(UnsupportedVariantError, match="no full-size picture"):
        read(tiff_of({**SMALL, 254: 1}, [bytes(12)]))


@pytest.mark.parametrize("tag", [256, 257])
def test_without_a_size_there_is_no_picture(tag: int) -> None:
    with pytest.raises(DamagedImageError, match="no size"):
        read(tiff_of({**TAGS, tag: 0}, PARTS))


def test_missing_places_are_damage() -> None:
    with pytest.raises(DamagedImageError, match="where"):
        read(tiff_of(TAGS, []))


@pytest.mark.parametrize(
    "file",
    [b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\1", b"II*\0" + bytes(60)],
)
def test_broken_headers_are_damage(file: bytes) -> None:
    with pytest.raises((DamagedImageError, UnsupportedVariantError)):
        read_header(file, max_pixels=LIMIT)


def test_offsets_of_64_bits_may_point_anywhere() -> None:
    file = tiff_of(TAGS, PARTS, big=True)
    with pytest.raises(DamagedImageError):
        read(file[:8] + b"\xff" * 8 + file[16:])
    at = file.rindex(struct.pack("<HHQ", 273, 4, 1)) + 12
    with pytest.raises(DamagedImageError):
        read(file[:at] + b"\xff" * 8 + file[at + 8 :])


def test_floods_of_tags_and_directories_are_bounded() -> None:
    entries = bytes(12) * (MAX_ENTRIES + 1)
    with pytest.raises(DamagedImageError, match="too many tags"):
        read_header(b"II*\0\x08\0\0\0" + struct.pack("<H", MAX_ENTRIES + 1) + entries, max_pixels=LIMIT)
    # Directories of thumbnails, each with as many values as there may be.
    values = 1 << 20
    entry = struct.pack("<HHII", 273, 4, values, 8)
    reduced = struct.pack("<HHII", 254, 4, 1, 1)
    at = 8 + 4 * values
    directory = struct.pack("<H", 2) + reduced + entry
    file = b"II*\0" + struct.pack("<I", at) + bytes(4 * values)
    following = (at + (number + 1) * (len(directory) + 4) for number in range(MAX_DIRECTORIES + 1))
    file += b"".join(directory + struct.pack("<I", pointer) for pointer in following)
    with pytest.raises((DamagedImageError, AnimatedImageError)):
        read_header(file, max_pixels=LIMIT)


def test_values_of_repeated_tags_are_read_once() -> None:
    count = 1 << 20
    offsets = struct.pack("<HHII", 273, 4, count, 8)
    kinds = struct.pack("<HHII", 254, 4, count, 8)
    for entry in (offsets, kinds):
        # Each of these would take some milliseconds, and all of them minutes.
        file = b"II*\0" + struct.pack("<I", 4 * count + 8) + bytes(4 * count)
        with pytest.raises(DamagedImageError):
            read_header(file + struct.pack("<H", 50_000) + entry * 50_000, max_pixels=LIMIT)
