from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from service.images import AnimatedImageError, DamagedImageError, read_header
from service.images.webp import MAX_CHUNKS
from tests.service.images.files import LIMIT, gradient, in_8_bits, matrix_profile, read, saved

RGB = in_8_bits(gradient())
LOSSLESS = saved(Image.fromarray(RGB), "WEBP", lossless=True)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def canvas(width: int, height: int, flags: int = 0) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return chunk(b"VP8X", bytes([flags, 0, 0, 0]) + sides)


PICTURE = LOSSLESS[12:]


@pytest.mark.parametrize("lossless", [False, True])
def test_alpha_is_kept(lossless: bool) -> None:
    image = Image.fromarray(RGB)
    image.putalpha(Image.fromarray(RGB[..., 1]))
    picture = read(saved(image, "WEBP", lossless=lossless, exact=True))
    np.testing.assert_array_equal(picture.alpha, RGB[..., 1])
    if lossless:
        np.testing.assert_array_equal(picture.rgb, RGB)


def test_only_exif_turns_and_profiles_are_used() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b"<x tiff:Orientation='3'/>"
    turned = read(saved(Image.fromarray(RGB), "WEBP", lossless=True, exif=exif, xmp=xmp)).rgb
    np.testing.assert_array_equal(turned, np.rot90(RGB, -1))
    plain = saved(Image.fromarray(RGB), "WEBP", lossless=True, xmp=xmp, exif=b"II*\0")
    np.testing.assert_array_equal(read(plain).rgb, RGB)
    linear = saved(Image.fromarray(RGB), "WEBP", lossless=True, icc_profile=matrix_profile(1.0))
    assert read(linear).rgb.mean() > RGB.mean() + 30
    grey = saved(Image.fromarray(RGB), "WEBP", lossless=True, icc_profile=matrix_profile(1.0, b"GRAY"))
    np.testing.assert_array_equal(read(grey).rgb, RGB)


def test_a_canvas_of_another_size_is_damage() -> None:
    height, width = RGB.shape[:2]
    np.testing.assert_array_equal(read(riff(canvas(width, height), PICTURE)).rgb, RGB)
    with pytest.raises(DamagedImageError, match="canvas"):
        read(riff(canvas(width + 1, height), PICTURE))


def frame(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return chunk(b"ANMF", bytes(6) + sides + bytes(4) + PICTURE)


def test_films_are_counted_and_one_frame_is_a_picture() -> None:
    height, width = RGB.shape[:2]
    head = canvas(width, height, 2) + chunk(b"ANIM", bytes(6))
    with pytest.raises(AnimatedImageError, match="3 frames"):
        read(riff(head, *3 * [frame(width, height)]))
    np.testing.assert_array_equal(read(riff(head, frame(width, height))).rgb, RGB)


@pytest.mark.parametrize("part", [chunk(b"EXIF", b""), chunk(b"ANMF", b""), chunk(b"abcd", b"")])
def test_a_flood_of_chunks_is_bounded(part: bytes) -> None:
    with pytest.raises(DamagedImageError, match="too many parts"):
        read_header(riff((MAX_CHUNKS + 1) * part), max_pixels=LIMIT)


@pytest.mark.parametrize(
    "file",
    [riff(), riff(chunk(b"VP8 ", b"")), riff(chunk(b"VP8L", bytes(9))), riff(canvas(1, 1)), LOSSLESS[:60]],
)
def test_broken_files_are_damage(file: bytes) -> None:
    with pytest.raises(DamagedImageError):
        read(file)
