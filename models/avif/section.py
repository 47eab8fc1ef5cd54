"""AVIF files as little more than their AV1 frame: the y section of a hybrid stream [format].

Of the still picture that libavif writes, some 290 bytes are boxes of ISOBMFF and an AV1 sequence header. They say what the container's
header says as well, or what is the same in every file of ours. `strip` leaves them out, and `restore` writes them anew:

    offset  bytes  field
         0      1  coding tools that the frame was written for: the bits of `_TOOLS`, the others 0
         1    all  the AV1 frame (AV1 specification, 5.10, payload of OBU_FRAME)

The picture is 8-bit, full range, BT.601 from sRGB: 4:0:0 when the stream says greyscale, else 4:4:4 or 4:2:0. What was left out cannot lie:
the size in the file is the stream's, and the sequence header is a "reduced still picture" one, under which a frame has no size of its own
and no second frame can follow.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from models.errors import AvifError, DamagedStreamError

_SEQUENCE_HEADER, _TEMPORAL_DELIMITER, _FRAME = 1, 2, 6  # types of OBUs
_ANY_LEVEL = 31  # "maximum parameters": decoders allocate by size, not by level
_CICP = (1, 13, 6)  # BT.709 primaries and sRGB transfer, which is sRGB; BT.601 matrix

# In the order of the byte, from bit 0; all but the first are flags of the sequence header of the same name.
_TOOLS = ("yuv444", "superblock_128", "filter_intra", "intra_edge_filter", "cdef", "restoration", "separate_uv_delta_q")


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence header says, as far as it may differ from one of our pictures to the next."""

    width: int
    height: int
    mono: bool
    tools: int

    def has(self, tool: str) -> bool:
        return bool(self.tools >> _TOOLS.index(tool) & 1)

    @property
    def profile(self) -> int:
        return int(self.has("yuv444"))

    @property
    def subsampled(self) -> bool:
        return not self.has("yuv444")


def strip(file: bytes, *, width: int, height: int, mono: bool) -> bytes:
    """The y section out of an AVIF file. Raises `AvifError` when that does not hold a frame as described above."""
    sequence, frame = None, None
    for kind, payload in _obus(_media(file)):
        if kind == _SEQUENCE_HEADER and sequence is None:
            sequence = _read_sequence(payload)
        elif kind == _FRAME and frame is None:
            frame = payload
        elif kind != _TEMPORAL_DELIMITER:
            raise AvifError(f"the AVIF encoder wrote an OBU of type {kind}")
    if sequence is None or frame is None:
        raise AvifError("the AVIF encoder wrote no frame")
    if (sequence.width, sequence.height, sequence.mono) != (width, height, mono):
        raise AvifError("the AVIF encoder wrote a picture of another size or kind")
    return bytes([sequence.tools]) + frame


def restore(section: bytes, *, width: int, height: int, mono: bool) -> bytes:
    """An AVIF file out of a y section. Raises `DamagedStreamError` when that names tools that do not exist."""
    if len(section) < 2:
        raise DamagedStreamError("the AV1 section holds no frame")
    tools = section[0]
    if tools >> len(_TOOLS) or (mono and tools & 1):
        raise DamagedStreamError(f"AV1 coding tools {tools:#04x} do not exist")
    sequence = _Sequence(width, height, mono, tools)
    return _file(sequence, _obu(_SEQUENCE_HEADER, _write_sequence(sequence)) + _obu(_FRAME, section[1:]))


# AV1: open bitstream units and the sequence header (AV1 specification, 5.3 and 5.5)


def _obus(data: bytes) -> list[tuple[int, bytes]]:
    """Type and payload of each; all must have a size, and none an extension."""
    found, offset = [], 0
    while offset < len(data):
        header = data[offset]
        size, shift, offset = 0, 0, offset + 1
        if header & 0b10000111 != 0b010:
            raise AvifError("the AVIF encoder wrote an OBU with an extension, or without a size")
        while True:
            if offset >= len(data) or shift > 28:
                raise AvifError("the AVIF encoder wrote an OBU that does not end")
            byte, offset = data[offset], offset + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if offset + size > len(data):
            raise AvifError("the AVIF encoder wrote an OBU that does not end")
        found.append((header >> 3 & 15, data[offset : offset + size]))
        offset += size
    return found


def _obu(kind: int, payload: bytes) -> bytes:
    size, left = bytearray(), len(payload)
    while left > 0x7F:
        size.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([kind << 3 | 0b010, *size, left]) + payload


