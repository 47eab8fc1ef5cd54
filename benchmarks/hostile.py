"""Hostile bytes: files and messages of a few bytes that cost whoever reads them much.

They are made here, like the pictures of `benchmarks.pictures`. Each function says what a reader has
to do for them, and sizes are arguments, so that tests can make small ones.
"""

from __future__ import annotations

import io
import json
import math
import random
import struct
import zlib
from collections.abc import Iterable
from functools import cache

import numpy as np
from PIL import Image

MAX_WEBP_SIDE = 16_384  # 14 bits
_BLOCK = 8  # pixels of a JPEG block's side
_LONGEST_RUN = 32_767  # blocks that one end-of-block run of JPEG covers


# WebP


def flat_webp(pixels: int) -> bytes:
    """A square, black, lossless WebP of about so many pixels, in some 28 bytes.

    Each of its five prefix codes has a single symbol, which takes no bits: a pixel takes none.
    """
    side = min(math.isqrt(pixels), MAX_WEBP_SIDE)
    fields = [(side - 1, 14), (side - 1, 14), (0, 1), (0, 3)]  # alpha, version
    fields += [(0, 1), (0, 1), (0, 1)]  # no transform, no colour cache, no meta prefix codes
    fields += 5 * [(1, 1), (0, 1), (0, 1), (0, 1)]  # a simple code of one symbol, of one bit: 0
    bits = 0
    count = 0
    for value, width in fields:
        bits |= value << count
        count += width
    content = b"\x2f" + bits.to_bytes((count + 7) // 8, "little")
    content += bytes(len(content) % 2)
    chunk = b"WEBPVP8L" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(chunk)) + chunk


# JPEG


