from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from service.images import orientation

PIXELS = np.arange(6, dtype=np.uint8).reshape(2, 3)


def exif(value: int, *, kind: int = 3, tag: int = 0x0112) -> bytes:
    entry = tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + b"\1\0\0\0" + value.to_bytes(4, "little")
    return b"II*\0\x08\0\0\0\1\0" + entry + bytes(4)


@pytest.mark.parametrize("value", range(1, 9))
def test_exif_tells_how_the_picture_lies(value: int) -> None:
    assert orientation.of_exif(exif(value)) == value
    assert orientation.of_exif(b"Exif\0\0" + exif(value)) == value


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        exif(6)[:-8],
        exif(9),
        exif(0),
        exif(6, kind=2),
        exif(6, tag=0x0113),
        b"II*\0\xff\xff\xff\xff",
    ],
)
def test_broken_exif_is_none(block: bytes) -> None:
    assert orientation.of_exif(block) == 1


@pytest.mark.parametrize(("quarters", "mirror"), list(itertools.product(range(4), (None, 0, 1))))
def test_avif_turns_anticlockwise_and_then_mirrors(quarters: int, mirror: int | None) -> None:
    expected = np.rot90(PIXELS, quarters)
    if mirror is not None:
        expected = expected[::-1] if mirror == 0 else expected[:, ::-1]

    turned = orientation.upright(Image.fromarray(PIXELS), orientation.of_turn(quarters, mirror))

    np.testing.assert_array_equal(np.asarray(turned), expected)
