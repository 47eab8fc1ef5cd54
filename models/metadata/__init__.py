"""Metadata of pictures: what is kept of EXIF and XMP, and how streams carry it."""

from models.bitstream.metadata import Metadata, pack, unpack
from models.metadata.carry import bytes_of, with_metadata, with_overlay, without_room_for
from models.metadata.keep import NOTHING, Keep, Kept, kept, trusted

__all__ = [
    "NOTHING",
    "Keep",
    "Kept",
    "Metadata",
    "bytes_of",
    "kept",
    "pack",
    "trusted",
    "unpack",
    "with_metadata",
    "with_overlay",
    "without_room_for",
]
