from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from service.images import AnimatedImageError, DamagedImageError, UnsupportedVariantError, read_header
from service.images.png import MAX_CHUNKS, MAX_PROFILE_BYTES
from tests.service.images.files import (
    LIMIT,
    decoded,
    gradient,
    in_8_bits,
    matrix_profile,
    png_chunk,
    png_of,
    png_with,
    read,
    saved,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PLAIN = saved(Image.fromarray(in_8_bits(gradient())), "PNG")


def packed(values: list[int], depth: int) -> bytes:
    bits = "".join(format(value, f"0{depth}b") for value in values)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_key_is_compared_at_the_depth_of_the_samples(depth: int) -> None:
    top = (1 << depth) - 1
    values = [0, 1, top] if depth == 1 else [0, 1, 2, top - 1, top]
    for key in values:
        file = png_of(
            [packed(values, depth)], len(values), depth, 0, png_chunk(b"tRNS", struct.pack(">H", key))
        )
        picture = read(file)
        assert picture.alpha is not None
        assert picture.alpha[0].tolist() == [0 if value == key else 255 for value in values]
        expected = [(value * 510 + top) // (2 * top) for value in values]
        assert picture.rgb[0, :, 0].tolist() == expected


def test_the_unused_bits_of_a_key_say_nothing() -> None:
    file = png_of([packed([3, 5], 4)], 2, 4, 0, png_chunk(b"tRNS", b"\xff\xf5"))
    alpha = read(file).alpha
    assert alpha is not None
    assert alpha[0].tolist() == [255, 0]


def test_a_colour_key_of_16_bits_takes_no_neighbours() -> None:
    row = struct.pack(">9H", 0x1234, 0x5678, 0x9ABC, 0x1235, 0x5678, 0x9ABC, 0x1234, 0x5600, 0x9ABC)
    alpha = read(png_of([row], 3, 16, 2, png_chunk(b"tRNS", row[:6]))).alpha
    assert alpha is not None
    assert alpha[0].tolist() == [0, 255, 255]


def test_a_key_beyond_8_bits_hides_nothing() -> None:
    assert read(png_of([b"\1\2\3"], 1, 8, 2, png_chunk(b"tRNS", b"\1\1\1\2\1\3"))).alpha is None


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("kind", "bands"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_are_rounded_in_every_kind(kind: int, bands: int, interlace: int) -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 65536, (1, 1, bands) if interlace else (5, 7, bands)).astype(">u2")
    rows = [row.tobytes() for row in samples]

    picture = read(png_of(rows, samples.shape[1], 16, kind, interlace=interlace))

    expected = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    colours = 3 if bands >= 3 else 1
    np.testing.assert_array_equal(picture.rgb, np.broadcast_to(expected[..., :colours], picture.rgb.shape))
    if bands in (2, 4):
        np.testing.assert_array_equal(picture.alpha, expected[..., -1])


def test_filters_of_16_bits_are_undone() -> None:
    """Pillow takes a pixel's bytes apart in several ways; filters must see its whole width."""
    samples = np.round(gradient() * 65535).astype(">u2")
    raw = bytearray()
    before = np.zeros(samples.shape[1] * 6, np.uint8)
    for index, row in enumerate(samples):
        now = np.frombuffer(row.tobytes(), np.uint8)
        left = np.concatenate([np.zeros(6, np.uint8), now[:-6]])
        raw += bytes([1 + index % 2]) + (now - (left if index % 2 == 0 else before)).tobytes()
        before = now
    blank = png_of([b""] * 32, 48, 16, 2)
    start = blank.index(b"IDAT") - 4
    file = blank[:start] + png_chunk(b"IDAT", zlib.compress(bytes(raw))) + png_chunk(b"IEND", b"")

    np.testing.assert_array_equal(read(file).rgb, in_8_bits(gradient()))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_have_alpha_of_their_own(depth: int) -> None:
    palette = png_chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
    file = png_of([packed([0, 1, 0], depth)], 3, depth, 3, palette, png_chunk(b"tRNS", b"\x80"))
    picture = read(file)
    assert picture.rgb[0].tolist() == [[10, 20, 30], [40, 50, 60], [10, 20, 30]]
    assert picture.alpha is not None
    assert picture.alpha[0].tolist() == [128, 255, 128]


def test_pixels_outside_of_the_palette_are_told() -> None:
    made = decoded(png_of([b"\0\7"], 2, 8, 3, png_chunk(b"PLTE", b"\1\2\3")))
    assert made.picture.rgb[0].tolist() == [[1, 2, 3], [0, 0, 0]]
    assert made.warnings == ("pixels outside of the PNG image's palette are black",)


def chromaticities(*values: float) -> bytes:
    return png_chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
CICP_P3 = png_chunk(b"cICP", bytes([12, 13, 0, 1]))
LINEAR = png_chunk(b"gAMA", struct.pack(">I", 100_000))
ICC_LINEAR = png_chunk(b"iCCP", b"linear\0\0" + zlib.compress(matrix_profile(1.0)))
IS_SRGB = png_chunk(b"sRGB", b"\0")


def first_pixel(*chunks: bytes) -> list[int]:
    return [int(value) for value in read(png_with(png_of([b"\xc8\x64\x32"], 1, 8, 2), *chunks)).rgb[0, 0]]


def test_colour_is_told_by_the_first_of_four() -> None:
    plain, linear = [200, 100, 50], [229, 168, 122]
    p3 = first_pixel(CICP_P3)
    assert p3 != plain
    assert first_pixel(ICC_LINEAR) == linear
    assert first_pixel(LINEAR) == linear
    assert first_pixel(chromaticities(*P3)) == p3

    assert first_pixel(LINEAR, ICC_LINEAR, IS_SRGB, CICP_P3) == p3
    assert first_pixel(IS_SRGB, ICC_LINEAR) == linear
    assert first_pixel(LINEAR, chromaticities(*P3), IS_SRGB) == plain
    assert first_pixel(png_chunk(b"gAMA", struct.pack(">I", 45_455))) == plain, "sRGB's curve as a power"


def test_what_says_nothing_is_passed_over() -> None:
    plain = [200, 100, 50]
    grey = png_chunk(b"iCCP", b"grey\0\0" + zlib.compress(matrix_profile(1.0, b"GRAY")))
    assert first_pixel(grey) == plain
    assert first_pixel(grey, LINEAR) == first_pixel(LINEAR)
    assert first_pixel(png_chunk(b"cICP", bytes([2, 2, 0, 1])), LINEAR) == first_pixel(LINEAR)
    for gamma in (0, 1, 2**31):
        assert first_pixel(png_chunk(b"gAMA", struct.pack(">I", gamma))) == plain
    assert first_pixel(chromaticities(*[0.0] * 8)) == plain


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused_by_name(transfer: int) -> None:
    with pytest.raises(UnsupportedVariantError, match="PNG with HDR"):
        first_pixel(png_chunk(b"cICP", bytes([9, transfer, 0, 1])))


def test_narrow_range_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedVariantError, match="narrow-range"):
        first_pixel(png_chunk(b"cICP", bytes([1, 13, 0, 0])))


def test_metadata_of_megabytes_is_passed_over() -> None:
    large = zlib.compress(np.random.default_rng(0).integers(32, 127, 3 << 20).astype(np.uint8).tobytes())
    file = png_with(
        PLAIN,
        png_chunk(b"zTXt", b"Comment\0\0" + large),
        png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + large),
        png_chunk(b"tEXt", b"Comment\0" + bytes(65) * 100_000),
    )
    np.testing.assert_array_equal(read(file).rgb, in_8_bits(gradient()))


