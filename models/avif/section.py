"""AVIF files as little more than their AV1 frame: the y section of a hybrid stream [format].

Of the still picture that libavif writes, some 290 bytes are boxes of ISOBMFF and an AV1 sequence
header. They repeat what the container's header says, or are equal in every file of the hybrid
codec. `strip` leaves them out, and `restore` writes them anew:

    offset  bytes  field
         0      1  coding tools that the frame was written for: the bits of `_tools`, the others 0
         1    all  the AV1 frame (AV1 specification, 5.10, payload of OBU_FRAME)

The picture is 8-bit, full range, BT.601 from sRGB: 4:0:0 when the stream says greyscale, else 4:4:4
or 4:2:0. A hostile section cannot lie about what was left out: the size in the file is the
stream's, and the sequence header is a "reduced still picture" one, under which a frame has no size
of its own and no second frame can follow.
"""

from __future__ import annotations

import struct

from models.avif import isobmff, obu
from models.avif.obu import ColourConfig, SequenceHeader
from models.errors import AvifError, DamagedStreamError

_TOOL_BITS = 7  # used in the first byte


def strip(file: bytes, *, width: int, height: int, mono: bool) -> bytes:
    """The y section of an AVIF file.

    Raises:
        AvifError: `restore` could not write such a file.
    """
    try:
        header, frame = _header_and_frame(file)
    except (IndexError, ValueError) as error:
        raise AvifError(f"the AVIF encoder wrote a file that cannot be read: {error}") from error
    if (header.width, header.height, header.colour.mono) != (width, height, mono):
        raise AvifError("the AVIF encoder wrote a picture of another size or kind")
    tools = _tools(header)
    if header != _sequence_header(tools, width=width, height=height, mono=mono):
        raise AvifError("the AVIF encoder wrote a sequence header of another kind")
    return bytes([tools]) + frame


def restore(section: bytes, *, width: int, height: int, mono: bool) -> bytes:
    """The AVIF file of a y section.

    Raises:
        DamagedStreamError: the section has no frame, or coding tools that do not exist.
    """
    if len(section) < 2:
        raise DamagedStreamError("the AV1 section holds no frame")
    tools = section[0]
    if tools >> _TOOL_BITS or (mono and tools & 1):
        raise DamagedStreamError(f"AV1 coding tools {tools:#04x} do not exist")
    header = _sequence_header(tools, width=width, height=height, mono=mono)
    media = obu.unit(obu.SEQUENCE_HEADER, header.to_bytes()) + obu.unit(obu.FRAME, section[1:])
    return isobmff.still_picture(_properties(header), media)


def _header_and_frame(file: bytes) -> tuple[SequenceHeader, bytes]:
    """The sequence header and the payload of the frame in `mdat`, which holds one item and no more.

    Raises:
        IndexError, ValueError: the file is cut off, or holds something else.
    """
    header = frame = None
    media = next((content for kind, content in isobmff.boxes(file) if kind == b"mdat"), b"")
    for unit in obu.units(media):
        if not unit.plain:
            raise ValueError("an OBU has an extension, or no size")
        if len(unit.payload) < unit.size:
            raise ValueError("an OBU is cut off")
        if unit.kind == obu.SEQUENCE_HEADER and header is None:
            header = SequenceHeader.parse(unit.payload)
        elif unit.kind == obu.FRAME and frame is None:
            frame = unit.payload
        elif unit.kind != obu.TEMPORAL_DELIMITER:
            raise ValueError(f"it has an OBU of type {unit.kind} where none belongs")
    if header is None or frame is None:
        raise ValueError("it has no frame")
    return header, frame


def _tools(header: SequenceHeader) -> int:
    """The first byte of the section: flags from bit 0 on [format]."""
    flags = (
        header.profile == 1,  # 4:4:4
        header.superblock_128,
        header.filter_intra,
        header.intra_edge_filter,
        header.cdef,
        header.restoration,
        header.colour.separate_uv_delta_q,
    )
    return sum(flag << bit for bit, flag in enumerate(flags))


def _sequence_header(tools: int, *, width: int, height: int, mono: bool) -> SequenceHeader:
    """The inverse of `_tools`."""
    yuv444, superblock_128, filter_intra, intra_edge_filter, cdef, restoration, separate_uv_delta_q = (
        bool(tools >> bit & 1) for bit in range(_TOOL_BITS)
    )
    return SequenceHeader(
        profile=int(yuv444),
        width=width,
        height=height,
        superblock_128=superblock_128,
        filter_intra=filter_intra,
        intra_edge_filter=intra_edge_filter,
        cdef=cdef,
        restoration=restoration,
        colour=ColourConfig(
            mono=mono,
            subsampling=(not yuv444, not yuv444),
            separate_uv_delta_q=separate_uv_delta_q and not mono,
        ),
    )


def _properties(header: SequenceHeader) -> list[bytes]:
    """Boxes that repeat what the sequence header says."""
    colour = header.colour
    channels = 1 if colour.mono else 3
    layout = colour.mono << 4 | colour.subsampling[0] << 3 | colour.subsampling[1] << 2
    return [
        isobmff.full_box(b"ispe", struct.pack(">II", header.width, header.height)),
        isobmff.full_box(b"pixi", bytes([channels, *[colour.bit_depth] * channels])),
        isobmff.box(b"av1C", bytes([0x81, header.profile << 5 | obu.ANY_LEVEL, layout, 0])),
        isobmff.box(b"colr", b"nclx", struct.pack(">HHHB", *colour.description, colour.full_range << 7)),
    ]
