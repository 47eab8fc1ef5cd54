"""Pictures and broken files that a service meets.

They are made here: no data set is needed, and every run sends the same.
"""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

# Width, height, format, options of Pillow, how often in a thousand uploads.
SIZES: tuple[tuple[int, int, str, dict[str, object], int], ...] = (
    (1, 1, "PNG", {}, 60),
    (7, 300, "PNG", {}, 60),
    (64, 64, "GIF", {}, 60),
    (160, 120, "BMP", {}, 80),
    (320, 240, "JPEG", {"quality": 85}, 300),
    (512, 512, "WEBP", {"quality": 80}, 200),
    (640, 480, "AVIF", {"quality": 70}, 80),
    (768, 512, "PNG", {}, 100),
    (1920, 1080, "JPEG", {"quality": 90}, 45),
    (4000, 3000, "JPEG", {"quality": 90}, 10),
    (6000, 4000, "JPEG", {"quality": 90}, 5),
)


@cache
def picture(width: int, height: int, image_format: str) -> bytes:
    """Make one of SIZES: light, edges and some texture, for rates as with photographs."""
    wanted = (width, height, image_format)
    options = next(entry[3] for entry in SIZES if entry[:3] == wanted)
    return _saved(_pixels(width, height), image_format, **options)


@cache
def small() -> bytes:
    """Make a picture that is compressed in an instant."""
    return _saved(_pixels(128, 96), "PNG")


@cache
def coarse() -> bytes:
    """Make a file with artefacts to take out."""
    return _saved(_pixels(640, 480), "JPEG", quality=30)


@cache
def broken() -> dict[str, tuple[bytes, int]]:
    """Make uploads that cannot be compressed, each with the status that it is answered with."""
    png = _saved(_pixels(64, 48), "PNG")
    jpeg = _saved(_pixels(320, 240), "JPEG")
    frame = _pixels(32, 31).resize((32, 32))
    animation = _saved(_pixels(32, 32), "GIF", save_all=True, append_images=[frame])
    return {
        "text": (b"hello", 415),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        "tga": (_saved(_pixels(32, 32), "TGA"), 415),
        "empty": (b"", 422),
        "truncated-jpeg": (jpeg[: len(jpeg) // 2], 422),
        "truncated-png": (png[: len(png) // 2], 422),
        "animation": (animation, 422),
        "bomb": (_png_header(16000, 16000), 413),
    }


def damaged(stream: bytes, wanted: str) -> bytes:
    """Make one thing of a stream wrong.

    Args:
        stream: a valid one.
        wanted: "truncated", "damaged", "foreign", "newer" or "unknown-model".
    """
    match wanted:
        case "truncated":
            return stream[: len(stream) // 2]
        case "damaged":
            return stream[:-6] + bytes([stream[-6] ^ 1]) + stream[-5:]
        case "newer":
            return stream[:3] + b"\2" + stream[4:]
        case "unknown-model":
            body = stream[:6] + b"none" + stream[10:-4]
            return body + zlib.crc32(body).to_bytes(4, "little")
        case _:
            return b"RIFF" + stream


def _pixels(width: int, height: int) -> Image.Image:
    rows, columns = np.ogrid[0:height, 0:width]
    light = 120 + 60 * np.sin(rows / 97 + 0.3) + 50 * np.sin(columns / 131)
    edges = np.where((rows // 53 + columns // 71) % 2, 25, -25)
    rng = np.random.default_rng(width * height)
    texture = rng.normal(0, 6, (height, width)).astype(np.float32)
    planes = [light + edges + texture, light - edges, 200 - light / 2 + texture]
    pixels = np.stack([plane.clip(0, 255).astype(np.uint8) for plane in planes], axis=2)
    return Image.fromarray(pixels)


def _saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def _png_header(width: int, height: int) -> bytes:
    """Make the beginning of a PNG file that promises so many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = struct.pack(">I", len(header) - 4) + header + zlib.crc32(header).to_bytes(4, "big")
    data = struct.pack(">I", 1 << 20) + b"IDAT"
    return b"\x89PNG\r\n\x1a\n" + checked + data
