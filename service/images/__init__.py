"""Image files in and out: hostile bytes to a `Picture`, a `Picture` to PNG, WebP, AVIF or JPEG.

For every format and variant: right, or refused by its name. What a file says of itself is read by
modules of our own, one for each format, before a decoder sees it:

    file ── magic ── png, jpeg, ... ── Facts ── size limits ── samples ── colour ── orientation
                                                               (Pillow, numpy)

Each public function takes the whole file and gives plain values, so that each can run in a process
of its own.
"""

from __future__ import annotations

from .decode import decode, decode_as_coded, finished, read_header, read_lossy_header, read_metadata
from .encode import NAMED, ImageFormat, encode, first_fitting, fits
from .errors import (
    AnimatedImageError,
    DamagedImageError,
    FormatLimitError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
    UnsupportedVariantError,
)
from .facts import Decoded, Header
from .magic import FORMATS
from .within import QUALITIES, avif_speed, encode_at, flattened

__all__ = [
    "FORMATS",
    "NAMED",
    "QUALITIES",
    "AnimatedImageError",
    "DamagedImageError",
    "Decoded",
    "FormatLimitError",
    "Header",
    "ImageError",
    "ImageFormat",
    "ImageTooLargeError",
    "UnsupportedImageError",
    "UnsupportedVariantError",
    "avif_speed",
    "decode",
    "decode_as_coded",
    "encode",
    "encode_at",
    "finished",
    "first_fitting",
    "fits",
    "flattened",
    "read_header",
    "read_lossy_header",
    "read_metadata",
]
