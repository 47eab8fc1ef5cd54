"""What to keep of a file's metadata, and what that leaves out."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from models.bitstream import Metadata
from models.bitstream.metadata import pack
from models.metadata import exif, xmp

Keep = Literal["none", "keep", "keep-with-gps"]
"""Nothing; EXIF and XMP without coordinates; or with them."""

# In the order in which they are told.
_NAMES = ("exif", "icc", "xmp", "iptc", "gps", "maker-note", "thumbnail", "extended-xmp")


@dataclass(frozen=True, slots=True)
class Kept:
    """Metadata fit for a stream.

    Attributes:
        metadata: what a stream is to carry.
        section: the same, as it lies in the stream; None for nothing.
        dropped: names of what there was and is not carried: "exif", "icc", "xmp", "iptc"; and of
            parts: "gps", "maker-note", "thumbnail", "extended-xmp".
    """

    metadata: Metadata
    section: bytes | None
    dropped: tuple[str, ...]


NOTHING = Kept(Metadata(), None, ())
"""Of a picture without metadata."""


def kept(
    found: Metadata,
    keep: Keep,
    width: int,
    height: int,
    *,
    turned: int = 1,
    others: Set[str] = frozenset(),
    exif_at: int | None = None,
) -> Kept:
    """Choose what a stream carries of the metadata of a picture.

    What cannot be read is left out, and told.

    Args:
        found: as it was in the file.
        keep: what is wanted of it.
        width, height: of the upright picture.
        turned: the orientation, 1 to 8, that it had before it was turned upright.
        others: names of what else there was, and is never carried.
        exif_at: where the first directory of EXIF is; None for where its block says.
    """
    if keep == "none":
        return Kept(Metadata(), None, _in_order({*found.names, *others}))
    gps = keep == "keep-with-gps"
    photo = packet = None
    dropped = set(others)
    if found.exif is not None:
        photo, lost = exif.cleaned(found.exif, width, height, turned=turned, gps=gps, at=exif_at)
        dropped |= lost
    if found.xmp is not None:
        packet, lost = xmp.cleaned(found.xmp, width, height, gps=gps)
        dropped |= lost
    metadata = Metadata(photo, packet)
    return Kept(metadata, pack(metadata), _in_order(dropped))


def trusted(metadata: Metadata, width: int, height: int, *, orientation: bool = True) -> Metadata:
    """Leave out of a stream's metadata what cannot be read, or does not hold for its picture.

    Streams come from strangers. What our own encoder wrote comes back as it is.
    """
    photo = packet = None
    if metadata.exif is not None:
        photo, _ = exif.cleaned(metadata.exif, width, height, gps=True, orientation=orientation)
    if metadata.xmp is not None:
        packet, _ = xmp.cleaned(metadata.xmp, width, height, gps=True)
    return Metadata(photo, packet)


def _in_order(names: Set[str]) -> tuple[str, ...]:
    return tuple(name for name in _NAMES if name in names)
