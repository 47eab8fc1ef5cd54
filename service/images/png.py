"""PNG (W3C, third edition): its chunks, and its samples at their own depth.

Pillow is given the header, the palette and the compressed samples alone. Text, profiles and the
rest are read here or not at all, so that none of them keeps a picture from being read.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from . import png_text
from .colour import Colour, described, image_of
from .errors import AnimatedImageError, DamagedImageError, UnsupportedVariantError
from .facts import Coded, Facts, Header, Pixels
from .orientation import of_exif
from .pillow import opened, silenced

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_CHUNKS = 200_000  # an encoder that writes 512 bytes at a time needs as many for 100 MB
MAX_PROFILE_BYTES = 1 << 24  # of an ICC profile, inflated; the largest of printers have a few MB

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_DEPTHS = {
    _GREY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GREY_ALPHA: (8, 16),
    _RGBA: (8, 16),
}
_READ = (b"acTL", b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"tRNS", b"eXIf")
# gAMA 1 / 2.2 is what sRGB's curve is called where there are only powers.
_LIKE_SRGB = range(43_000, 48_000)


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Parts of a file.

    Attributes:
        header: of IHDR.
        palette: of PLTE, or empty.
        samples: of all IDAT chunks, as they lie in the file with their lengths and checksums.
        others: those that matter here, by name; of several the first.
        texts: name and content of text chunks with metadata, by keyword; of several the first.
    """

    header: bytes
    palette: bytes
    samples: tuple[tuple[int, int], ...]
    others: dict[bytes, bytes]
    texts: dict[bytes, tuple[bytes, bytes]]


def read(file: bytes) -> Facts:
    """The facts of a PNG file.

    Raises:
        AnimatedImageError: it has several frames.
        DamagedImageError: a critical chunk is missing or does not match its checksum.
        UnsupportedVariantError: Apple's own kind, or HDR.
    """
    chunks = _chunks(file)
    width, height, depth, kind, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks.header)
    if depth not in _DEPTHS.get(kind, ()) or not (width and height):
        raise DamagedImageError("the PNG image's header makes no sense")
    if compression or filtering or interlace > 1:
        raise UnsupportedVariantError("PNG", "an unknown compression, filter or interlace method")
    if kind == _PALETTE and not chunks.palette:
        raise DamagedImageError("the PNG image has no palette")
    animation = chunks.others.get(b"acTL", b"")
    if len(animation) >= 8 and (frames := int.from_bytes(animation[:4], "big")) > 1:
        raise AnimatedImageError(frames)
    return Facts(
        Header("PNG", width, height),
        lambda: _decode(file, chunks, depth, kind),
        orientation=of_exif(chunks.others.get(b"eXIf", b"")),
        colour=_colour(chunks.others),
        metadata=png_text.metadata_in(chunks.others.get(b"eXIf"), chunks.texts),
        iptc=png_text.RAW_IPTC in chunks.texts,
    )


def _chunks(file: bytes) -> _Chunks:
    header = palette = b""
    samples: list[tuple[int, int]] = []
    others: dict[bytes, bytes] = {}
    texts: dict[bytes, tuple[bytes, bytes]] = {}
    at = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(file):  # the end is missing; whether samples are too, decoding tells
            break
        size = int.from_bytes(file[at : at + 4], "big")
        name = file[at + 4 : at + 8]
        end = at + 12 + size
        if name == b"IEND":
            break
        if name == b"CgBI":
            raise UnsupportedVariantError("PNG", "Apple's CgBI chunk, which is no PNG for others,")
        critical = not name[0] & 0x20
        text = png_text.keyword(file[at + 8 : at + 88]) if name in png_text.NAMES else None
        if critical or name in _READ or text is not None:
            content = memoryview(file)[at + 8 : at + 8 + size]
            sound = zlib.crc32(content, zlib.crc32(name)) == int.from_bytes(file[end - 4 : end], "big")
            if critical and not sound and end <= len(file):
                raise DamagedImageError(f"the PNG image's {name.decode('latin-1')} chunk is corrupt")
            if not header:
                if name != b"IHDR" or size != 13 or end > len(file):
                    raise DamagedImageError("the PNG image is truncated or corrupt in its header")
                header = bytes(content)
            elif name == b"PLTE":
                palette = palette or bytes(content)
            elif name == b"IDAT":
                samples.append((at, min(end, len(file))))
            elif critical and sound:
                raise UnsupportedVariantError("PNG", f"a critical chunk {name.decode('latin-1')}")
            elif sound and text is not None:
                texts.setdefault(text, (name, bytes(content)))
            elif sound and (not samples or name in (b"eXIf", b"acTL")):
                others.setdefault(name, bytes(content))
        at = end
    else:
        raise DamagedImageError("the PNG image has too many parts")
    if not header or not samples:
        raise DamagedImageError("the PNG image is truncated or corrupt in its header")
    return _Chunks(header, palette, tuple(samples), others, texts)


