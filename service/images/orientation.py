"""Orientation: how a picture lies in its file, 1 to 8 as EXIF counts, and how to turn it upright.

Only EXIF's own tag is believed. Editors turn pictures and set it to 1, and leave XMP as it was.
"""

from __future__ import annotations

import struct

from PIL import Image

_TAG = 0x0112
_SHORT = 3
_MAX_ENTRIES = 1000  # of a directory; an honest one has some dozens

_STEPS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
# AVIF turns anticlockwise by quarters, then mirrors: top and bottom (0), or left and right (1).
_TURNED_AND_MIRRORED = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip


def of_exif(exif: bytes) -> int:
    """The orientation in an EXIF block, with or without "Exif" before it; 1 where it has none.

    A damaged block counts as absent: it is no reason to refuse sound pixels.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, at)
        for index in range(min(count, _MAX_ENTRIES)):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, at + 2 + 12 * index)
            if tag == _TAG:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def of_turn(quarters: int, mirror: int | None) -> int:
    """The orientation that AVIF's `irot` (quarters) and `imir` (0, 1 or None) make together."""
    return _TURNED_AND_MIRRORED[quarters % 4, mirror]


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned as its orientation says."""
    for step in _STEPS.get(orientation, ()):
        image = image.transpose(step)
    return image
