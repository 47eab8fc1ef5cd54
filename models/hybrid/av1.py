"""The AV1 frame in a hybrid stream, read without a network: a process for it is small."""

from __future__ import annotations

from models.avif.decoder import decode as decode_file
from models.avif.section import restore
from models.bitstream import Bitstream, CodecKind
from models.bitstream.alpha import decode_alpha
from models.errors import UnknownModelError
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
    rgb = decode_file(file_of(stream), width=stream.width, height=stream.height)
    return Picture(rgb=rgb, alpha=alpha, greyscale=stream.greyscale)


def file_of(stream: Bitstream) -> bytes:
    """Restore the AVIF file in a stream."""
    return restore(stream.y, width=stream.width, height=stream.height, mono=stream.greyscale)
