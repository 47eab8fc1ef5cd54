"""Image files for the commands: their suffixes, the largest picture, the format to write.

Imported when a command runs: it brings Pillow and its colour profiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer
from PIL import Image

from models import Picture
from models.grid import MAX_SIDE
from models.metadata import Keep, Kept

from ..images import FORMATS, NAMED, Header, ImageFormat, decode, read_header, read_metadata
from . import paths

# Pixels; the largest picture that the container holds. Files of one's own need no lower limit.
MAX_PIXELS = MAX_SIDE**2


def suffixes() -> set[str]:
    """Suffixes of the image formats we read, such as ".jpg"."""
    known = Image.registered_extensions().items()
    return {suffix for suffix, format in known if format in FORMATS} | {".pam"}


def picture_of(file: bytes, warn: Callable[[str], object] = lambda _: None) -> Picture:
    """Decode an image file; `warn` is told what is wrong with one that was read all the same.

    Raises `ImageError`s.
    """
    decoded = decode(file, max_pixels=MAX_PIXELS)
    if decoded.warnings:
        warn("; ".join(decoded.warnings))
    return decoded.picture


def header_of(file: bytes) -> Header:
    """Read an image file's header, before its pixels. Raises `ImageError`s."""
    return read_header(file, max_pixels=MAX_PIXELS)


def metadata_of(file: bytes, keep: Keep) -> Kept:
    """Read what is kept of an image file's metadata, and what is dropped. Raises `ImageError`s."""
    return read_metadata(file, max_pixels=MAX_PIXELS, keep=keep)


def formats(targets: Iterable[Path], image_format: str | None) -> dict[Path, ImageFormat]:
    """The format that each target is written in: `image_format`, else as its name ends; PNG on
    stdout.

    Raises:
        typer.BadParameter: it is none that we write.
    """
    endings = {
        target: (image_format or ("png" if target == paths.STDOUT else target.suffix[1:])).lower()
        for target in targets
    }
    if unknown := set(endings.values()) - set(NAMED):
        raise typer.BadParameter(
            f"{unknown.pop()!r} is none of {', '.join(NAMED)}", param_hint="--format, --output"
        )
    return {target: NAMED[ending] for target, ending in endings.items()}
