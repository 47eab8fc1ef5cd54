"""Facts: what a file says of its picture, and how to get the samples out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import Picture
from models.metadata import NOTHING, Keep, Kept, Metadata, kept

from .colour import SRGB, Colour

# 8-bit samples lie in an image of Pillow's, of mode L, LA, RGB, RGBA or CMYK; 16-bit samples, which
# Pillow has no modes for, in an array (H, W, 1..4) of L, LA, RGB or RGBA.
Pixels = Image.Image | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a file: format and size of its picture, before it is decoded.

    Attributes:
        format: name of the file's format.
        width: columns, as they lie in the file.
        height: rows, as they lie in the file.
        carries: names of the metadata in the file, as `Kept.dropped` has them.
    """

    format: str
    width: int
    height: int
    carries: tuple[str, ...] = ()

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture out of a file.

    Attributes:
        picture: upright, in sRGB and 8 bits.
        warnings: what is wrong with the file although it was read, each fit for users.
        kept: the metadata that was to be kept, and the names of what was dropped.
    """

    picture: Picture
    warnings: tuple[str, ...] = ()
    kept: Kept = NOTHING


@dataclass(frozen=True, slots=True)
class Coded:
    """The samples of a file as they lie in it: not turned, in their own colours.

    Attributes:
        pixels: the samples.
        warnings: what is wrong with the file although it was read.
    """

    pixels: Pixels
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a file's picture, found without decoding it.

    Attributes:
        header: format and size.
        decode: gets the samples out of the file. Raises anything on hostile bytes.
        orientation: how to turn the picture, 1 to 8 as in EXIF; 1 is upright.
        colour: what the samples mean.
        on_screen: the samples are grey, or of a screen's colours: no CMYK or Lab.
        metadata: EXIF and XMP as they are in the file, not looked into.
        exif_at: where EXIF's first directory is; None for where its block says.
        iptc: there is a caption by IPTC-IIM, as agencies write it.
    """

    header: Header
    decode: Callable[[], Coded]
    orientation: int = 1
    colour: Colour = SRGB
    on_screen: bool = True
    metadata: Metadata = field(default_factory=Metadata)
    exif_at: int | None = None
    iptc: bool = False

    def kept(self, keep: Keep) -> Kept:
        """Choose what a stream carries of the metadata; for a picture turned upright."""
        width, height = self.header.width, self.header.height
        if self.orientation >= 5:
            width, height = height, width
        others = {"icc": bool(self.colour.profile), "iptc": self.iptc}
        return kept(
            self.metadata,
            keep,
            width,
            height,
            turned=self.orientation,
            others={name for name, there in others.items() if there},
            exif_at=self.exif_at,
        )
