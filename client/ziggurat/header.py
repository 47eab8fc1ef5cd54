"""The header of a stream: what is in a .zgt file, without any codec.

The layout is that of docs/stream-format.md, format versions 3 to 5.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from hashlib import sha256

from ziggurat import metadata
from ziggurat.bodies import Source, body_of
from ziggurat.errors import (
    DamagedStreamError,
    NewerVersionError,
    NotAStreamError,
    OlderVersionError,
    TruncatedStreamError,
)

MAGIC = b"ZGT"
VERSION = 5  # with an overlay
_METADATA_VERSION = 4  # without, with metadata
_PLAIN_VERSION = 3  # without either
MAX_HEADER_BYTES = 36  # before the sections
_MAX_SIDE = 16384
_FIXED = struct.Struct("<3sBBB4sHHH")
_CHECKSUM_BYTES = 4
_CODECS = ("learned", "hybrid")
_ALPHA, _GREYSCALE, _POSTPROCESS, _OVERLAY, _METADATA = 1, 2, 4, 8, 16  # flags


@dataclass(frozen=True, slots=True)
class Header:
    """The fields in front of a stream's sections.

    Attributes:
        codec: "learned" or "hybrid".
        model_id: 8 hex digits.
        width, height: of the picture, in pixels.
        quality: 0 to 100, on the model's own axis.
        greyscale: the picture has one plane.
        postprocess: the encoder recommends post-processing.
        z_bytes, y_bytes, alpha_bytes: lengths of the sections; alpha_bytes is None without alpha.
        metadata_bytes: length of the section of EXIF and XMP; None without any.
        overlay_bytes: length of the last section, of text that AVIF carries; None without any.
        size: length of the whole stream in bytes.
    """

    codec: str
    model_id: str
    width: int
    height: int
    quality: float
    greyscale: bool
    postprocess: bool
    z_bytes: int
    y_bytes: int
    alpha_bytes: int | None
    metadata_bytes: int | None
    overlay_bytes: int | None
    size: int

    @property
    def version(self) -> int:
        """Version of the format."""
        if self.overlay_bytes is not None:
            return VERSION
        return _PLAIN_VERSION if self.metadata_bytes is None else _METADATA_VERSION

    @property
    def metadata_at(self) -> int:
        """Offset of the metadata section, or of where it would be."""
        return self.size - _CHECKSUM_BYTES - (self.metadata_bytes or 0) - (self.overlay_bytes or 0)

    @property
    def mode(self) -> str:
        """Pillow's mode of the decoded picture: L, LA, RGB or RGBA."""
        return ("L" if self.greyscale else "RGB") + ("" if self.alpha_bytes is None else "A")

    @classmethod
    def read(cls, beginning: bytes) -> Header:
        """Read the first `MAX_HEADER_BYTES` of a stream, or more. The rest is not looked at.

        Raises:
            BitstreamError: a subclass for each cause.
        """
        header, codec, flags = _parsed(beginning)
        optional = _OVERLAY | flags & _METADATA if header.overlay_bytes is not None else 0
        if codec >= len(_CODECS) or flags & ~(_ALPHA | _GREYSCALE | _POSTPROCESS) != optional:
            raise DamagedStreamError(f"version {header.version} has no codec {codec} with flags {flags:#04x}")
        if not (1 <= header.width <= _MAX_SIDE and 1 <= header.height <= _MAX_SIDE):
            raise DamagedStreamError(f"{header.width}x{header.height} pixels: a side has 1 to {_MAX_SIDE}")
        if header.codec == "hybrid" and header.z_bytes:
            raise DamagedStreamError("a hybrid stream has no z section")
        if header.codec == "hybrid" and header.overlay_bytes is not None:
            raise DamagedStreamError("a hybrid stream has no overlay")
        return header


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The facts in a stream's header, read here (`inspect`) or by the service (`Client.info`).

    Attributes:
        id: SHA-256 of the stream, its name on every service.
        bytes: its length.
        bpp: bits of the whole stream per pixel.
        width, height: of the picture, in pixels.
        format_version: of the container.
        codec: "learned" or "hybrid".
        model_id: 8 hex digits.
        profile: the name of that model; None where it is not known, as here.
        quality: 0 to 100, on the model's own axis.
        greyscale: the picture has one plane.
        postprocess: the encoder recommends post-processing.
        z_bytes, y_bytes, alpha_bytes: lengths of the sections; alpha_bytes is None without alpha.
        metadata_bytes: length of EXIF and XMP, compressed; None without any.
        overlay_bytes: length of the text and drawing that AVIF carries; None without any.
    """

    id: str
    bytes: int
    bpp: float
    width: int
    height: int
    format_version: int
    codec: str
    model_id: str
    profile: str | None
    quality: float
    greyscale: bool
    postprocess: bool
    z_bytes: int
    y_bytes: int
    alpha_bytes: int | None
    metadata_bytes: int | None = None
    overlay_bytes: int | None = None


def inspect(stream: Source) -> StreamInfo:
    """Read the facts about a stream: its bytes, the path of a file, or an open file.

    Needs no service and no codec. Raises `BitstreamError`s, as decoding would: the length and the
    checksum are looked at too.
    """
    content = b"".join(body_of(stream).open())
    header = checked(content)
    return StreamInfo(
        id=sha256(content).hexdigest(),
        bytes=len(content),
        bpp=round(8 * len(content) / (header.width * header.height), 6),
        width=header.width,
        height=header.height,
        format_version=header.version,
        codec=header.codec,
        model_id=header.model_id,
        profile=None,
        quality=header.quality,
        greyscale=header.greyscale,
        postprocess=header.postprocess,
        z_bytes=header.z_bytes,
        y_bytes=header.y_bytes,
        alpha_bytes=header.alpha_bytes,
        metadata_bytes=header.metadata_bytes,
        overlay_bytes=header.overlay_bytes,
    )


def checked(stream: bytes) -> Header:
    """Read the header of a whole stream, and check its length and checksum first, as decoders do.

    Raises `BitstreamError`s.
    """
    size = _parsed(stream)[0].size
    if len(stream) < size:
        raise TruncatedStreamError(f"the stream is {size - len(stream)} bytes short")
    if len(stream) > size:
        raise DamagedStreamError(f"{len(stream) - size} bytes follow the end of the stream")
    end = size - _CHECKSUM_BYTES
    if zlib.crc32(memoryview(stream)[:end]) != int.from_bytes(stream[end:], "little"):
        raise DamagedStreamError("the stream's checksum does not match")
    header = Header.read(stream)
    if header.metadata_bytes is not None:
        metadata.read(stream[header.metadata_at : end - (header.overlay_bytes or 0)])
    return header


def check_version(beginning: bytes) -> None:
    """Refuse what does not begin like a stream of this version. Raises `BitstreamError`s."""
    if not beginning.startswith(MAGIC):
        if beginning and MAGIC.startswith(beginning):
            raise TruncatedStreamError("the stream ends within its header")
        raise NotAStreamError("these bytes are not a Ziggurat stream")
    if len(beginning) == len(MAGIC):
        raise TruncatedStreamError("the stream ends within its header")
    version = beginning[len(MAGIC)]
    if version > VERSION:
        raise NewerVersionError(f"the stream has format version {version}; this is version {VERSION}")
    if version == 0:
        raise DamagedStreamError("format version 0 does not exist")
    if version < _PLAIN_VERSION:
        raise OlderVersionError(
            f"the stream has format version {version}, which is not read; this is version {VERSION}"
        )


def _parsed(beginning: bytes) -> tuple[Header, int, int]:
    """The header with its fields as they are, and the numbers of codec and flags."""
    check_version(beginning)
    if len(beginning) < _FIXED.size:
        raise TruncatedStreamError("the stream ends within its header")
    _, version, codec, flags, model_id, width, height, quality = _FIXED.unpack_from(beginning)
    has_alpha, has_overlay = bool(flags & _ALPHA), version == VERSION
    has_metadata = bool(flags & _METADATA) if has_overlay else version == _METADATA_VERSION
    lengths, end = _lengths(beginning, 2 + has_alpha + has_metadata + has_overlay)
    header = Header(
        codec=_CODECS[codec] if codec < len(_CODECS) else "",
        model_id=model_id.hex(),
        width=width,
        height=height,
        quality=round(100 * quality / 65535, 3),
        greyscale=bool(flags & _GREYSCALE),
        postprocess=bool(flags & _POSTPROCESS),
        z_bytes=lengths[0],
        y_bytes=lengths[1],
        alpha_bytes=lengths[2] if has_alpha else None,
        metadata_bytes=lengths[2 + has_alpha] if has_metadata else None,
        overlay_bytes=lengths[-1] if has_overlay else None,
        size=end + sum(lengths) + _CHECKSUM_BYTES,
    )
    return header, codec, flags


def _lengths(beginning: bytes, count: int) -> tuple[list[int], int]:
    """The lengths of the sections (LEB128, at most 4 bytes each), and where the sections begin."""
    lengths: list[int] = []
    offset = _FIXED.size
    for _ in range(count):
        length = 0
        for digit in range(4):
            if offset == len(beginning):
                raise TruncatedStreamError("the stream ends within its header")
            byte = beginning[offset]
            offset += 1
            length |= (byte & 0x7F) << 7 * digit
            if byte < 0x80:
                if not byte and digit:
                    raise DamagedStreamError("a section length is not in its shortest form")
                break
        else:
            raise DamagedStreamError("a section length has more than 4 bytes")
        lengths.append(length)
    return lengths, offset
