from __future__ import annotations

import io
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.images import DamagedImageError, UnsupportedVariantError, read_header
from service.images.jpeg import MAX_SCANS, MAX_SEGMENTS
from tests.service.images.files import LIMIT, decoded, gradient, in_8_bits, matrix_profile, read, saved

PICTURE = Image.fromarray(in_8_bits(gradient(200, 120)))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8))
KINDS: dict[str, dict[str, object]] = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "optimised": {"optimize": True},
    "restarts by rows": {"restart_marker_rows": 1},
    "restarts by blocks": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True},
}


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def with_segments(file: bytes, *segments: bytes) -> bytes:
    return file[:2] + b"".join(segments) + file[2:]


def by_pillow(file: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def data_start(file: bytes) -> int:
    at = file.index(b"\xff\xda")
    return at + 2 + int.from_bytes(file[at + 2 : at + 4], "big")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("image", [PICTURE, NOISE], ids=["picture", "noise"])
def test_sound_files_are_read_without_a_word(
    image: Image.Image, options: dict[str, object], mode: str
) -> None:
    file = saved(image.convert(mode), "JPEG", quality=90, **options)
    for whole in (file, file[:-2], file + b"behind"):
        made = decoded(whole)
        assert made.warnings == ()
        np.testing.assert_array_equal(made.picture.rgb, by_pillow(file))


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_data_that_end_early_are_refused_or_told(options: dict[str, object]) -> None:
    file = saved(NOISE, "JPEG", quality=90, **options)
    start = data_start(file)
    for share in (0.1, 0.5, 0.9):
        cut = file[: start + int(share * (len(file) - start))]
        with pytest.raises(DamagedImageError):
            read(cut)
        made = decoded(cut + b"\xff\xd9")
        assert made.warnings
        assert made.picture.rgb.shape == (120, 200, 3)


def test_data_left_over_are_told() -> None:
    file = saved(PICTURE, "JPEG", subsampling=0)
    made = decoded(file[:-2] + bytes(range(100)) + b"\xff\xd9")
    np.testing.assert_array_equal(made.picture.rgb, by_pillow(file))
    assert made.warnings == ("the JPEG image's data are corrupt: some are left over behind the picture",)
    assert decoded(file[:-2] + b"\xff\xff\xff\xff\xd9").warnings == (), "fill bytes"


def test_missing_restarts_are_told() -> None:
    file = saved(PICTURE, "JPEG", restart_marker_rows=1)
    assert any("restart" in warning for warning in decoded(file.replace(b"\xff\xd3", b"\xff\xd4")).warnings)


def test_missing_scans_are_told_or_refused() -> None:
    file = saved(PICTURE, "JPEG", progressive=True)
    last = max(file.rindex(b"\xff\xc4"), file[:-1000].rindex(b"\xff\xda"))
    made = decoded(file[:last] + b"\xff\xd9")
    assert any("last scans" in warning for warning in made.warnings)
    with pytest.raises(DamagedImageError, match="scans"):
        read(file[:last])


def test_scans_are_counted_before_decoding() -> None:
    file = saved(PICTURE.convert("L"), "JPEG", progressive=True)
    at = file.rindex(b"\xff\xda")
    scan = file[at:-2]
    hundred = file[:at] + (MAX_SCANS - file.count(b"\xff\xda")) * scan + file[at:]
    read_header(hundred, max_pixels=LIMIT)
    with pytest.raises(DamagedImageError, match="too many scans"):
        read_header(file[:at] + MAX_SCANS * scan + file[at:], max_pixels=LIMIT)


FLOODS = {
    "small Exif": segment(0xE1, b"Exif\0\0"),
    "large Exif": segment(0xE1, b"Exif\0\0" + bytes(60_000)),
    "ICC": segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)),
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(60_000)),
    "comments": segment(0xFE, b""),
    "photoshop": segment(0xED, b"Photoshop 3.0\0" + 5_000 * b"8BIM\4\4\0\0\0\0\0\0"),
    "tables": segment(0xDB, b"\0" + bytes([1] * 64)),
    "restart intervals": segment(0xDD, b"\0\0"),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_of_segments_is_read_or_bounded(flood: bytes) -> None:
    file = saved(PICTURE, "JPEG")
    ordinary = with_segments(file, min(1_000, (8 << 20) // len(flood)) * flood)
    np.testing.assert_array_equal(read(ordinary).rgb, by_pillow(file))
    if len(flood) < 100:
        with pytest.raises(DamagedImageError, match="too many parts"):
            read_header(with_segments(file, (MAX_SEGMENTS + 1) * flood), max_pixels=LIMIT)


@pytest.mark.parametrize("junk", [b"\xff", b"\0", b"\xff\0", b"\xff\xd0", b"\xff\xd8"])
def test_junk_without_end_is_passed_over_at_once(junk: bytes) -> None:
    with pytest.raises(DamagedImageError):
        read_header(b"\xff\xd8\xff" + (4 << 20) * junk, max_pixels=LIMIT)


@pytest.mark.parametrize(
    ("marker", "name"),
    [
        (0xC3, "lossless"),
        (0xC5, "hierarchical"),
        (0xC9, "arithmetic"),
        (0xCA, "arithmetic"),
        (0xCB, "lossless"),
    ],
)
def test_other_codings_are_named(marker: int, name: str) -> None:
    file = saved(PICTURE, "JPEG").replace(b"\xff\xc0", bytes([0xFF, marker]))
    with pytest.raises(UnsupportedVariantError, match=name):
        read_header(file, max_pixels=LIMIT)


def test_other_samples_are_named() -> None:
    file = bytearray(saved(PICTURE, "JPEG"))
    frame = file.index(b"\xff\xc0") + 4
    for at, value, name in ((0, 12, "12-bit"), (5, 2, "2 components")):
        other = bytearray(file)
        other[frame + at] = value
        with pytest.raises(UnsupportedVariantError, match=name):
            read_header(bytes(other), max_pixels=LIMIT)
    file[frame + 1 : frame + 3] = bytes(2)
    with pytest.raises(UnsupportedVariantError, match="DNL"):
        read_header(bytes(file), max_pixels=LIMIT)


def test_cmyk_is_inverted_where_adobe_says_so() -> None:
    image = Image.new("CMYK", (16, 16), (200, 100, 20, 10))
    file = saved(image, "JPEG", quality=100)
    at = file.index(b"\xff\xee")
    without = file[:at] + file[at + 2 + int.from_bytes(file[at + 2 : at + 4], "big") :]
    inverted = Image.eval(image, lambda value: 255 - value).convert("RGB").getpixel((0, 0))

    assert np.abs(read(file).rgb[0, 0].astype(int) - image.convert("RGB").getpixel((0, 0))).max() <= 2
    assert np.abs(read(without).rgb[0, 0].astype(int) - inverted).max() <= 2


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("space", [b"GRAY", b"RGB "])
def test_profiles_of_the_other_colour_model_are_absent(mode: str, space: bytes) -> None:
    image = PICTURE.convert(mode)
    file = saved(image, "JPEG", icc_profile=matrix_profile(1.0, space))
    same = np.array_equal(read(file).rgb, by_pillow(file))
    assert same == ((mode, space) not in (("L", b"GRAY"), ("RGB", b"RGB ")))


def test_profiles_in_parts_are_joined_in_their_order() -> None:
    profile = matrix_profile(1.0)
    file = saved(PICTURE, "JPEG")
    halves = [profile[:200], profile[200:]]
    parts = [segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 2]) + halves[number - 1]) for number in (2, 1)]
    whole = saved(PICTURE, "JPEG", icc_profile=profile)
    np.testing.assert_array_equal(read(with_segments(file, *parts)).rgb, read(whole).rgb)
    np.testing.assert_array_equal(read(with_segments(file, parts[0])).rgb, by_pillow(file))


