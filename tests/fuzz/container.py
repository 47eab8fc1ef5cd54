"""Fuzz target: a stream to its parser and, with the tiny model of the golden streams or as AVIF,
all the way to pixels.

Only `BitstreamError`s may come out, and a stream that decodes is what its header says. Bytes at
random would all fail at the checksum: the mutator changes fields and sections of a well-formed
stream and writes a right checksum behind them.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np

from models import Target
from models.bitstream import Bitstream, CodecKind, Metadata
from models.errors import BitstreamError
from models.hybrid.codec import HybridCodec
from models.metadata import pack, trusted, unpack
from models.picture import Picture
from models.rate_control import Position
from tests.make_golden import GOLDEN, tiny_codec
from tests.models.metadata import samples

MAX_PIXELS = 1 << 16
_CODEC = tiny_codec()
_HYBRID = HybridCodec()


def seeds() -> dict[str, bytes]:
    """The golden streams, and small ones with alpha, in grey, of one pixel and with metadata."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (33, 47, 3), np.uint8)
    alpha = rng.integers(0, 256, (33, 47), np.uint8)
    pictures = {
        "alpha": Picture(rgb, alpha, False),
        "grey": Picture(np.repeat(rgb[..., :1], 3, axis=2), None, True),
        "grey-alpha": Picture(np.repeat(rgb[..., :1], 3, axis=2), alpha, True),
        "pixel": Picture(rgb[:1, :1], None, False),
        "wide": Picture(np.resize(rgb, (1, 700, 3)), None, False),
    }
    made = {
        name: _CODEC.encode([picture], [Target(quality=60)])[0].data for name, picture in pictures.items()
    }
    made |= {
        f"hybrid-{name}": _HYBRID.encode(picture, Target(quality=20)).data
        for name, picture in pictures.items()
    }
    section = pack(Metadata(samples.exif(), samples.XMP))
    made |= {
        f"{name}-metadata": replace(Bitstream.parse(made[name]), metadata=section).to_bytes()
        for name in ("pixel", "hybrid-alpha")
    }
    return made | {path.stem: path.read_bytes() for path in GOLDEN.glob("*.zgt")}


def check(data: bytes) -> str:
    """Parse, spell again, decode."""
    try:
        stream = Bitstream.parse(data, max_pixels=MAX_PIXELS)
    except BitstreamError as error:
        return f"not parsed: {type(error).__name__}"
    assert stream.to_bytes() == data, "a stream has one spelling"
    assert stream.width * stream.height <= MAX_PIXELS
    try:
        if stream.codec is CodecKind.HYBRID:
            picture = _HYBRID.decode(data, max_pixels=MAX_PIXELS)
        else:
            picture = _CODEC.decode([data], max_pixels=MAX_PIXELS)[0]
    except BitstreamError as error:
        return f"not decoded: {type(error).__name__}"
    assert (picture.width, picture.height, picture.greyscale) == (
        stream.width,
        stream.height,
        stream.greyscale,
    )
    assert (picture.alpha is None) == (stream.alpha is None)
    if stream.metadata is not None:
        sound = trusted(unpack(stream.metadata), stream.width, stream.height)
        assert trusted(sound, stream.width, stream.height) == sound, "what is handed on is sound"
    return "decoded"


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change one field or section of a sound stream; now and then bytes anywhere."""
    import atheris

    rng = random.Random(seed)
    if rng.random() < 0.4:  # coverage shrinks inputs until little is left to decode
        data = rng.choice(_streams())
    try:
        stream = Bitstream.parse(data)
    except BitstreamError:
        stream = None
    if stream is None or rng.random() < 0.1:
        mutated = atheris.Mutate(data, max_size)
        return with_checksum(mutated) if rng.random() < 0.7 else mutated
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        stream = _changed(stream, rng, atheris.Mutate, max_size // 4)
    with suppress(ValueError):  # changed to what the format cannot hold
        return stream.to_bytes()[:max_size]
    return data


@cache
def _streams() -> list[bytes]:
    return list(seeds().values())


def with_checksum(data: bytes) -> bytes:
    """The same bytes with a right CRC-32 in place of the last four."""
    body = data[:-4]
    return body + zlib.crc32(body).to_bytes(4, "little")


def _changed(
    stream: Bitstream, rng: random.Random, mutated: Callable[[bytes, int], bytes], room: int
) -> Bitstream:
    match rng.choice(
        ("z", "y", "y", "alpha", "size", "size", "quality", "greyscale", "postprocess", "metadata")
    ):
        case "z":
            return replace(stream, z=mutated(stream.z, room))
        case "y":
            return replace(stream, y=mutated(stream.y, room))
        case "alpha" if stream.alpha is not None:
            return replace(
                stream, alpha=None if rng.random() < 0.1 else png_with_checksums(mutated(stream.alpha, room))
            )
        case "alpha":
            return stream
        case "size":
            width, height = (
                max(1, rng.choice((side - 1, side + 1, side + 16, rng.randrange(1, 400), side)))
                for side in (stream.width, stream.height)
            )
            return replace(stream, width=width, height=height)
        case "quality":
            return replace(stream, position=Position(rng.choice((0, 65535, rng.randrange(65536)))))
        case "metadata":
            found = Metadata()
            with suppress(BitstreamError):  # changed before
                found = unpack(stream.metadata or b"")
            exif, xmp = (mutated(part or b"", room) for part in (found.exif, found.xmp))
            changed = pack(Metadata(exif, xmp if rng.random() < 0.8 else None)) or b""
            return replace(stream, metadata=changed if rng.random() < 0.8 else mutated(changed, room))
        case "greyscale":
            return replace(stream, greyscale=not stream.greyscale)
        case _:
            return replace(stream, postprocess=not stream.postprocess)


def png_with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right CRC-32, as far as its chunk lengths can be followed."""
    png, offset = bytearray(data), 8
    while offset + 12 <= len(png):
        end = offset + 8 + int.from_bytes(png[offset : offset + 4], "big")
        if end + 4 > len(png):
            break
        png[end : end + 4] = zlib.crc32(png[offset + 4 : end]).to_bytes(4, "big")
        offset = end + 4
    return bytes(png)