def test_a_profile_of_a_megabyte_is_used_and_a_bomb_is_not_inflated() -> None:
    large = matrix_profile(1.0) + bytes(1 << 20)
    large = len(large).to_bytes(4, "big") + large[4:]
    assert first_pixel(png_chunk(b"iCCP", b"large\0\0" + zlib.compress(large))) == [229, 168, 122]

    bomb = zlib.compress(matrix_profile(1.0) + bytes(4 * MAX_PROFILE_BYTES), 9)
    assert first_pixel(png_chunk(b"iCCP", b"bomb\0\0" + bomb)) == [200, 100, 50]


@pytest.mark.parametrize("name", [b"tEXt", b"iCCP", b"gAMA", b"tRNS", b"eXIf", b"acTL", b"cICP", b"prIv"])
def test_damaged_ancillary_chunks_are_passed_over(name: bytes) -> None:
    file = png_with(PLAIN, png_chunk(name, bytes(range(8)), checksum=1))
    np.testing.assert_array_equal(read(file).rgb, in_8_bits(gradient()))


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT"])
def test_damaged_critical_chunks_are_damage(name: bytes) -> None:
    file = bytearray(PLAIN)
    file[PLAIN.index(name) + 6] ^= 1
    with pytest.raises(DamagedImageError):
        read(bytes(file))


