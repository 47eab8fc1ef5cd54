from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from service.images import AnimatedImageError, DamagedImageError, UnsupportedVariantError, read_header
from service.images.gif import MAX_BLOCKS
from tests.service.images.files import LIMIT, decoded, read, saved

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)


def screen(width: int, height: int, palette: bytes = COLOURS.tobytes()) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x81 if palette else 0, 0, 0) + palette


def frame(indices: list[list[int]], left: int = 0, top: int = 0, palette: bytes = b"") -> bytes:
    """A frame of uncompressed codes: a clear code before every pair of pixels."""
    flat = [index for row in indices for index in row]
    codes: list[int] = []
    for at in range(0, len(flat), 2):
        codes += [4, *flat[at : at + 2]]
    bits = sum(code << 3 * at for at, code in enumerate([*codes, 5]))
    coded = bits.to_bytes(-(-3 * (len(codes) + 1) // 8), "little")
    size = struct.pack("<HHHHB", left, top, len(indices[0]), len(indices), 0x81 if palette else 0)
    return b"," + size + palette + b"\x02" + bytes([len(coded)]) + coded + b"\0"


def control(transparent: int | None) -> bytes:
    return b"!\xf9\x04" + bytes([0 if transparent is None else 1, 0, 0, transparent or 0]) + b"\0"


def test_a_frame_lies_in_its_place_on_a_transparent_screen() -> None:
    picture = read(screen(4, 3) + frame([[0, 1], [2, 3]], left=1, top=1) + b";")
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 0, 0, 0], [0, 255, 255, 0], [0, 255, 255, 0]]
    np.testing.assert_array_equal(picture.rgb[1:, 1:3], COLOURS[[[0, 1], [2, 3]]])


def test_transparency_is_the_first_frames_and_only_where_it_is_seen() -> None:
    assert read(screen(2, 1) + frame([[0, 1]]) + b";").alpha is None
    assert read(screen(2, 1) + control(3) + frame([[0, 1]]) + b";").alpha is None
    alpha = read(screen(2, 1) + control(1) + frame([[0, 1]]) + control(0) + b";").alpha
    assert alpha is not None
    assert alpha.tolist() == [[255, 0]]


def test_palettes_of_the_frame_go_first_and_there_must_be_one() -> None:
    own = COLOURS[::-1].tobytes()
    np.testing.assert_array_equal(
        read(screen(2, 1) + frame([[0, 1]], palette=own) + b";").rgb[0], COLOURS[[3, 2]]
    )
    np.testing.assert_array_equal(
        read(screen(2, 1, b"") + frame([[0, 1]], palette=own) + b";").rgb[0], COLOURS[[3, 2]]
    )
    with pytest.raises(UnsupportedVariantError, match="no palette"):
        read(screen(2, 1, b"") + frame([[0, 1]]) + b";")


def test_a_grey_ramp_and_its_reverse_are_not_taken_for_each_other() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(ramp).convert("P")
    image.putpalette([255 - index for index in range(256) for _ in range(3)])
    np.testing.assert_array_equal(read(saved(image, "GIF")).rgb[..., 0], 255 - ramp)
    np.testing.assert_array_equal(read(saved(Image.fromarray(ramp), "GIF")).rgb[..., 0], ramp)


@pytest.mark.parametrize("interlace", [0, 1])
def test_interlaced_frames_are_put_in_order(interlace: int) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(32, 8)
    np.testing.assert_array_equal(
        read(saved(Image.fromarray(ramp), "GIF", interlace=interlace)).rgb[..., 0], ramp
    )


def test_pixels_outside_of_the_palette_are_told() -> None:
    file = screen(2, 1)[:10] + b"\x80\0\0" + COLOURS[:2].tobytes() + frame([[0, 3]]) + b";"
    made = decoded(file)
    assert made.picture.rgb[0].tolist() == [[255, 0, 0], [0, 0, 0]]
    assert made.warnings


def test_frames_are_counted() -> None:
    with pytest.raises(AnimatedImageError, match="3 frames"):
        read(screen(2, 1) + 3 * (control(None) + frame([[0, 1]])) + b";")


def test_what_is_cut_off_is_damage() -> None:
    whole = saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)), "GIF")
    for size in (10, 13, 800, len(whole) // 2):
        with pytest.raises(DamagedImageError):
            read(whole[:size])
    assert read(whole[:-1]).width == 40, "the last byte alone says nothing"


@pytest.mark.parametrize("part", [b"!\xfe\0", b"!\xfe\1x\0", b"\0", control(None)])
def test_floods_of_blocks_are_bounded(part: bytes) -> None:
    with pytest.raises(DamagedImageError, match="too many parts"):
        read_header(screen(1, 1) + (MAX_BLOCKS + 1) * part, max_pixels=LIMIT)
    sub_blocks = b"!\xfe" + (MAX_BLOCKS + 1) * b"\1x"
    with pytest.raises(DamagedImageError, match="too many parts"):
        read_header(screen(1, 1) + sub_blocks, max_pixels=LIMIT)