def _write_sequence(sequence: _Sequence) -> bytes:
    width_bits, height_bits = (max(1, (side - 1).bit_length()) for side in (sequence.width, sequence.height))
    fields = [
        (sequence.profile, 3),
        (1, 1),  # still_picture
        (1, 1),  # reduced_still_picture_header
        (_ANY_LEVEL, 5),
        (width_bits - 1, 4),
        (height_bits - 1, 4),
        (sequence.width - 1, width_bits),
        (sequence.height - 1, height_bits),
        (sequence.has("superblock_128"), 1),
        (sequence.has("filter_intra"), 1),
        (sequence.has("intra_edge_filter"), 1),
        (0, 1),  # enable_superres
        (sequence.has("cdef"), 1),
        (sequence.has("restoration"), 1),
        (0, 1),  # high_bitdepth
        *([] if sequence.profile else [(sequence.mono, 1)]),
        (1, 1),  # color_description_present_flag
        *((value, 8) for value in _CICP),
        (1, 1),  # color_range: full
        *([] if sequence.mono or sequence.profile else [(0, 2)]),  # chroma_sample_position: unknown
        *([] if sequence.mono else [(sequence.has("separate_uv_delta_q"), 1)]),
        (0, 1),  # film_grain_params_present
        (1, 1),  # the trailing bit
    ]
    bits = "".join(format(int(value), f"0{count}b") for value, count in fields)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _read_sequence(payload: bytes) -> _Sequence:
    """The header, if `_write_sequence` can write it again, its level apart."""
    bits, offset = "".join(format(byte, "08b") for byte in payload), 0

    def read(count: int) -> int:
        nonlocal offset
        offset += count
        return int(bits[offset - count : offset] or "0", 2)

    profile = read(3)
    reduced = read(2) == 0b11
    read(5)  # the level
    width_bits, height_bits = read(4) + 1, read(4) + 1
    width, height = read(width_bits) + 1, read(height_bits) + 1
    superblock_128, filter_intra, intra_edge_filter, superres, cdef, restoration = (read(1) for _ in range(6))
    high_bitdepth = read(1)
    mono = profile == 0 and read(1) == 1
    described = read(1) == 1 and (read(8), read(8), read(8)) == _CICP and read(1) == 1
    position = read(2) if profile == 0 and not mono else 0
    separate = 0 if mono else read(1)
    grain = read(1)
    if not reduced or not described or profile > 1 or superres or high_bitdepth or position or grain or offset > len(bits):
        raise AvifError("the AVIF encoder wrote a sequence header of another kind")
    flags = (profile, superblock_128, filter_intra, intra_edge_filter, cdef, restoration, separate)
    return _Sequence(width, height, mono, sum(flag << bit for bit, flag in enumerate(flags)))


# ISOBMFF: boxes (ISO/IEC 14496-12, 23008-12; AVIF 1.1)


def _media(file: bytes) -> bytes:
    """What `mdat` holds; there is one item in the file, and that is all of it."""
    offset = 0
    while offset + 8 <= len(file):
        size, kind = struct.unpack_from(">I4s", file, offset)
        if kind == b"mdat" and offset + size <= len(file):
            return file[offset + 8 : offset + size]
        offset += max(size, 8)
    raise AvifError("the AVIF encoder wrote no media data")


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full_box(kind: bytes, *parts: bytes, version: int = 0) -> bytes:
    return _box(kind, bytes([version, 0, 0, 0]), *parts)


def _file(sequence: _Sequence, media: bytes) -> bytes:
    channels = 1 if sequence.mono else 3
    subsampling = 0b11 if sequence.subsampled else 0b00
    properties = _box(
        b"ipco",
        _full_box(b"ispe", struct.pack(">II", sequence.width, sequence.height)),
        _full_box(b"pixi", bytes([channels, *[8] * channels])),
        _box(b"av1C", bytes([0x81, sequence.profile << 5 | _ANY_LEVEL, sequence.mono << 4 | subsampling << 2, 0])),
        _box(b"colr", b"nclx", struct.pack(">HHHB", *_CICP, 0x80)),
    )
    essential = [1, 2, 0x80 | 3, 4]  # only av1C must be understood
    association = _full_box(b"ipma", struct.pack(">IHB", 1, 1, len(essential)), bytes(essential))
    kind = _box(b"ftyp", b"avif", bytes(4), b"avif", b"mif1", b"miaf")

    def meta(offset: int) -> bytes:
        return _full_box(
            b"meta",
            _full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            _full_box(b"pitm", struct.pack(">H", 1)),
            _full_box(b"iloc", struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, offset, len(media))),
            _full_box(b"iinf", struct.pack(">H", 1), _full_box(b"infe", struct.pack(">HH", 1, 0), b"av01", bytes(1), version=2)),
            _box(b"iprp", properties, association),
        )

    return kind + meta(len(kind) + len(meta(0)) + 8) + _box(b"mdat", media)
