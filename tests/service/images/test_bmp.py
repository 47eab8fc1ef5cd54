from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from service.images import DamagedImageError, UnsupportedVariantError
from tests.service.images.files import gradient, in_8_bits, matrix_profile, read, saved

RGB = in_8_bits(gradient())
PALETTE = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [10, 20, 30]], np.uint8)


def bmp_of(
    samples: bytes,
    width: int,
    height: int,
    bits: int,
    *,
    compression: int = 0,
    masks: tuple[int, ...] = (),
    palette: bytes = b"",
    used: int = 0,
    header: int = 40,
    more: bytes = b"",
) -> bytes:
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        head = struct.pack(
            "<IiiHHIIiiII", header, width, height, 1, bits, compression, len(samples), 0, 0, used, 0
        )
        if header > 40:
            head += struct.pack(f"<{len(masks)}I", *masks) + more
            head = head.ljust(header, b"\0")
        else:
            head += struct.pack(f"<{len(masks)}I", *masks)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(samples), 0, 0, start) + head + palette + samples


def table(colours: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], entry: int = 4) -> bytes:
    return b"".join(bytes(colour[::-1]) + b"\0" * (entry - 3) for colour in colours)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_what_pillow_writes_is_read(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    np.testing.assert_array_equal(read(saved(image, "BMP")).rgb, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("bits", "row"), [(1, 0b0110_0000), (2, 0b00_01_10_11), (4, 0x01), (8, 0)])
@pytest.mark.parametrize("header", [12, 40, 64, 108])
def test_palettes_of_all_depths_and_headers(bits: int, row: int, header: int) -> None:
    entry = 3 if header == 12 else 4
    count = 1 << bits
    colours = np.resize(PALETTE, (count, 3))
    file = bmp_of(bytes([row, 0, 0, 0]), 2, 1, bits, palette=table(colours, entry), header=header)
    indices = {1: [0, 1], 2: [0, 1], 4: [0, 1], 8: [0, 0]}[bits]
    np.testing.assert_array_equal(read(file).rgb[0], colours[indices])


def test_rows_may_begin_at_the_top() -> None:
    samples = bytes([1, 2, 3, 0, 4, 5, 6, 0])
    assert read(bmp_of(samples, 1, 2, 24)).rgb[:, 0].tolist() == [[6, 5, 4], [3, 2, 1]]
    assert read(bmp_of(samples, 1, -2, 24)).rgb[:, 0].tolist() == [[3, 2, 1], [6, 5, 4]]


@pytest.mark.parametrize(
    ("bits", "masks", "value", "expected"),
    [
        (16, (), 0b0_11111_00000_10000, (255, 0, 132)),
        (16, (0xF800, 0x07E0, 0x001F), 0b11111_100000_00001, (255, 130, 8)),
        (16, (0x0F00, 0x00F0, 0x000F), 0xF3A5, (51, 170, 85)),
        (32, (), 0x00C86432, (200, 100, 50)),
        (32, (0xFF, 0xFF00, 0xFF0000), 0x00C86432, (50, 100, 200)),
        (32, (0x3FF00000, 0x000FFC00, 0x000003FF), 1023 << 20 | 512 << 10, (255, 128, 0)),
    ],
)
def test_masks_of_any_width(bits: int, masks: tuple[int, ...], value: int, expected: tuple[int, ...]) -> None:
    samples = value.to_bytes(bits // 8, "little").ljust(4, b"\0")
    file = bmp_of(samples, 1, 1, bits, compression=3 if masks else 0, masks=masks)
    picture = read(file)
    assert picture.rgb[0, 0].tolist() == list(expected)
    assert picture.alpha is None


@pytest.mark.parametrize("header", [40, 56, 108, 124])
def test_alpha_needs_a_mask_and_must_not_hide_all(header: int) -> None:
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    compression = 6 if header == 40 else 3
    for values, alpha in (((0x80C86432, 0x00C86432), [128, 0]), ((0x00C86432, 0x00102030), None)):
        samples = b"".join(value.to_bytes(4, "little") for value in values)
        picture = read(bmp_of(samples, 2, 1, 32, compression=compression, masks=masks, header=header))
        assert (None if picture.alpha is None else picture.alpha[0].tolist()) == alpha
        assert picture.rgb[0, 0].tolist() == [200, 100, 50]
    ignored = read(bmp_of(samples, 2, 1, 32))
    assert ignored.alpha is None


def test_run_lengths_of_8_bits() -> None:
    coded = bytes([3, 1, 0, 0]) + bytes([0, 3, 1, 2, 3, 0, 0, 0]) + bytes([0, 2, 1, 0, 1, 2, 0, 1])
    picture = read(bmp_of(coded, 4, 3, 8, compression=1, palette=table(PALETTE), used=4))
    np.testing.assert_array_equal(picture.rgb, PALETTE[[[0, 2, 0, 0], [1, 2, 3, 0], [1, 1, 1, 0]]])


def test_run_lengths_of_4_bits() -> None:
    coded = bytes([5, 0x12, 0, 0]) + bytes([0, 3, 0x12, 0x30, 0, 0]) + bytes([0, 1])
    picture = read(bmp_of(coded, 5, 2, 4, compression=2, palette=table(PALETTE), used=4))
    np.testing.assert_array_equal(picture.rgb, PALETTE[[[1, 2, 3, 0, 0], [1, 2, 1, 2, 1]]])


def test_large_run_lengths_are_read() -> None:
    rows = np.random.default_rng(0).integers(0, 4, (700, 900), np.uint8)
    coded = b"".join(np.stack([np.ones_like(row), row], 1).tobytes() + b"\0\0" for row in rows) + b"\0\1"
    picture = read(bmp_of(coded, 900, 700, 8, compression=1, palette=table(PALETTE), used=4))
    np.testing.assert_array_equal(picture.rgb, PALETTE[rows[::-1]])


@pytest.mark.parametrize("command", [b"\0\0", b"\0\2\0\0", b"\1\0", b"\0\2\0\1"])
def test_run_lengths_without_end_are_bounded(command: bytes) -> None:
    file = bmp_of(1_000_000 * command, 10, 10, 8, compression=1, palette=table(PALETTE), used=4)
    with suppress(DamagedImageError):  # where it does not run off the last row
        assert read(file).width == 10


def test_an_embedded_profile_is_used() -> None:
    profile = matrix_profile(1.0)
    fields = bytearray(124 - 56)
    fields[0:4] = b"DEBM"
    struct.pack_into("<II", fields, 112 - 56, 124, len(profile))
    samples = bytes([55, 55, 55, 0])
    # The profile lies between the header and the samples.
    file = bmp_of(
        samples, 1, 1, 32, masks=(0xFF0000, 0xFF00, 0xFF, 0), compression=3, header=124, more=bytes(fields)
    )
    start = 14 + 124 + len(profile)
    file = file[:10] + struct.pack("<I", start) + file[14:138] + profile + samples
    assert abs(int(read(file).rgb[0, 0, 0]) - 128) <= 1


@pytest.mark.parametrize(
    ("compression", "name"), [(4, "JPEG within"), (5, "PNG within"), (9, "compression 9")]
)
def test_other_compressions_are_named(compression: int, name: str) -> None:
    with pytest.raises(UnsupportedVariantError, match=name):
        read(bmp_of(bytes(4), 1, 1, 24, compression=compression))


def test_other_forms_are_named() -> None:
    with pytest.raises(UnsupportedVariantError, match="Huffman"):
        read(bmp_of(bytes(4), 1, 1, 1, compression=3, header=64, palette=bytes(8)))
    with pytest.raises(UnsupportedVariantError, match="bits lie apart"):
        read(bmp_of(bytes(4), 1, 1, 32, compression=3, masks=(0xF0F, 0xF0, 0xF000)))
    with pytest.raises(UnsupportedVariantError, match="header of 41 bytes"):
        read(b"BM" + bytes(12) + b"\x29\0\0\0" + bytes(60))


def test_what_is_cut_off_or_empty_is_damage() -> None:
    whole = saved(Image.fromarray(RGB), "BMP")
    for size in (20, 50, 500, len(whole) - 4):
        with pytest.raises(DamagedImageError):
            read(whole[:size])
    with pytest.raises(DamagedImageError, match="no size"):
        read(bmp_of(b"", 0, 1, 24))
    with pytest.raises(DamagedImageError, match="no palette"):
        read(bmp_of(bytes(4), 1, 1, 8))
