from __future__ import annotations

import itertools
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from service.images import (
    AnimatedImageError,
    DamagedImageError,
    ImageError,
    UnsupportedVariantError,
    read_header,
)
from service.images.avif import _associations
from tests.service.images.files import (
    LIMIT,
    avif_with,
    box,
    clap,
    gradient,
    in_8_bits,
    matrix_profile,
    nclx,
    read,
    saved,
)

RGB = in_8_bits(gradient(64, 48))
PLAIN = saved(Image.fromarray(RGB), "AVIF", quality=100, subsampling="4:4:4", speed=10)
DECODED = read(PLAIN).rgb


def test_an_ordinary_file_is_what_pillow_reads() -> None:
    assert np.abs(DECODED.astype(int) - RGB).max() <= 4


@pytest.mark.parametrize(("quarters", "mirror"), list(itertools.product((None, 0, 1, 2, 3), (None, 0, 1))))
def test_properties_turn_once_and_exif_and_xmp_never(quarters: int | None, mirror: int | None) -> None:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a tiff:Orientation='6'/></x:xmpmeta>"
    file = saved(Image.fromarray(RGB), "AVIF", quality=100, subsampling="4:4:4", speed=10, xmp=xmp)
    properties = []
    expected = DECODED
    if quarters is not None:
        properties.append(box(b"irot", bytes([quarters])))
        expected = np.rot90(expected, quarters)
    if mirror is not None:
        properties.append(box(b"imir", bytes([mirror])))
        expected = expected[::-1] if mirror == 0 else expected[:, ::-1]
    np.testing.assert_array_equal(read(avif_with(PLAIN, properties)).rgb, expected)
    np.testing.assert_array_equal(read(file).rgb, DECODED)


def test_exif_that_is_damaged_says_nothing() -> None:
    """Pillow writes EXIF's orientation as AVIF's own, too, and that holds."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = saved(Image.fromarray(RGB), "AVIF", quality=100, subsampling="4:4:4", speed=10, exif=exif)
    np.testing.assert_array_equal(read(file.replace(b"MM\0*", b"MM\xff\xff")).rgb, np.rot90(DECODED, -1))


def test_the_clean_aperture_is_what_is_shown() -> None:
    cropped = read(avif_with(PLAIN, [clap(32, 24, 4, -6)])).rgb
    np.testing.assert_array_equal(cropped, DECODED[6:30, 20:52])

    turned = read(avif_with(PLAIN, [clap(32, 24, 0, 0), box(b"irot", b"\1")])).rgb
    np.testing.assert_array_equal(turned, np.rot90(DECODED[12:36, 16:48]))

    odd = avif_with(PLAIN, [clap(31, 24, 1, 0, halves=True)])
    np.testing.assert_array_equal(read(odd).rgb, DECODED[12:36, 17:48])
    header = read_header(odd, max_pixels=LIMIT)
    assert (header.width, header.height) == (31, 24)


def test_other_apertures_are_refused() -> None:
    with pytest.raises(UnsupportedVariantError, match="fractions of pixels"):
        read(avif_with(PLAIN, [clap(31, 24, 0, 0)]))
    for width, height, right, down in ((80, 24, 0, 0), (0, 24, 0, 0), (32, 24, 40, 0)):
        with pytest.raises(DamagedImageError, match="aperture"):
            read(avif_with(PLAIN, [clap(width, height, right, down)]))
    with pytest.raises(DamagedImageError, match="divided by 0"):
        read(avif_with(PLAIN, [box(b"clap", bytes(32))]))


def patched(old: bytes, new: bytes) -> bytes:
    assert old in PLAIN
    return PLAIN.replace(old, new)


def test_colours_are_converted() -> None:
    p3 = read(patched(nclx(1, 13), nclx(12, 13))).rgb
    bt2020 = read(patched(nclx(1, 13), nclx(9, 13))).rgb
    assert 2 < np.abs(p3.astype(int) - DECODED).mean() < np.abs(bt2020.astype(int) - DECODED).mean()
    np.testing.assert_array_equal(read(patched(nclx(1, 13), nclx(1, 1))).rgb, DECODED)
    np.testing.assert_array_equal(read(patched(nclx(1, 13), nclx(2, 2))).rgb, DECODED)
    linear = read(patched(nclx(1, 13), nclx(1, 8))).rgb
    assert linear.mean() > DECODED.mean() + 30


def test_a_profile_goes_before_the_numbers() -> None:
    icc = box(b"colr", b"prof", matrix_profile(1.0))
    file = avif_with(patched(nclx(1, 13), nclx(9, 16)), [icc])
    assert read(file).rgb.mean() > DECODED.mean() + 30
    wrong = box(b"colr", b"prof", matrix_profile(1.0, b"GRAY"))
    np.testing.assert_array_equal(read(avif_with(PLAIN, [wrong])).rgb, DECODED)


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused_by_name(transfer: int) -> None:
    with pytest.raises(UnsupportedVariantError, match="AVIF with HDR"):
        read(patched(nclx(1, 13), nclx(9, transfer)))


def test_without_a_property_the_stream_says_what_its_colours_are() -> None:
    hidden = patched(b"colrnclx", b"freenclx")
    np.testing.assert_array_equal(read(hidden).rgb, DECODED)


def test_unknown_matrices_are_named() -> None:
    with pytest.raises(UnsupportedVariantError, match="matrix coefficients 10"):
        read(patched(nclx(1, 13), nclx(1, 13, 10)))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    image.putalpha(Image.fromarray(RGB[..., 1]))
    picture = read(saved(image, "AVIF", quality=100, subsampling="4:4:4", speed=10))
    assert picture.alpha is not None
    assert np.abs(picture.alpha.astype(int) - RGB[..., 1]).max() <= 2


def test_films_are_counted_and_a_film_of_one_frame_is_a_picture() -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1])]
    film = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)
    with pytest.raises(AnimatedImageError, match="2 frames"):
        read(film)


def test_broken_boxes_are_damage() -> None:
    for at in range(40, PLAIN.index(b"mdat"), 7):
        broken = PLAIN[:at] + bytes([PLAIN[at] ^ 0xFF]) + PLAIN[at + 1 :]
        with suppress(ImageError):
            read(broken)
    with pytest.raises(DamagedImageError):
        read(PLAIN[:300])
    with pytest.raises(DamagedImageError, match="too many boxes"):
        read_header(PLAIN[:32] + 100_000 * box(b"free") + PLAIN[32:], max_pixels=LIMIT)


def test_floods_of_associations_and_units_are_bounded() -> None:
    flood = (2**32 - 1).to_bytes(4, "big") + b"\0\2\xff" * 1_000_000
    with pytest.raises(ValueError, match="too many properties"):
        list(_associations(bytes(4) + flood, 1))

    hidden = patched(b"colrnclx", b"freenclx")  # so that the stream is asked
    start = PLAIN.index(b"mdat") + 4
    units = b"\x12\0" * ((len(PLAIN) - start) // 2)
    assert read_header(hidden[:start] + units.ljust(len(PLAIN) - start, b"\0"), max_pixels=LIMIT).width == 64
