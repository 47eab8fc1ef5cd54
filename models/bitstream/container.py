"""The container, format versions 3 to 5: a small header around the coded sections, and a checksum.

All integers are little-endian:

    offset  bytes  field
         0      3  magic "ZGT"
         3      1  format version: 5 with an overlay section; else 4 with metadata, 3 without
         4      1  codec: 0 learned, 1 hybrid (AVIF and post-processing)
         5      1  flags: bit 0 alpha section present, 1 greyscale, 2 post-processing recommended;
                   in version 5 bit 3, which is always set, and 4 metadata section present;
                   others 0
         6      4  model id: first 4 bytes of the SHA-256 of what decoding depends on
        10      2  width, 1..16384
        12      2  height, 1..16384
        14      2  quality: 0..65535 stands for 0..100 on the codec's own axis
        16   2-20  lengths of z, y and (when present) alpha, metadata and overlay: LEB128 in its
                   shortest form, at most 4 bytes each
                   z, y, alpha, metadata, overlay; in a hybrid stream z is empty and y is what
                   `models.avif.section` leaves of an AVIF file
      last      4  CRC-32 (zlib) of everything before it

The parser never allocates by what the header claims. It checks in this order, and raises for the
first that fails:

1. magic (`NotAStreamError`) and version (`NewerVersionError`, `OlderVersionError`),
2. the header's length and the sections' lengths, then the total length: too short is
   `TruncatedStreamError`, too long `DamagedStreamError`,
3. the checksum (`DamagedStreamError`),
4. the fields' values and the metadata (`DamagedStreamError`): an unknown codec or flag is nothing
   that an encoder writes, because adding one takes a new version,
5. the caller's pixel limit (`StreamTooLargeError`).

The limit comes last so that a flipped bit in the width is reported as damage and not as a large
picture; a CRC over bytes already in memory costs less than a nanosecond a byte. The parser does not
ask whether the model is at hand; codecs do.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from models import leb128
from models.bitstream.metadata import unpack
from models.errors import (
    DamagedStreamError,
    NewerVersionError,
    NotAStreamError,
    OlderVersionError,
    StreamTooLargeError,
    TruncatedStreamError,
)
from models.grid import MAX_SIDE
from models.rate_control.position import MAX_INDEX, Position

MAGIC = b"ZGT"
# A stream has the lowest version that holds what is in it, so that older software reads all that it
# can. Versions 1 and 2 coded residuals with other contexts; neither was released.
VERSION = 5
METADATA_VERSION = 4
PLAIN_VERSION = 3

_FIXED = struct.Struct("<3sBBB4sHHH")
_CHECKSUM = struct.Struct("<I")
_MAX_LENGTH_BYTES = 4  # of the length of a section
_MAX_SECTION_BYTES = (1 << 7 * _MAX_LENGTH_BYTES) - 1

# Flags
_ALPHA = 1
_GREYSCALE = 2
_POSTPROCESS = 4
_OVERLAY = 8  # in version 5: always
_METADATA = 16  # in version 5; the others have it in the version


class CodecKind(IntEnum):
    """The codec that made the payload."""

    LEARNED = 0
    HYBRID = 1


@dataclass(frozen=True, slots=True, repr=False)
class Bitstream:
    """One container, parsed or about to be written.

    Attributes:
        codec: the one that made `z` and `y`.
        model_id: 4 bytes.
        width, height: of the picture in pixels, 1 to 16384.
        position: on the codec's quality axis.
        greyscale: the picture's three planes are equal.
        postprocess: the encoder recommends post-processing.
        z: the coded hyper-latents; empty in a hybrid stream.
        y: the coded latents, or what is left of an AVIF file.
        alpha: a greyscale PNG, not looked into here; None for an opaque picture.
        metadata: what `models.bitstream.metadata` packs; None for none.
        overlay: what `models.overlay.section` packs, not looked into here; None for none. Only
            learned streams have one.
    """

    codec: CodecKind
    model_id: bytes
    width: int
    height: int
    position: Position
    greyscale: bool
    postprocess: bool
    z: bytes
    y: bytes
    alpha: bytes | None
    metadata: bytes | None = None
    overlay: bytes | None = None

    def __repr__(self) -> str:
        """Without the sections."""
        kind = f"{self.codec.name.lower()} {self.model_id.hex()}"
        return f"<Bitstream {self.size} bytes, {self.width}x{self.height}, {kind}>"

    @property
    def version(self) -> int:
        """Version of the format that the stream is written in."""
        if self.overlay is not None:
            return VERSION
        return PLAIN_VERSION if self.metadata is None else METADATA_VERSION

    @property
    def size(self) -> int:
        """Length of the whole stream in bytes."""
        return header_bytes(*map(len, self._sections)) + sum(map(len, self._sections))

    @property
    def pixels(self) -> int:
        """Width times height, the denominator of bits per pixel."""
        return self.width * self.height

    def to_bytes(self) -> bytes:
        """Write the stream. Raises ValueError for a field that the format cannot hold."""
        if fault := self._fault():
            raise ValueError(fault)
        sections = self._sections
        flags = (
            _ALPHA * (self.alpha is not None) | _GREYSCALE * self.greyscale | _POSTPROCESS * self.postprocess
        )
        if self.overlay is not None:
            flags |= _OVERLAY | _METADATA * (self.metadata is not None)
        header = _FIXED.pack(
            MAGIC,
            self.version,
            self.codec,
            flags,
            self.model_id,
            self.width,
            self.height,
            self.position.index,
        )
        body = b"".join([header, *(leb128.encode(len(section)) for section in sections), *sections])
        return body + _CHECKSUM.pack(zlib.crc32(body))

    @classmethod
    def parse(cls, data: bytes, *, max_pixels: int | None = None) -> Bitstream:
        """Read a stream of at most `max_pixels`.

        Raises:
            BitstreamError: a subclass for each cause, in the order given at the top of this module.
        """
        data = _bytes_of(data)
        _check_beginning(data)
        if len(data) < _FIXED.size:
            raise TruncatedStreamError("the stream ends within its header")
        _, version, codec, flags, model_id, width, height, position = _FIXED.unpack_from(data)
        has_alpha, has_overlay = bool(flags & _ALPHA), version == VERSION
        has_metadata = bool(flags & _METADATA) if has_overlay else version == METADATA_VERSION
        count = 2 + has_alpha + has_metadata + has_overlay
        lengths, offset = _section_lengths(data, _FIXED.size, count)
        _check_end(data, offset + sum(lengths) + _CHECKSUM.size)
        if codec not in list(CodecKind):
            raise DamagedStreamError(f"codec {codec} does not exist in version {version}")
        optional = _OVERLAY | flags & _METADATA if has_overlay else 0
        if flags & ~(_ALPHA | _GREYSCALE | _POSTPROCESS) != optional:
            raise DamagedStreamError(f"flags {flags:#04x} do not exist in version {version}")
        sections = []
        for length in lengths:
            sections.append(data[offset : offset + length])
            offset += length
        rest = iter(sections[2:])
        stream = cls(
            codec=CodecKind(codec),
            model_id=model_id,
            width=width,
            height=height,
            position=Position(position),
            greyscale=bool(flags & _GREYSCALE),
            postprocess=bool(flags & _POSTPROCESS),
            z=sections[0],
            y=sections[1],
            alpha=next(rest) if has_alpha else None,
            metadata=next(rest) if has_metadata else None,
            overlay=next(rest) if has_overlay else None,
        )
        if fault := stream._fault():
            raise DamagedStreamError(fault)
        if stream.metadata is not None:
            unpack(stream.metadata)
        if max_pixels is not None and width * height > max_pixels:
            raise StreamTooLargeError(
                f"the stream holds {width}x{height} pixels, over the limit of {max_pixels} pixels"
            )
        return stream

    @property
    def _sections(self) -> list[bytes]:
        sections = (self.z, self.y, self.alpha, self.metadata, self.overlay)
        return [section for section in sections if section is not None]

    def _fault(self) -> str | None:
        """The first field that the format forbids, in words; None when there is none."""
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            return f"a picture of {self.width}x{self.height} pixels is outside 1..{MAX_SIDE} on a side"
        if not 0 <= self.position.index <= MAX_INDEX:
            return f"quality {self.position.index} does not fit 16 bits"
        if len(self.model_id) != 4:
            return f"a model id has 4 bytes, not {len(self.model_id)}"
        if self.codec is CodecKind.HYBRID and self.z:
            return "a hybrid stream has no z section"
        if self.codec is CodecKind.HYBRID and self.overlay is not None:
            return "a hybrid stream has no overlay"
        if max(map(len, self._sections)) > _MAX_SECTION_BYTES:
            return f"a section is over {_MAX_SECTION_BYTES} bytes"
        return None


def header_bytes(*sections: int | None) -> int:
    """Bytes of header and checksum around sections of these lengths; None for one not there."""
    lengths = [length for length in sections if length is not None]
    return _FIXED.size + sum(len(leb128.encode(length)) for length in lengths) + _CHECKSUM.size


def _bytes_of(data: object) -> bytes:
    """The bytes of a buffer. Raises `NotAStreamError` for anything else: a path, a `Stream`."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    remedy = ""
    if isinstance(data, str | os.PathLike):
        remedy = "; read a file first: pathlib.Path(path).read_bytes()"
    elif hasattr(data, "data"):
        remedy = "; its bytes are in .data"
    raise NotAStreamError(f"a stream is bytes, not {type(data).__name__}{remedy}")


