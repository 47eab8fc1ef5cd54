"""Samples of TIFF in all their forms, written by hand or by Pillow."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.images import DamagedImageError, ImageTooLargeError, UnsupportedVariantError, read_header
from service.images.tiff_samples import MAX_BYTES
from tests.service.images.files import LIMIT, TiffTags, gradient, in_8_bits, read, saved, tiff_of

RGB = gradient()
EXPECTED = in_8_bits(RGB)
GREY = RGB[..., 0] * 0.7 + 0.1
HEIGHT, WIDTH = GREY.shape


def packed(values: NDArray[Any], depth: int, order: str = "<") -> bytes:
    """Rows of samples, each row from the first bit of a byte."""
    if depth in (8, 16, 32):
        return values.astype(f"{order}u{depth // 8}").tobytes()
    rows = values.reshape(len(values), -1)
    bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def whole(samples: NDArray[np.float64], depth: int) -> NDArray[Any]:
    values: NDArray[Any] = np.round(samples * (2**depth - 1)).astype(np.int64)
    return values


def tags(depth: int = 8, bands: int = 3, photometric: int = 2, **more: Any) -> dict[int, Any]:
    made = {256: WIDTH, 257: HEIGHT, 258: [depth] * bands, 259: 1, 262: photometric, 277: bands, 278: HEIGHT}
    return made | {int(tag[1:]): value for tag, value in more.items()}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 32])
def test_samples_are_scaled_by_their_bits(depth: int, order: str) -> None:
    values = whole(GREY, depth)
    expected = np.round(values / (2**depth - 1) * 255)
    for photometric in (0, 1):
        stored = values if photometric else whole(np.ones_like(GREY), depth) - values
        file = tiff_of(tags(depth, 1, photometric), [packed(stored, depth, order)], order=order)
        assert np.abs(read(file).rgb[..., 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("depth", [4, 8, 12, 16, 32])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(("compression", "predictor"), [(1, 1), (8, 1), (8, 2), (32946, 1)])
def test_pixels_and_planes_strips_and_tiles(
    order: str, depth: int, planar: int, tiled: bool, compression: int, predictor: int
) -> None:
    if predictor == 2 and depth not in (8, 16, 32):
        pytest.skip("predictor 2 is for whole bytes")
    values = whole(RGB, depth)
    planes = [values[..., band : band + 1] for band in range(3)] if planar == 2 else [values]
    side = 32 if tiled else 10
    parts = []
    for plane in planes:
        for top in range(0, HEIGHT, side):
            for left in range(0, WIDTH, side) if tiled else (0,):
                part = plane[top : top + side, left : left + side] if tiled else plane[top : top + side]
                if tiled:
                    part = np.pad(part, ((0, side - len(part)), (0, side - part.shape[1]), (0, 0)))
                if predictor == 2:
                    part = np.concatenate([part[:, :1], part[:, 1:] - part[:, :-1]], axis=1)
                    part &= 2**depth - 1
                coded = packed(part, depth, order)
                parts.append(coded if compression == 1 else zlib.compress(coded))
    made = tags(depth, t259=compression, t284=planar, t317=predictor)
    made = {**made, 322: side, 323: side} if tiled else {**made, 278: side}

    picture = read(tiff_of(made, parts, order=order))

    assert np.abs(picture.rgb.astype(int) - np.round(whole(RGB, depth) / (2**depth - 1) * 255)).max() <= 1


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "packbits", "tiff_deflate", "lzma", "zstd", "tiff_adobe_deflate"]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "CMYK", "P"])
def test_what_pillow_packs_is_read(mode: str, compression: str) -> None:
    image = Image.fromarray(EXPECTED).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(EXPECTED[..., 1]))
    picture = read(saved(image, "TIFF", compression=compression))
    assert np.abs(picture.rgb.astype(int) - np.asarray(image.convert("RGB"))).max() <= 1
    if mode in ("RGBA", "LA"):
        np.testing.assert_array_equal(picture.alpha, EXPECTED[..., 1])


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_codes_are_read(compression: str) -> None:
    image = Image.fromarray(EXPECTED).convert("1")
    picture = read(saved(image, "TIFF", compression=compression))
    np.testing.assert_array_equal(picture.rgb[..., 0], np.asarray(image) * np.uint8(255))


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
def test_jpeg_within_is_read(mode: str) -> None:
    image = Image.fromarray(EXPECTED).convert(mode)
    picture = read(saved(image, "TIFF", compression="jpeg", quality=95))
    assert np.abs(picture.rgb.astype(int) - np.asarray(image.convert("RGB"))).mean() < 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
@pytest.mark.parametrize("predictor", [1, 3])
def test_fractions_from_0_to_1_are_read(kind: str, order: str, predictor: int) -> None:
    values = RGB.astype(order + kind)
    coded = values.tobytes()
    if predictor == 3:
        size = values.dtype.itemsize
        heavy_first = values.astype(">" + kind).view(np.uint8).reshape(HEIGHT, -1, size).transpose(0, 2, 1)
        rows = np.ascontiguousarray(heavy_first).reshape(HEIGHT, -1, 3)
        coded = np.concatenate([rows[:, :1], rows[:, 1:] - rows[:, :-1]], axis=1).tobytes()
    made = tags(8 * values.dtype.itemsize, t339=[3, 3, 3], t259=8, t317=predictor)
    picture = read(tiff_of(made, [zlib.compress(coded)], order=order))
    assert np.abs(picture.rgb.astype(int) - EXPECTED).max() <= (kind == "f2")


@pytest.mark.parametrize("value", [1.5, -0.5, float("nan"), 255.0, float("inf")])
def test_other_fractions_are_refused_by_name(value: float) -> None:
    samples = RGB.astype("<f4")
    samples[3, 4, 1] = value
    with pytest.raises(UnsupportedVariantError, match="outside 0 to 1"):
        read(tiff_of(tags(32, t339=[3, 3, 3]), [samples.tobytes()]))


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    ("extra", "bands"), [([0], 4), ([1], 4), ([2], 4), ([0, 2], 5), (None, 4), ([2, 0], 5)]
)
def test_extra_samples_are_alpha_where_they_say_so(
    extra: list[int] | None, bands: int, depth: int, planar: int
) -> None:
    alpha = 0.25 + GREY / 2
    others = {1: alpha, 2: alpha, 0: np.full_like(GREY, 0.1)}
    means = [2] if extra is None else extra
    colours = RGB * alpha[..., None] if 1 in means else RGB
    values = whole(np.dstack([colours, *(others[mean] for mean in means)]), depth)
    parts = (
        [packed(values, depth)]
        if planar == 1
        else [packed(values[..., band], depth) for band in range(bands)]
    )
    made = tags(depth, bands, t284=planar) | ({} if extra is None else {338: extra})

    picture = read(tiff_of(made, parts))

    assert np.abs(picture.rgb.astype(int) - EXPECTED).max() <= (4 if 1 in means and depth == 8 else 1)
    if means == [0]:
        assert picture.alpha is None
    else:
        assert picture.alpha is not None
        assert np.abs(picture.alpha - np.round(alpha * 255)).max() <= 1


def test_alpha_that_nobody_meant_hides_nothing() -> None:
    values = np.dstack([EXPECTED, np.zeros_like(EXPECTED[..., 0])])
    assert read(tiff_of(tags(8, 4), [values.tobytes()])).alpha is None


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("scale", [1, 256, 257])
def test_palettes_of_8_and_16_bits(depth: int, scale: int) -> None:
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (1 << depth, 3))
    indices = rng.integers(0, 1 << depth, (HEIGHT, WIDTH))
    made = tags(depth, 1, 3, t320=(palette.T * scale).ravel().tolist())
    np.testing.assert_array_equal(read(tiff_of(made, [packed(indices, depth)])).rgb, palette[indices])


def test_the_lowest_bit_may_be_first() -> None:
    values = whole(GREY, 1)
    turned = packed(values, 1).translate(bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256)))
    for photometric in (0, 1):
        picture = read(tiff_of(tags(1, 1, photometric, t266=2), [turned]))
        np.testing.assert_array_equal(picture.rgb[..., 0] == 255, values == photometric)


VARIANTS: dict[str, tuple[dict[int, Any], str]] = {
    "signed": (tags(t339=[2, 2, 2]), "signed"),
    "complex": (tags(t339=[6, 6, 6]), "complex"),
    "mixed formats": (tags(t339=[1, 1, 3]), "several formats"),
    "unequal bits": (tags() | {258: [5, 6, 5]}, "unequal bits"),
    "24 bits": (tags(24), "24-bit"),
    "24-bit fractions": (tags(24, t339=[3, 3, 3]), "24-bit floating"),
    "old JPEG": (tags(t259=6), "old-style JPEG"),
    "JPEG 2000": (tags(t259=34712), "JPEG 2000"),
    "WebP": (tags(t259=50001), "WebP"),
    "LERC": (tags(t259=34887), "LERC"),
    "unknown compression": (tags(t259=4711), "compression 4711"),
    "CFA": (tags(16, 1, 32803), "CFA"),
    "LogLuv": (tags(16, 3, 32845), "LogLuv"),
    "ICCLab": (tags(8, 3, 9), "ICC L"),
    "16-bit Lab": (tags(16, 3, 8), "16-bit"),
    "inks": (tags(8, 4, 5, t332=2), "inks"),
    "mask": (tags(1, 1, 4), "mask"),
    "subsampled": (tags(8, 3, 6), "subsampled"),
    "JPEG of 12 bits": (tags(12, t259=7), "JPEG"),
    "JPEG of CMYK": (tags(8, 4, 5, t259=7), "JPEG"),
    "many samples": (tags(8, 1, 1) | {277: 100}, "100 samples"),
    "predictor": (tags(t259=8, t317=4), "predictor 4"),
    "differences of odd bits": (tags(12, t259=8, t317=2), "predictor 2"),
}


@pytest.mark.parametrize(("made", "name"), VARIANTS.values(), ids=VARIANTS)
def test_what_is_not_read_is_named(made: TiffTags, name: str) -> None:
    with pytest.raises(UnsupportedVariantError, match=name):
        read_header(tiff_of(made, [EXPECTED.tobytes()]), max_pixels=LIMIT)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
def test_missing_samples_are_damage_and_not_a_word_is_printed(
    compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    file = bytearray(saved(noise, "TIFF", compression=None if compression == "raw" else compression))
    whole_file = bytes(file)
    file[8 : len(file) * 2 // 3] = b"\xff" * (len(file) * 2 // 3 - 8)
    for damaged in (bytes(file), whole_file[: len(file) // 2]):
        with suppress(DamagedImageError):
            read(damaged)
    assert capfd.readouterr() == ("", "")


def test_bombs_are_refused_by_their_header() -> None:
    large = tags(32, 16, t338=[0] * 13) | {256: 20_000, 257: 60_000}
    with pytest.raises(ImageTooLargeError, match=str(MAX_BYTES)):
        read_header(tiff_of(large, [b""]), max_pixels=2**40)
    tiles = tags() | {322: 60_000, 323: 60_000}
    with pytest.raises(DamagedImageError, match="far larger"):
        read_header(tiff_of(tiles, [b""]), max_pixels=LIMIT)
    rows = tags(t259=8) | {278: 1}
    file = bytearray(tiff_of(rows, [zlib.compress(bytes(WIDTH * 3))] * HEIGHT))
    with pytest.raises(DamagedImageError, match="lacks"):
        read_header(tiff_of(rows, [b""] * (HEIGHT - 1)), max_pixels=LIMIT)
    assert read(bytes(file)).rgb.max() == 0


def test_strips_that_overlap_are_not_copied_again_and_again() -> None:
    file = tiff_of(tags(t259=8) | {278: 1}, [b"x" * 100_000] * HEIGHT)
    sizes = file.rindex((100_000).to_bytes(4, "little") * HEIGHT)
    overlapping = file[:sizes] + (3_000_000).to_bytes(4, "little") * HEIGHT + file[sizes + 4 * HEIGHT :]
    with pytest.raises(DamagedImageError, match="overlap"):
        read(overlapping)


@pytest.mark.parametrize("photometric", [5, 6, 8])
def test_transparency_of_other_colours_is_refused_and_opacity_is_not(photometric: int) -> None:
    bands = 4 if photometric == 5 else 3
    samples = np.full((HEIGHT, WIDTH, bands + 1), 128, np.uint8)
    layout = tags(8, bands + 1, photometric, t338=2, t530=[1, 1])
    samples[..., -1] = 255
    assert read(tiff_of(layout, [samples.tobytes()])).alpha is None
    samples[3, 4, -1] = 0
    with pytest.raises(UnsupportedVariantError, match="transparent"):
        read(tiff_of(layout, [samples.tobytes()]))


@pytest.mark.parametrize("compression", [1, 8])
def test_what_writers_leave_out_of_strips_is_worked_out(compression: int) -> None:
    samples = whole(RGB, 8).astype(np.uint8)
    parts = [samples[top : top + 5].tobytes() for top in range(0, HEIGHT, 5)]
    parts = [zlib.compress(part) if compression == 8 else part for part in parts]
    file = tiff_of(tags(t259=compression, t278=5), parts)
    # An entry of StripByteCounts becomes one of a tag that nobody knows.
    unknown = file.replace(struct.pack("<HH", 279, 4), struct.pack("<HH", 65000, 4))
    assert unknown != file
    assert np.array_equal(read(unknown).rgb, EXPECTED)
    whole_file = tiff_of(
        tags(t259=compression, t278=0),
        [zlib.compress(samples.tobytes()) if compression == 8 else samples.tobytes()],
    )
    assert np.array_equal(read(whole_file).rgb, EXPECTED)