def test_damaged_exif_is_none_and_sound_exif_turns_once() -> None:
    file = saved(PICTURE, "JPEG")
    np.testing.assert_array_equal(
        read(with_segments(file, segment(0xE1, b"Exif\0\0II*\0"))).rgb, by_pillow(file)
    )
    exif = Image.Exif()
    exif[0x0112] = 8
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='3'/>")
    turned = with_segments(saved(PICTURE, "JPEG", exif=exif), xmp)
    np.testing.assert_array_equal(read(turned).rgb, np.rot90(by_pillow(file)))
    np.testing.assert_array_equal(read(with_segments(file, xmp)).rgb, by_pillow(file))


def test_of_several_pictures_the_first_is_read() -> None:
    file = saved(PICTURE, "MPO", save_all=True, append_images=[NOISE])
    np.testing.assert_array_equal(read(file).rgb, by_pillow(file))


def test_ycck_is_read() -> None:
    """Pillow writes CMYK only: what it decodes of a file that says YCCK is the reference."""
    file = bytearray(saved(PICTURE.convert("CMYK"), "JPEG"))
    at = file.index(b"Adobe")
    file[at + 11] = 2
    np.testing.assert_array_equal(read(bytes(file)).rgb, by_pillow(bytes(file)))


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("fill", [1, 2, 100])
def test_any_marker_may_have_fill_bytes_before_it(options: dict[str, object], fill: int) -> None:
    file = saved(PICTURE, "JPEG", quality=90, **options)
    start = data_start(file)
    filled = file[:start] + re.sub(rb"\xff(?=[\xc4\xd0-\xda])", b"\xff" * (fill + 1), file[start:])
    for whole in (filled, filled[:-2], filled[:-1]):
        made = decoded(whole)
        assert made.warnings == ()
        np.testing.assert_array_equal(made.picture.rgb, by_pillow(file))