def _colour(chunks: dict[bytes, bytes]) -> Colour:
    """The colour by the first of cICP, iCCP, sRGB, and gAMA with cHRM, that says something."""
    if len(coding := chunks.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full_range = coding
        if (matrix == 0 and full_range == 1) or transfer in (16, 18):
            if (colour := described(primaries, transfer, "PNG")) is not None:
                return colour
        elif full_range == 0:
            raise UnsupportedVariantError("PNG", "narrow-range samples (cICP)")
    numbers = Colour()
    if b"sRGB" not in chunks:
        numbers = Colour(None, _primaries(chunks.get(b"cHRM", b"")), _gamma(chunks.get(b"gAMA", b"")))
    return Colour(_profile(chunks.get(b"iCCP", b"")), numbers.primaries, numbers.gamma)


def _profile(chunk: bytes) -> bytes | None:
    """The ICC profile; None for a broken one, or one that inflates beyond the limit."""
    _, _, coded = chunk.partition(b"\0")
    if coded[:1] != b"\0":
        return None
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(coded[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return None if inflater.unconsumed_tail else profile


def _primaries(chunk: bytes) -> tuple[float, ...] | None:
    if len(chunk) != 32:
        return None
    primaries = tuple(value / 100_000 for value in struct.unpack(">8I", chunk))
    srgb = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
    if all(abs(value - known) < 0.002 for value, known in zip(primaries, srgb, strict=True)):
        return None
    return primaries if primaries[1] > 0 else None


def _gamma(chunk: bytes) -> float | None:
    value = int.from_bytes(chunk, "big") if len(chunk) == 4 else 0
    # Beyond these no picture could be recognised: the chunk is nonsense.
    return None if value in _LIKE_SRGB or not 1_000 <= value <= 1_000_000 else 100_000 / value


def _decode(file: bytes, chunks: _Chunks, depth: int, kind: int) -> Coded:
    stripped = _stripped(file, chunks)
    key = chunks.others.get(b"tRNS", b"")
    if kind == _PALETTE:
        return _in_palette(stripped, chunks.palette, key)
    bands = {_GREY: 1, _RGB: 3, _GREY_ALPHA: 2, _RGBA: 4}[kind]
    pixels: Pixels
    if depth == 16:
        samples = _16_bits(stripped, kind)
        if kind in (_GREY, _RGB) and len(key) == 2 * bands:
            opaque = (samples != np.frombuffer(key, ">u2")).any(axis=2)
            samples = np.dstack([samples, np.where(opaque, 65535, 0).astype(np.uint16)])
        return Coded(samples)
    with silenced():
        image = opened(stripped, "PNG")
        image.load()
    pixels = image.convert("L") if image.mode == "1" else image
    if kind in (_GREY, _RGB) and len(key) == 2 * bands:
        # A colour key has the samples' own depth; Pillow has scaled them to 8 bits.
        scaled = (np.frombuffer(key, ">u2") & (1 << depth) - 1) * (255 // ((1 << depth) - 1))
        if depth == 8:
            scaled = np.frombuffer(key, ">u2")  # one over 255 matches nothing
        samples8 = np.asarray(pixels).reshape(image.height, image.width, bands)
        opaque = (samples8 != scaled).any(axis=2)
        pixels.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
    return Coded(pixels)


def _stripped(file: bytes, chunks: _Chunks) -> bytes:
    """A PNG file of nothing but what makes the samples."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    idat = (memoryview(file)[start:end] for start, end in chunks.samples)
    palette = chunk(b"PLTE", chunks.palette) if chunks.palette else b""
    end = chunk(b"IEND", b"")
    return b"".join([SIGNATURE, chunk(b"IHDR", chunks.header), palette, *idat, end])


def _in_palette(stripped: bytes, palette: bytes, alphas: bytes) -> Coded:
    with silenced():
        image = opened(stripped, "PNG")
        image.load()
    indices = np.asarray(image)
    colours = np.zeros((256, 4), np.uint8)
    known = np.frombuffer(palette[: min(len(palette) // 3, 256) * 3], np.uint8).reshape(-1, 3)
    colours[: len(known), :3] = known
    colours[:, 3] = 255
    colours[: len(alphas[:256]), 3] = np.frombuffer(alphas[:256], np.uint8)
    warnings = ("pixels outside of the PNG image's palette are black",) if indices.max() >= len(known) else ()
    return Coded(image_of(colours[:, : 4 if alphas else 3][indices]), warnings)


def _16_bits(stripped: bytes, kind: int) -> NDArray[np.uint16]:
    """(H, W, 1..4) of uint16.

    Pillow has no modes for them, but takes apart a pixel's bytes in several ways: as 8-bit samples
    of as many bytes, or as 16-bit ones in either order, of which it keeps the high byte.
    """
    if kind in (_GREY, _GREY_ALPHA):
        mode, bands = ("LA", 2) if kind == _GREY else ("RGBA", 4)
        coded = _taken_apart(stripped, mode, mode).reshape(-1, bands // 2, 2).astype(np.uint16)
        samples = coded[..., 0] << 8 | coded[..., 1]
    else:
        mode, bands = ("RGB", 3) if kind == _RGB else ("RGBA", 4)
        high = _taken_apart(stripped, mode, mode + ";16B").astype(np.uint16)
        low = _taken_apart(stripped, mode, mode + ";16L").astype(np.uint16)
        samples = (high << 8 | low).reshape(-1, bands)
    width, height = struct.unpack_from(">II", stripped, len(SIGNATURE) + 8)
    return np.asarray(samples.reshape(height, width, -1), np.uint16)


def _taken_apart(stripped: bytes, mode: str, raw_mode: str) -> NDArray[np.uint8]:
    with silenced():
        image = opened(stripped, "PNG")
        assert isinstance(image, ImageFile.ImageFile)
        image._mode = mode
        image.tile = [image.tile[0]._replace(args=raw_mode)]
        image.load()
    return np.asarray(image)
