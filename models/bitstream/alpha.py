"""The alpha plane's section in a stream: a greyscale PNG, lossless [format]."""

from __future__ import annotations

import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bitstream.container import Bitstream
from models.errors import DamagedStreamError
from models.picture import Picture

# Two ways to compress, neither of which takes much more than linear time. Level 9 looks for matches
# so long in noise of two values that a megapixel takes 1.4 s, these both 0.2. Runs alone are best
# for cut-out shapes (5 % smaller than level 9), level 7 for soft shadows and hair (10 % larger).
_WAYS = ({"compress_level": 7}, {"compress_level": 6, "compress_type": zlib.Z_RLE})
_PNG_DEPTH_OFFSET = 24  # in the header chunk, behind signature, length, type, width and height


def encode_alpha(picture: Picture) -> bytes | None:
    """Write the section, the smallest of a few; None for an opaque picture."""
    if picture.alpha is None:
        return None
    image = Image.fromarray(picture.alpha)
    return min((_png(image, way) for way in _WAYS), key=len)


def _png(image: Image.Image, way: dict[str, int]) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **way)
    return file.getvalue()


def decode_alpha(stream: Bitstream) -> NDArray[np.uint8] | None:
    """Read the alpha plane, (H, W) of uint8; None for an opaque picture. Nothing larger is decoded.

    Raises:
        DamagedStreamError: the section is not a greyscale PNG of the picture's size.
    """
    if stream.alpha is None:
        return None
    # Even stored without compression the plane takes less. What is longer is chunks that Pillow
    # walks one by one, a minute for 64 MiB.
    if len(stream.alpha) > 1024 + (stream.width + 1) * stream.height * 5 // 4:
        raise DamagedStreamError("the alpha section is longer than any plane of the picture's size")
    try:
        with Image.open(io.BytesIO(stream.alpha), formats=["PNG"]) as image:
            # Before any pixel is decoded. Pillow calls planes of 2 and 4 bits "L" too.
            eight_bits = stream.alpha[_PNG_DEPTH_OFFSET] == 8
            if image.mode != "L" or not eight_bits or image.size != (stream.width, stream.height):
                raise DamagedStreamError("the alpha section is not a greyscale PNG of the picture's size")
            return np.array(image)
    except (DamagedStreamError, MemoryError):
        raise
    except Exception as error:  # Pillow may raise anything on hostile bytes
        raise DamagedStreamError("the alpha section is not a readable PNG") from error
