"""The container and the alpha plane's section in it."""

from models.bitstream.container import MAGIC, VERSION, Bitstream, CodecKind, header_bytes

__all__ = ["MAGIC", "VERSION", "Bitstream", "CodecKind", "header_bytes"]
