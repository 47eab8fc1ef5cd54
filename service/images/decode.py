"""Decoding in two steps, so that admission can be decided between them: the header, the samples."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

from PIL import UnidentifiedImageError

from models import Picture
from models.errors import PictureError, SourceError
from models.grid import MAX_SIDE
from models.metadata import Keep, Kept
from models.postprocess import sources
from models.postprocess.sources import Source

from . import avif, bmp, gif, jpeg, magic, orientation, png, pnm, tiff, webp
from .colour import in_8_bits, to_srgb
from .errors import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from .facts import Coded, Decoded, Facts, Header

_READERS: dict[str, Callable[[bytes], Facts]] = {
    "JPEG": jpeg.read,
    "PNG": png.read,
    "WEBP": webp.read,
    "AVIF": avif.read,
    "TIFF": tiff.read,
    "BMP": bmp.read,
    "GIF": gif.read,
    "PPM": pnm.read,
}


def read_header(file: bytes, *, max_pixels: int) -> Header:
    """Read an image's header, and refuse what must not be decoded.

    Args:
        file: all bytes of the file.
        max_pixels: the largest width times height.

    Raises:
        ImageError: one subclass for each fault.
    """
    return _facts(file, max_pixels).header


def read_lossy_header(file: bytes, *, max_pixels: int) -> tuple[Header, Source]:
    """Read the header of an image for post-processing, and its quantiser as the file states it.

    Raises:
        ImageError: as `read_header` does.
        SourceError: post-processing is not for such a file.
    """
    facts = _facts(file, max_pixels)
    source = sources.read(file)
    if not facts.on_screen:
        raise SourceError(
            "the file's pixels are CMYK or L*a*b*, and post-processing is for colours on screens and for grey"
        )
    return replace(facts.header, carries=facts.kept("none").dropped), source


def read_metadata(file: bytes, *, max_pixels: int, keep: Keep) -> Kept:
    """Read what `decode` keeps and drops of a file's metadata; raises what `read_header` raises."""
    return _facts(file, max_pixels).kept(keep)


def decode(file: bytes, *, max_pixels: int, keep: Keep = "none") -> Decoded:
    """Decode an image file, upright, in sRGB and 8 bits.

    Args:
        file: all bytes of the file.
        max_pixels: the largest width times height.
        keep: what to keep of its metadata.

    Raises:
        ImageError: as `read_header` does, or the file is damaged behind its header.
    """
    facts = _facts(file, max_pixels)
    coded = _coded(facts)
    image = orientation.upright(to_srgb(coded.pixels, facts.colour), facts.orientation)
    return Decoded(Picture.from_image(image), coded.warnings, facts.kept(keep))


def decode_as_coded(file: bytes, *, max_pixels: int) -> Picture:
    """Decode an image as it lies in its file: not turned, in its own colours, in 8 bits.

    Raises what `decode` raises.
    """
    image = in_8_bits(_coded(_facts(file, max_pixels)).pixels)
    return Picture.from_image(image.convert("RGB") if image.mode == "CMYK" else image)


def finished(picture: Picture, file: bytes, *, max_pixels: int) -> Picture:
    """Turn a picture made from `decode_as_coded(file)` upright, in sRGB."""
    facts = _facts(file, max_pixels)
    image = to_srgb(picture.to_image(), facts.colour)
    return Picture.from_image(orientation.upright(image, facts.orientation))


def _facts(file: bytes, max_pixels: int) -> Facts:
    """The facts of a file within the limits. Raises `ImageError`s."""
    ours, other = magic.known(file)
    if ours is None:
        formats = ", ".join(magic.FORMATS)
        if other is None:
            raise UnsupportedImageError(f"not an image in a format we read: {formats}")
        raise UnsupportedImageError(f"the file is {other}, which is not read; we read {formats}")
    try:
        facts = _READERS[ours](file)
    except (ImageError, MemoryError):
        raise
    except (struct.error, ArithmeticError, LookupError, ValueError) as error:
        raise DamagedImageError(f"the {ours} image is truncated or corrupt in its header") from error
    header = facts.header
    size = f"the image has {header.width}x{header.height} pixels"
    if header.pixels > max_pixels:
        raise ImageTooLargeError(f"{size}, beyond the limit of {max_pixels} pixels")
    if max(header.width, header.height) > MAX_SIDE:
        raise ImageTooLargeError(f"{size}; the limit is {MAX_SIDE} on a side")
    return facts


def _coded(facts: Facts) -> Coded:
    """The samples of a file. Raises `ImageError`s."""
    name = facts.header.format
    try:
        return facts.decode()
    except (ImageError, PictureError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DamagedImageError(f"the {name} image is truncated or corrupt") from error
    except Exception as error:  # on hostile bytes decoders raise anything
        raise DamagedImageError(f"the {name} image is truncated or corrupt: {error}") from error
