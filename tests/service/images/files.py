"""Image files made by hand, and how they are read."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import Picture
from service.images import Decoded, decode

LIMIT = 1_000_000


def read(file: bytes) -> Picture:
    return decoded(file).picture


def decoded(file: bytes) -> Decoded:
    return decode(file, max_pixels=LIMIT)


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


# PNG


def png_chunk(name: bytes, content: bytes, checksum: int | None = None) -> bytes:
    if checksum is None:
        checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png_of(
    rows: Sequence[bytes], width: int, depth: int, kind: int, *chunks: bytes, interlace: int = 0
) -> bytes:
    """A PNG of unfiltered rows; `chunks` lie before the samples."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, interlace)
    samples = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            *chunks,
            png_chunk(b"IDAT", samples),
            png_chunk(b"IEND", b""),
        ]
    )


def png_with(file: bytes, *chunks: bytes) -> bytes:
    """A PNG with chunks behind its header."""
    return file[:33] + b"".join(chunks) + file[33:]


# TIFF

TiffTags = Mapping[int, int | Sequence[int] | bytes]


def tiff_of(tags: TiffTags, parts: Sequence[bytes], *, order: str = "<", big: bool = False) -> bytes:
    """A TIFF of one directory; the parts are its strips, or its tiles where tag 322 is given."""
    return tiff_of_pages([(tags, parts)], order=order, big=big)


def tiff_of_pages(
    pages: Sequence[tuple[TiffTags, Sequence[bytes]]], *, order: str = "<", big: bool = False
) -> bytes:
    file = bytearray(b"II" if order == "<" else b"MM")
    word = "Q" if big else "I"
    file += struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    pointer_at = len(file) - struct.calcsize("=" + word)
    for tags, parts in pages:
        starts = []
        for part in parts:
            starts.append(len(file))
            file += part
        where, sizes = (324, 325) if 322 in tags else (273, 279)
        everything = {**tags, where: starts, sizes: [len(part) for part in parts]}
        entries = b""
        for tag, value in sorted(everything.items()):
            if isinstance(value, bytes):
                kind, count, packed = 7, len(value), value
            else:
                numbers = [value] if isinstance(value, int) else list(value)
                kind, count = (4, len(numbers)) if tag in (where, sizes) else (3, len(numbers))
                packed = struct.pack(f"{order}{count}{'I' if kind == 4 else 'H'}", *numbers)
            inline = 8 if big else 4
            if len(packed) <= inline:
                field = packed.ljust(inline, b"\0")
            else:
                field = struct.pack(order + word, len(file))
                file += packed
            entries += struct.pack(order + "HH" + word, tag, kind, count) + field
        struct.pack_into(order + word, file, pointer_at, len(file))
        file += struct.pack(order + ("Q" if big else "H"), len(everything)) + entries
        pointer_at = len(file)
        file += struct.pack(order + word, 0)
    return bytes(file)


# ISOBMFF


def box(name: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + name + content


def avif_with(file: bytes, properties: Sequence[bytes]) -> bytes:
    """An AVIF of Pillow's, whose primary item gets these property boxes too, behind its own."""
    from models.avif.isobmff import boxes

    top = dict(boxes(file))
    meta = dict(boxes(top[b"meta"][4:]))
    iprp = dict(boxes(meta[b"iprp"]))
    known = len(list(boxes(iprp[b"ipco"])))
    ipma = bytearray(iprp[b"ipma"])
    assert ipma[:8] == bytes(7) + b"\1" or ipma[4:8] == b"\0\0\0\1", "one item, of short numbers"
    ipma[10] += len(properties)
    essential = {b"irot": 0x80, b"imir": 0x80, b"clap": 0x80}
    ipma += bytes(
        known + 1 + index | essential.get(content[4:8], 0) for index, content in enumerate(properties)
    )
    added = sum(map(len, properties)) + len(properties)
    new_iprp = box(b"iprp", box(b"ipco", iprp[b"ipco"], *properties), box(b"ipma", bytes(ipma)))
    parts = []
    for name, content in boxes(top[b"meta"][4:]):
        if name == b"iprp":
            parts.append(new_iprp)
        elif name == b"iloc":  # version 0, offsets and lengths of 4 bytes, one extent an item
            moved = bytearray(content)
            for item in range(int.from_bytes(content[6:8], "big")):
                at = 8 + 14 * item + 6
                (offset,) = struct.unpack_from(">I", moved, at)
                struct.pack_into(">I", moved, at, offset + added)
            parts.append(box(b"iloc", bytes(moved)))
        else:
            parts.append(box(name, content))
    return box(b"ftyp", top[b"ftyp"]) + box(b"meta", top[b"meta"][:4], *parts) + box(b"mdat", top[b"mdat"])


def clap(width: int, height: int, right: int, down: int, *, halves: bool = False) -> bytes:
    """A clean aperture, whose offsets are in pixels, or in halves of them."""
    below = 2 if halves else 1
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, right, below, down, below))


def nclx(primaries: int, transfer: int, matrix: int = 6) -> bytes:
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, matrix, 0x80))


# Colour


def matrix_profile(gamma: float, space: bytes = b"RGB ") -> bytes:
    """A minimal profile of version 2: sRGB's primaries (adapted to D50), a power as its curve."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    if space == b"GRAY":
        tags |= {b"kTRC": curve}
    else:
        tags |= {
            b"rXYZ": xyz(0.4360, 0.2225, 0.0139),
            b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
            b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
        }
    table = struct.pack(">I", len(tags))
    body = b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content
    size = 128 + len(table) + len(body)
    header = struct.pack(
        ">I4sI4s4s4s12s4s", size, b"\0" * 4, 0x02100000, b"mntr", space, b"XYZ ", b"\0" * 12, b"acsp"
    )
    header += b"\0" * (68 - len(header)) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


# Pictures


def gradient(width: int = 48, height: int = 32) -> NDArray[np.float64]:
    """(H, W, 3) of 0 to 1, another one in each corner and each band."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x / (width - 1), y / (height - 1), 1 - x / (width - 1)], axis=2)


def in_8_bits(samples: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.round(255 * samples).astype(np.uint8)
