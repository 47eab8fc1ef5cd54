"""The alpha plane's section in a stream: a greyscale PNG, lossless [format]."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bitstream.container import Bitstream
from models.errors import DamagedStreamError
from models.picture import Picture

_PNG_DEPTH_OFFSET = 24  # in the header chunk, behind signature, length, type, width and height


def encode_alpha(picture: Picture) -> bytes | None:
    """Write the section; None for an opaque picture."""
    if picture.alpha is None:
        return None
    file = io.BytesIO()
    Image.fromarray(picture.alpha).save(file, "PNG", optimize=True)
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
