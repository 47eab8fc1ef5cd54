"""AVIF files to pixels, by Pillow: of files that `models.avif.section` restored."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL.AvifImagePlugin import AvifImageFile

from models.errors import DamagedStreamError


def decode(file: bytes, *, width: int, height: int) -> NDArray[np.uint8]:
    """Decode a file of this size, (H, W, 3).

    Raises:
        DamagedStreamError: it cannot be decoded, or is of another size.
    """
    try:
        # Not Image.open, whose limit against decompression bombs is the process's: the size was
        # checked, and `restore` wrote it itself.
        with AvifImageFile(io.BytesIO(file)) as image:
            if image.size != (width, height):
                raise DamagedStreamError("the AV1 frame is not of the picture's size")
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except (DamagedStreamError, MemoryError):
        raise
    except Exception as error:  # Pillow may raise anything on hostile bytes
        raise DamagedStreamError("the AV1 frame cannot be decoded") from error
