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

from ..images import FORMATS, NAMED, ImageFormat, decode

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


def formats(targets: Iterable[Path], image_format: str | None) -> dict[Path, ImageFormat]:
    """The format that each target is written in: `image_format`, else as its name ends.

    Raises:
        typer.BadParameter: it is none that we write.
    """
    endings = {target: (image_format or target.suffix.removeprefix(".")).lower() for target in targets}
    if unknown := set(endings.values()) - set(NAMED):
        raise typer.BadParameter(
            f"{unknown.pop()!r} is none of {', '.join(NAMED)}", param_hint="--format, --output"
        )
    return {target: NAMED[ending] for target, ending in endings.items()}