def segment(marker: int, content: bytes) -> bytes:
    """A marker segment of JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def many_scans_jpeg(side: int, scans: int) -> bytes:
    """A grey, progressive JPEG. A decoder walks over all blocks of the picture for each scan."""
    blocks = (side // _BLOCK) ** 2
    # One bit for EOB14, the one symbol of the table, and 14 for how many blocks beyond 2^14.
    bits = math.ceil(blocks / _LONGEST_RUN) * ("0" + 14 * "1")
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    one_code = bytes([1]) + bytes(15)
    first = segment(0xDA, bytes([1, 1, 0x00, 0, 0, 0])) + bytes(blocks // 8)
    scan = segment(0xDA, bytes([1, 1, 0x00, 1, 63, 0])) + coded
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xDB, bytes([0]) + 64 * bytes([16])),
            segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0])),
            segment(0xC4, bytes([0x00]) + one_code + bytes([0x00])),
            segment(0xC4, bytes([0x10]) + one_code + bytes([0xE0])),
            first,
            scan * scans,
            b"\xff\xd9",
        )
    )


@cache
def _small_jpeg() -> bytes:
    return _saved(Image.new("RGB", (16, 16), "teal"), "JPEG")


def segments_jpeg(marker: int, content: bytes, count: int) -> bytes:
    """A small JPEG with the same segment many times before its picture."""
    whole = _small_jpeg()
    return whole[:2] + segment(marker, content) * count + whole[2:]


def exif_jpeg(size: int, segments: int) -> bytes:
    """A small JPEG of `size` bytes with so many Exif segments.

    Pillow adds each to what it has, and copies all of that for each.
    """
    content = size // segments - 4
    return segments_jpeg(0xE1, b"Exif\0\0".ljust(content, b"\0"), segments)


def fill_bytes_jpeg(size: int) -> bytes:
    """A small JPEG with so many fill bytes (0xFF, any number of which may precede a marker)."""
    whole = _small_jpeg()
    return whole[:2] + b"\xff" * size + whole[2:]


def icc_jpeg(profile: bytes) -> bytes:
    """A small JPEG with a profile, in as many segments as it takes (at most 255)."""
    most = 65_519
    parts = [profile[at : at + most] for at in range(0, len(profile), most)]
    whole = _small_jpeg()
    heads = (b"ICC_PROFILE\0" + bytes([number, len(parts)]) for number in range(1, len(parts) + 1))
    segments = (segment(0xE2, head + part) for head, part in zip(heads, parts, strict=True))
    return whole[:2] + b"".join(segments) + whole[2:]


def lut_profile(grid: int) -> bytes:
    """An ICC profile whose one table has grid^3 entries of 3 bytes."""
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    curves = bytes(range(256)) * 3
    table = b"mft1" + bytes(4) + bytes([3, 3, grid, 0]) + matrix + curves + bytes(3 * grid**3) + curves
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags_at = 128 + 4 + 2 * 12
    tags = struct.pack(">I4sII", 2, b"A2B0", tags_at + len(white), len(table))
    tags += struct.pack(">4sII", b"wtpt", tags_at, len(white))
    head = struct.pack(
        ">I4sI4s4s4s", tags_at + len(white) + len(table), b"lcms", 0x02400000, b"scnr", b"RGB ", b"Lab "
    )
    head = (head + struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")).ljust(68, b"\0")
    head = (head + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0")
    return head + tags + white + table


# PNG


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of PNG with its checksum."""
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png_with(chunks: bytes, width: int = 8, height: int = 8) -> bytes:
    """A grey PNG with chunks before its picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height))
    picture = png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + chunks + picture


def tiny_chunks_png(count: int) -> bytes:
    """A PNG of empty private chunks, 12 bytes each."""
    return png_with(png_chunk(b"prVt", b"") * count)


def zeros_deflated(megabytes: int) -> bytes:
    """So many megabytes of zeros, in a two hundredth of that."""
    deflate = zlib.compressobj(1)
    parts = [deflate.compress(bytes(1 << 20)) for _ in range(megabytes)]
    return b"".join((*parts, deflate.flush()))


def profile_bomb_png(megabytes: int) -> bytes:
    """A PNG whose iCCP chunk inflates to so many megabytes."""
    return png_with(png_chunk(b"iCCP", b"bomb\0\0" + zeros_deflated(megabytes)))


def text_bombs_png(texts: int, megabytes: int) -> bytes:
    """A PNG with so many zTXt chunks that inflate to so many megabytes each."""
    deflated = zeros_deflated(megabytes)
    keys = (f"text{number}".encode() for number in range(texts))
    return png_with(b"".join(png_chunk(b"zTXt", key + b"\0\0" + deflated) for key in keys))


def flat_png(pixels: int) -> bytes:
    """A black PNG of so many pixels, one bit each."""
    side = math.isqrt(pixels)
    return _saved(Image.new("1", (side, side)), "PNG")


def two_alphas_png(side: int) -> bytes:
    """A PNG of one colour whose alpha is 0 or 255 at random, as an optimiser likes least."""
    alpha = np.random.default_rng(0).integers(0, 2, (side, side), dtype=np.uint8) * 255
    picture = Image.new("RGB", (side, side), "teal")
    picture.putalpha(Image.fromarray(alpha))
    return _saved(picture, "PNG")


# GIF, TIFF, BMP, PPM


def tiny_blocks_gif(blocks: int) -> bytes:
    """A GIF with a comment in blocks of one byte, which are read one by one."""
    whole = _saved(Image.new("L", (8, 8)), "GIF")
    after_palette = 13 + 3 * (2 << (whole[10] & 7)) if whole[10] & 0x80 else 13
    comment = b"\x21\xfe" + b"\x01a" * blocks + b"\0"
    return whole[:after_palette] + comment + whole[after_palette:]


def _tiff(entries: Iterable[tuple[int, int, int, int]], extra: bytes = b"", following: int = 0) -> bytes:
    """A TIFF of one directory (tag, type, count, value or offset), and bytes behind it."""
    listed = sorted(entries)
    directory = struct.pack("<H", len(listed)) + b"".join(struct.pack("<HHII", *entry) for entry in listed)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", following) + extra


# 8x8 grey: width, height, bits, compression, black is zero, offset, samples, rows, bytes.
_GREY_TIFF = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
_GREY_TIFF += [(273, 4, 1, 0), (277, 3, 1, 1), (278, 3, 1, 8), (279, 4, 1, 64)]


def shared_values_tiff(tags: int, size: int) -> bytes:
    """A TIFF whose private tags all have the same `size` bytes as their value.

    A reader that keeps every tag's value keeps them `tags` times.
    """
    value_at = 8 + 2 + 12 * (len(_GREY_TIFF) + tags) + 4
    private = [(32_768 + number, 1, size, value_at) for number in range(tags)]
    return _tiff([*_GREY_TIFF, *private], bytes(size))


def pages_tiff(pages: int) -> bytes:
    """A TIFF of so many further pages, which share their pixels."""
    size = 2 + 12 * len(_GREY_TIFF) + 4
    places = [8 + number * size for number in range(1, pages + 1)]
    directory = _tiff(_GREY_TIFF)[8:-4]
    chain = b"".join(directory + struct.pack("<I", following) for following in (*places[1:], 0))
    return _tiff(_GREY_TIFF, chain, following=places[0])


def looping_tiff() -> bytes:
    """A TIFF whose next page is the first."""
    return _tiff(_GREY_TIFF, bytes(64), following=8)


def tiny_runs_bmp(size: int) -> bytes:
    """A BMP coded by RLE8, of runs of no pixels, 2 bytes each."""
    side = 2_000
    runs = b"\0\2\0\0" * (size // 4)  # "move by 0, 0"
    palette = bytes(256 * 4)
    start = 14 + 40 + len(palette)
    header = struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start)
    header += struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return header + palette + runs


def comments_ppm(size: int) -> bytes:
    """A plain PPM of so many bytes of comments. Pillow copies all that is left for each of them."""
    return b"P3\n64 64\n255\n" + b"#\n" * (size // 2)


# AVIF


@cache
def _small_avif() -> bytes:
    return _saved(Image.new("RGB", (64, 64), "teal"), "AVIF")


def avif_of(media: bytes) -> bytes:
    """An AVIF file with these bytes as its coded picture."""
    file = bytearray(_small_avif())
    extent_at = file.index(b"iloc") + 4 + 4 + 2 + 2 + 2 + 2 + 2  # version 0, one item of one extent
    struct.pack_into(">II", file, extent_at, len(file), len(media))
    return bytes(file) + media


def endless_number_avif(size: int) -> bytes:
    """An AVIF whose first unit has a length (LEB128) of so many bytes."""
    return avif_of(b"\x0a" + b"\xff" * size)


def tiny_units_avif(units: int) -> bytes:
    """An AVIF of so many empty padding units."""
    return avif_of(b"\x7a\x00" * units)


def tiny_boxes_avif(boxes: int) -> bytes:
    """An AVIF with so many empty boxes behind it."""
    return _small_avif() + b"\0\0\0\x08free" * boxes


# Messages


def wrong_ids(size: int) -> bytes:
    """JSON for /allocate whose ids are all of a wrong kind: a complaint for each of them."""
    return b'{"ids":[' + b"1," * (size // 2 - 6) + b"1]}"


def right_ids(count: int) -> bytes:
    """JSON for /allocate with so many ids that could be, and are not."""
    rng = random.Random(0)
    return json.dumps({"ids": [f"{rng.getrandbits(256):064x}" for _ in range(count)]}).encode()


def nested_json(depth: int) -> bytes:
    """Lists in lists."""
    return b'{"ids":' + b"[" * depth + b"]" * depth + b"}"


def form(*parts: tuple[str, bytes]) -> bytes:
    """A multipart body with the boundary "x": names and contents; a `file` is a file."""
    lines = []
    for name, content in parts:
        filename = '; filename="a.png"' if name == "file" else ""
        head = f'--x\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
        lines.append(head.encode() + content + b"\r\n")
    return b"".join(lines) + b"--x--\r\n"


def _saved(image: Image.Image, image_format: str) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format)
    return file.getvalue()
