"""Metadata in a PNG file's text: XMP, and what programs wrote before there was a chunk for EXIF."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from models.metadata import Metadata

NAMES = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp"
# ImageMagick and others write profiles as hexadecimal digits.
_RAW_EXIF = (b"Raw profile type exif", b"Raw profile type APP1")
_RAW_XMP = b"Raw profile type xmp"
RAW_IPTC = b"Raw profile type iptc"
_KEYWORDS = {_XMP, *_RAW_EXIF, _RAW_XMP, RAW_IPTC}
_MAX_KEYWORD_BYTES = 79

_MAX_TEXT_BYTES = 1 << 18  # inflated; EXIF and XMP have 64 KB each, and in digits 131


def keyword(beginning: bytes) -> bytes | None:
    """The keyword of a text chunk that may hold metadata; None for any other."""
    found = beginning[: _MAX_KEYWORD_BYTES + 1].partition(b"\0")[0]
    return found if found in _KEYWORDS else None


def metadata_in(exif: bytes | None, texts: Mapping[bytes, tuple[bytes, bytes]]) -> Metadata:
    """Find the metadata of a file.

    Args:
        exif: of its eXIf chunk, which goes before any text.
        texts: name and content of text chunks, by keyword.

    Returns:
        What there is. What cannot be read is there with no bytes, which is told as dropped.
    """
    xmp: bytes | None = None
    for raw in _RAW_EXIF:
        if exif is None and raw in texts:
            exif = _profile(_text(*texts[raw]))
    if _XMP in texts:
        xmp = _text(*texts[_XMP])
    elif _RAW_XMP in texts:
        xmp = _profile(_text(*texts[_RAW_XMP]))
    return Metadata(exif, xmp)


def _text(name: bytes, content: bytes) -> bytes:
    """The text of a chunk; empty where it cannot be read, or is too long."""
    _, _, rest = content.partition(b"\0")
    if name == b"tEXt":
        return rest
    deflated = True
    if name == b"iTXt":
        deflated = rest[:1] == b"\1"
        # behind the method are a language and a translated keyword
        rest = rest[:2] + rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    rest = rest[2 if name == b"iTXt" else 1 :]
    if not deflated:
        return rest
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(rest, _MAX_TEXT_BYTES)
    except zlib.error:
        return b""
    return b"" if inflater.unconsumed_tail else text


def _profile(text: bytes) -> bytes:
    """The bytes of a raw profile: its name, its length, and digits in lines."""
    if len(text) > _MAX_TEXT_BYTES:
        return b""
    _, length, *digits = text.split(None, 2) or (b"", b"")
    try:
        return bytes.fromhex(b"".join(digits).decode("ascii"))[: int(length)]
    except ValueError:
        return b""
