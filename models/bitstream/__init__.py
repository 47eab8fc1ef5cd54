"""The container, and the sections of the alpha plane and of metadata in it."""

from models.bitstream.container import (
    MAGIC,
    METADATA_VERSION,
    PLAIN_VERSION,
    VERSION,
    Bitstream,
    CodecKind,
    header_bytes,
)
from models.bitstream.metadata import Metadata

__all__ = [
    "MAGIC",
    "METADATA_VERSION",
    "PLAIN_VERSION",
    "VERSION",
    "Bitstream",
    "CodecKind",
    "Metadata",
    "header_bytes",
]