def test_a_missing_end_is_no_damage_and_missing_samples_are() -> None:
    np.testing.assert_array_equal(read(PLAIN[:-12]).rgb, in_8_bits(gradient()))
    np.testing.assert_array_equal(read(PLAIN + b"anything").rgb, in_8_bits(gradient()))
    with pytest.raises(DamagedImageError):
        read(PLAIN[: len(PLAIN) // 2])


def test_other_kinds_are_named() -> None:
    with pytest.raises(UnsupportedVariantError, match="Apple"):
        read(PLAIN[:8] + png_chunk(b"CgBI", bytes(4)) + PLAIN[8:])
    with pytest.raises(UnsupportedVariantError, match="critical chunk ABCD"):
        read(png_with(PLAIN, png_chunk(b"ABCD", b"")))
    with pytest.raises(UnsupportedVariantError, match="compression, filter or interlace"):
        read(png_of([b"\0\0\0"], 1, 8, 2, interlace=2))
    for depth, kind in ((3, 0), (4, 2), (16, 3), (2, 6), (8, 5)):
        with pytest.raises(DamagedImageError, match="makes no sense"):
            read(png_of([b"\0\0\0\0"], 1, depth, kind))
    with pytest.raises(DamagedImageError, match="no palette"):
        read(png_of([b"\0"], 1, 8, 3))


def test_animations_are_counted_and_one_frame_is_a_picture() -> None:
    with pytest.raises(AnimatedImageError, match="7 frames"):
        read(png_with(PLAIN, png_chunk(b"acTL", struct.pack(">II", 7, 0))))
    one = png_with(PLAIN, png_chunk(b"acTL", struct.pack(">II", 1, 0)))
    np.testing.assert_array_equal(read(one).rgb, in_8_bits(gradient()))


def test_only_exif_turns() -> None:
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation='6'/>"
    np.testing.assert_array_equal(read(png_with(PLAIN, png_chunk(b"iTXt", xmp))).rgb, in_8_bits(gradient()))

    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(Image.fromarray(in_8_bits(gradient())), "PNG", exif=exif)
    turned = png_with(turned, png_chunk(b"iTXt", xmp))
    np.testing.assert_array_equal(read(turned).rgb, np.rot90(in_8_bits(gradient()), -1))


@pytest.mark.parametrize(
    "chunk", [png_chunk(b"abCd", b""), png_chunk(b"IDAT", b""), png_chunk(b"gAMA", bytes(4))]
)
def test_a_flood_of_chunks_is_bounded(chunk: bytes) -> None:
    with pytest.raises(DamagedImageError, match="too many parts"):
        read_header(png_with(PLAIN, (MAX_CHUNKS + 1) * chunk), max_pixels=LIMIT)
