"""The AV1 frame in a hybrid stream, read without a network: a process for it is small."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL.AvifImagePlugin import AvifImageFile

from models.avif.section import restore
from models.bitstream import Bitstream, CodecKind
from models.bitstream.alpha import decode_alpha
from models.errors import DamagedStreamError, UnknownModelError
from models.hybrid import MODEL_ID
from models.picture import Picture


def decode(stream: Bitstream) -> Picture:
    """Decode the picture in the AV1 frame, and its alpha plane.

    Raises:
        UnknownModelError: the stream is another codec's.
        DamagedStreamError: frame or alpha section cannot be decoded.
    """
    if stream.codec is not CodecKind.HYBRID or stream.model_id.hex() != MODEL_ID:
        raise UnknownModelError(stream.model_id.hex())
    alpha = decode_alpha(stream)
    return Picture(rgb=_decode(file_of(stream), stream), alpha=alpha, greyscale=stream.greyscale)


def file_of(stream: Bitstream) -> bytes:
    """Restore the AVIF file in a stream."""
    return restore(stream.y, width=stream.width, height=stream.height, mono=stream.greyscale)


def _decode(file: bytes, stream: Bitstream) -> NDArray[np.uint8]:
    """Decode the pixels of a stream's file, (H, W, 3)."""
    try:
        # Not Image.open, whose limit against decompression bombs is the process's: the size was
        # checked, and `restore` wrote it itself.
        with AvifImageFile(io.BytesIO(file)) as image:
            if image.size != (stream.width, stream.height):
                raise DamagedStreamError("the AV1 frame is not of the picture's size")
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except (DamagedStreamError, MemoryError):
        raise
    except Exception as error:  # Pillow may raise anything on hostile bytes
        raise DamagedStreamError("the AV1 frame cannot be decoded") from error