def _check_beginning(data: bytes) -> None:
    if not data.startswith(MAGIC):
        if data and MAGIC.startswith(data):
            raise TruncatedStreamError("the stream ends within its header")
        raise NotAStreamError("these bytes are not a Ziggurat stream")
    if len(data) == len(MAGIC):
        raise TruncatedStreamError("the stream ends within its header")
    version = data[len(MAGIC)]
    if version > VERSION:
        raise NewerVersionError(f"the stream has format version {version}; this is version {VERSION}")
    if version == 0:
        raise DamagedStreamError("format version 0 does not exist")
    if version < PLAIN_VERSION:
        raise OlderVersionError(
            f"the stream has format version {version}, which is no longer read; this is version {VERSION}"
        )


def _section_lengths(data: bytes, offset: int, count: int) -> tuple[list[int], int]:
    """Lengths of `count` sections, each in its shortest encoding, and the offset of the first."""
    lengths: list[int] = []
    for _ in range(count):
        try:
            length, end = leb128.decode(data, offset, max_bytes=_MAX_LENGTH_BYTES)
        except IndexError as error:
            raise TruncatedStreamError("the stream ends within its header") from error
        except ValueError as error:
            raise DamagedStreamError(f"a section length has more than {_MAX_LENGTH_BYTES} bytes") from error
        if data[offset:end] != leb128.encode(length):
            raise DamagedStreamError("a section length is not in its shortest form")
        lengths.append(length)
        offset = end
    return lengths, offset


def _check_end(data: bytes, size: int) -> None:
    """Check the stream's length against the `size` that its header tells, then its checksum."""
    missing = size - len(data)
    if missing > 0:
        raise TruncatedStreamError(f"the stream is {missing} bytes short")
    if missing < 0:
        raise DamagedStreamError(f"{-missing} bytes follow the end of the stream")
    end = size - _CHECKSUM.size
    if zlib.crc32(memoryview(data)[:end]) != _CHECKSUM.unpack_from(data, end)[0]:
        raise DamagedStreamError("the stream's checksum does not match")
