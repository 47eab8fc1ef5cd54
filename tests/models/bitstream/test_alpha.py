"""models.bitstream.alpha"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models import Picture
from models.bitstream import Bitstream, CodecKind
from models.bitstream.alpha import decode_alpha, encode_alpha
from models.errors import DamagedStreamError
from models.rate_control import COARSEST

PLANE = np.random.default_rng(2).integers(0, 255, (5, 7), np.uint8)


def stream(alpha: bytes | None) -> Bitstream:
    """A stream of 7x5 pixels."""
    return Bitstream(
        codec=CodecKind.LEARNED,
        model_id=bytes(4),
        width=7,
        height=5,
        position=COARSEST,
        greyscale=False,
        postprocess=False,
        z=b"",
        y=b"",
        alpha=alpha,
    )


def png(image: Image.Image, *, optimize: bool = False) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=optimize)
    return file.getvalue()


def test_a_plane_comes_back_exactly() -> None:
    picture = Picture(np.zeros((5, 7, 3), np.uint8), PLANE, greyscale=True)
    alpha = decode_alpha(stream(encode_alpha(picture)))
    assert alpha is not None
    assert np.array_equal(alpha, PLANE)


def test_noise_of_two_values_is_written_without_the_longest_search() -> None:
    """That search takes seconds a megapixel here, and finds next to nothing."""
    plane = 255 * np.random.default_rng(0).integers(0, 2, (256, 256), np.uint8)
    section = encode_alpha(Picture(np.zeros((256, 256, 3), np.uint8), plane, greyscale=True))
    longest = png(Image.fromarray(plane), optimize=True)
    assert section is not None
    assert len(longest) < len(section) < 1.06 * len(longest)
    decoded = decode_alpha(replace(stream(section), width=256, height=256))
    assert decoded is not None
    assert np.array_equal(decoded, plane)


def test_a_cut_out_shape_is_smaller_by_its_runs() -> None:
    rows, columns = np.mgrid[:256, :256] - 128
    plane = np.clip(128 + 255 * (100 - np.hypot(rows, columns)), 0, 255).astype(np.uint8)
    section = encode_alpha(Picture(np.zeros((256, 256, 3), np.uint8), plane, greyscale=True))
    assert section is not None
    assert len(section) < len(png(Image.fromarray(plane), optimize=True))


def test_an_opaque_picture_has_none() -> None:
    picture = Picture(np.zeros((5, 7, 3), np.uint8), None, greyscale=True)
    assert encode_alpha(picture) is None
    assert decode_alpha(stream(None)) is None


@pytest.mark.parametrize(
    "image", [Image.new("RGB", (7, 5)), Image.new("L", (5, 7)), Image.new("L", (9999, 5))]
)
def test_a_png_of_another_kind_is_damage(image: Image.Image) -> None:
    with pytest.raises(DamagedStreamError, match="not a greyscale PNG of the picture's size"):
        decode_alpha(stream(png(image)))


@pytest.mark.parametrize(
    "section", [b"", b"GIF89a", png(Image.fromarray(PLANE))[:-40]], ids=["empty", "GIF", "cut off"]
)
def test_what_is_no_png_or_cut_off_is_damage(section: bytes) -> None:
    with pytest.raises(DamagedStreamError, match="not a readable PNG"):
        decode_alpha(stream(section))


def test_a_section_longer_than_any_plane_is_refused_unread() -> None:
    section = stream(png(Image.fromarray(PLANE)) + bytes(2000))
    with pytest.raises(DamagedStreamError, match="longer than any plane"):
        decode_alpha(section)
