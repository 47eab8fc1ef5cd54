from __future__ import annotations

import numpy as np
import pytest

from service.images import DamagedImageError, UnsupportedVariantError, read_header
from service.images.pnm import MAX_COMMENTS, MAX_HEADER_BYTES
from tests.service.images.files import LIMIT, read


@pytest.mark.parametrize("greatest", [1, 2, 7, 100, 254, 255, 256, 1000, 4095, 65534, 65535])
@pytest.mark.parametrize(("kind", "bands"), [(b"P5", 1), (b"P6", 3), (b"P2", 1), (b"P3", 3)])
def test_values_are_scaled_by_the_greatest(kind: bytes, bands: int, greatest: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, greatest + 1, (5, 7, bands))
    if kind in (b"P5", b"P6"):
        samples = values.astype(np.uint8 if greatest < 256 else ">u2").tobytes()
    else:
        samples = b" ".join(b"%d" % value for value in values.ravel().tolist()) + b"\n"
    picture = read(b"%s\n# a comment\n7 5 # another\n%d\n" % (kind, greatest) + samples)

    expected = np.floor(values * 255 / greatest + 0.5).astype(int)
    assert np.abs(picture.rgb.astype(int) - expected).max() <= (1 if greatest % 2 == 0 else 0)


def test_bitmaps_are_black_on_white() -> None:
    expected = [[0, 255, 0], [255, 255, 0]]
    for file in (b"P4 3 2\n\xa0\x20", b"P1 3 2\n101\n001\n", b"P1\n3 2 1 0 1 # x\n0 0 1"):
        assert read(file).rgb[..., 0].tolist() == expected


def test_large_files_of_16_bits_are_read() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (800, 900, 3)).astype(">u2")
    picture = read(b"P6 900 800 65535\n" + values.tobytes())
    np.testing.assert_array_equal(picture.rgb, (values.astype(np.uint32) + 128) // 257)


@pytest.mark.parametrize(
    ("kind", "depth"),
    [
        (b"BLACKANDWHITE", 1),
        (b"GRAYSCALE", 1),
        (b"GRAYSCALE_ALPHA", 2),
        (b"RGB", 3),
        (b"RGB_ALPHA", 4),
        (b"", 3),
    ],
)
@pytest.mark.parametrize("greatest", [1, 255, 65535])
def test_pam_is_read(kind: bytes, depth: int, greatest: int) -> None:
    values = np.random.default_rng(0).integers(0, greatest + 1, (4, 6, depth))
    head = b"P7\n# a comment\nWIDTH 6\nHEIGHT 4\nDEPTH %d\nMAXVAL %d\n" % (depth, greatest)
    head += b"TUPLTYPE %s\n" % kind if kind else b""
    samples = values.astype(np.uint8 if greatest < 256 else ">u2").tobytes()

    picture = read(head + b"ENDHDR\n" + samples)

    expected = np.round(values * 255 / greatest).astype(np.uint8)
    colours = expected[..., : depth - (depth + 1) % 2]
    np.testing.assert_array_equal(picture.rgb, np.broadcast_to(colours, picture.rgb.shape))
    if depth in (2, 4):
        np.testing.assert_array_equal(picture.alpha, expected[..., -1])


@pytest.mark.parametrize("kind", [b"PF", b"Pf"])
def test_floating_point_is_refused_by_name(kind: bytes) -> None:
    with pytest.raises(UnsupportedVariantError, match="PFM"):
        read(kind + b"\n1 1\n-1.0\n" + bytes(12))


def test_other_tuples_are_named() -> None:
    head = b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\n"
    with pytest.raises(UnsupportedVariantError, match="PAM"):
        read(head + bytes(4))


@pytest.mark.parametrize(
    "file",
    [
        b"P6\n",
        b"P6 2 2\n",
        b"P6 0 2 255\n",
        b"P6 2 2 0\n" + bytes(12),
        b"P6 2 2 65536\n" + bytes(24),
        b"P6 2 2 255\n" + bytes(11),
        b"P6 99999999999 2 255\n",
        b"P3 2 2 255\n1 2 3",
        b"P3 1 1 255\n1 2 x",
        b"P3 1 1 255\n1 2 256",
        b"P3 1 1 255\n1 2 -3",
        b"P1 2 1\n12",
        b"P7\nWIDTH 1\n",
    ],
)
def test_broken_files_are_damage(file: bytes) -> None:
    with pytest.raises(DamagedImageError):
        read(file)


@pytest.mark.parametrize("flood", [b"#\n", b" ", b"#" + 100 * b"x" + b"\n"])
def test_floods_of_comments_and_space_are_bounded(flood: bytes) -> None:
    with pytest.raises(DamagedImageError):
        read_header(
            b"P3\n" + flood * (MAX_HEADER_BYTES // len(flood) + 1) + b"1 1 255\n1 2 3", max_pixels=LIMIT
        )
    with pytest.raises(DamagedImageError):
        read(b"P3\n1 1 255\n" + flood * ((4 << 20) // len(flood)) + b"1 2 3")


@pytest.mark.parametrize("text", [b"", b" ", b"\n\n", b"0", b"0 0", b"0 0 0 ", b"# 0 0 0 0\n"])
@pytest.mark.parametrize("kind", [b"P2", b"P3"])
def test_plain_files_that_end_early_are_damage_whatever_lies_in_memory(kind: bytes, text: bytes) -> None:
    for greatest in (1, 65535):
        with pytest.raises(DamagedImageError):
            read(b"%s 2 2 %d\n%s" % (kind, greatest, text))


def test_comments_between_samples_are_bounded() -> None:
    assert read(b"P2 300 300 9\n" + b"9 #\n" * 300 + b"9 " * 300 * 299).greyscale
    with pytest.raises(DamagedImageError, match="too many parts"):
        read(b"P2 300 300 9\n" + b"#\n" * (MAX_COMMENTS + 1) + b"9 " * 300 * 300)
