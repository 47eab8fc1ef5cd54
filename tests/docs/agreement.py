"""Cases that the page's decoder and the codec must agree on, and both at hand."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bitstream import Bitstream
from models.errors import (
    BitstreamError,
    DamagedStreamError,
    NewerVersionError,
    NotAStreamError,
    OlderVersionError,
    StreamTooLargeError,
    TruncatedStreamError,
    UnknownModelError,
)
from models.learned.codec import LearnedCodec
from tests.docs.spec_decoder import load
from tests.make_golden import FIXTURES, GOLDEN

SPEC = load()
TINY = (FIXTURES / "tiny.safetensors").read_bytes()
TINY_ARRAYS = SPEC.read_model(TINY)[1]
STREAMS = sorted(GOLDEN.glob("*.zgt"))


def noise(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.asarray(Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).resize((width, height)))


CAUSES: dict[str, type[BitstreamError]] = {
    "not a stream": NotAStreamError,
    "newer version": NewerVersionError,
    "older version": OlderVersionError,
    "truncated": TruncatedStreamError,
    "damaged": DamagedStreamError,
    "too large": StreamTooLargeError,
    "unknown model": UnknownModelError,
}


def by_codec(codec: LearnedCodec, data: bytes, max_pixels: int | None = None) -> tuple[object, ...]:
    """Symbols of a stream as the codec reads them, or the class of its error."""
    try:
        symbols = codec.symbol_codec.read(Bitstream.parse(data, max_pixels=max_pixels))
    except BitstreamError as error:
        return (type(error),)
    fields = (symbols.width, symbols.height, symbols.position.index, symbols.greyscale, symbols.postprocess)
    return (*fields, symbols.z.tolist(), symbols.residuals.tolist())


def by_page(file: bytes, data: bytes, max_pixels: int | None = None) -> tuple[object, ...]:
    """Symbols of a stream as the page reads them, or the class of the error that its cause stands
    for.
    """
    try:
        fields, z, residuals = SPEC.decode_symbols(data, file, max_pixels)
    except SPEC.Refused as refused:
        return (CAUSES[refused.args[0]],)
    names = ("width", "height", "quality", "greyscale", "postprocess")
    return (*(fields[name] for name in names), z.tolist(), residuals.tolist())


def sealed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def assert_near(pixels: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    assert pixels.shape == expected.shape
    difference = np.abs(pixels.astype(int) - expected)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 3 + difference.size // 1000
