"""AV1's open bitstream units (OBUs) and its sequence header.

Sections and names of fields are those of the AV1 Bitstream & Decoding Process Specification,
version 1.0.0 with errata 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from models import leb128

# obu_type
SEQUENCE_HEADER = 1
TEMPORAL_DELIMITER = 2
FRAME_HEADER = 3
FRAME = 6

SELECT = 2  # SELECT_SCREEN_CONTENT_TOOLS and SELECT_INTEGER_MV: each frame header says which
ANY_LEVEL = 31  # seq_level_idx "maximum parameters": decoders allocate by size, not by level

MAX_UNITS = 10_000  # of an item; a still picture has a handful, and one of each tile

# Bits of an OBU's first byte
_HAS_EXTENSION = 0b0000_0100
_HAS_SIZE = 0b0000_0010
_TYPE = 0b0111_1000

_CODED_AS_RGB = (1, 13, 0)  # description for which the header holds neither range nor subsampling


@dataclass(frozen=True, slots=True)
class Obu:
    """One open bitstream unit.

    Attributes:
        kind: its obu_type.
        plain: it has a size and no extension, and the bits that are to be 0 are.
        size: bytes of the payload.
        payload: as many of them as there are.
    """

    kind: int
    plain: bool
    size: int
    payload: bytes


def units(data: bytes) -> Iterator[Obu]:
    """Walk the units in `data` (5.3). Only the last may be cut off.

    Raises:
        IndexError: the data end within a unit's header.
        ValueError: a size is over 8 bytes long, or there are more than `MAX_UNITS`.
    """
    offset = 0
    for _ in range(MAX_UNITS):
        if offset >= len(data):
            return
        header = data[offset]
        offset += 2 if header & _HAS_EXTENSION else 1
        size = len(data) - offset
        if header & _HAS_SIZE:
            size, offset = leb128.decode(data, offset)
        plain = header & ~_TYPE == _HAS_SIZE
        yield Obu((header & _TYPE) >> 3, plain, size, data[offset : offset + size])
        offset += size
    raise ValueError("it has too many units")


def unit(kind: int, payload: bytes) -> bytes:
    """Write one plain unit."""
    return bytes([kind << 3 | _HAS_SIZE]) + leb128.encode(len(payload)) + payload


class Bits:
    """Reads numbers of so many bits, the highest bit first (4.10). Raises IndexError at the end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def f(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        value = 0
        for _ in range(count):
            byte = self._content[self._position >> 3]
            value = value << 1 | byte >> (7 - (self._position & 7)) & 1
            self._position += 1
        return value

    def flag(self) -> bool:
        """One bit."""
        return bool(self.f(1))

    def ns(self, n: int) -> int:
        """A number below n, at least 1 (4.10.7)."""
        w = n.bit_length()
        m = (1 << w) - n
        value = self.f(w - 1)
        return value if value < m else (value << 1) - m + self.f(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourConfig:
    """Samples and what they mean (color_config, 5.5.2). The defaults are those of the hybrid codec.

    Attributes:
        mono: there is no chroma.
        subsampling: chroma has half the columns, half the rows.
        separate_uv_delta_q: both chroma planes may have quantisers of their own.
        bit_depth: 8, 10 or 12.
        description: primaries, transfer and matrix (ITU-T H.273); (1, 13, 6) is sRGB by the matrix
            of BT.601, and (2, 2, 2) is unspecified.
        full_range: samples use all values of their bits.
        chroma_position: chroma_sample_position; 0 is unknown.
    """

    mono: bool
    subsampling: tuple[bool, bool]
    separate_uv_delta_q: bool
    bit_depth: int = 8
    description: tuple[int, int, int] = (1, 13, 6)
    full_range: bool = True
    chroma_position: int = 0

    @classmethod
    def read(cls, bits: Bits, profile: int) -> ColourConfig:
        """Read what a sequence header of this profile holds."""
        bit_depth = 10 if bits.flag() else 8
        if profile == 2 and bit_depth == 10 and bits.flag():
            bit_depth = 12
        mono = profile != 1 and bits.flag()
        description = (bits.f(8), bits.f(8), bits.f(8)) if bits.flag() else (2, 2, 2)
        coded_as_rgb = description == _CODED_AS_RGB and not mono
        full_range = coded_as_rgb or bits.flag()
        subsampling = (False, False) if coded_as_rgb else _subsampling(bits, profile, bit_depth, mono)
        return cls(
            mono=mono,
            subsampling=subsampling,
            bit_depth=bit_depth,
            description=description,
            full_range=full_range,
            chroma_position=bits.f(2) if all(subsampling) and not mono else 0,
            separate_uv_delta_q=not mono and bits.flag(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceHeader:
    """A sequence header (5.5), apart from its level. The defaults are those of the hybrid codec.

    Attributes:
        profile: seq_profile; 0 is 4:2:0 or 4:0:0, 1 is 4:4:4, and 2 is all else.
        width, height: of the largest frame, in pixels.
        superblock_128: superblocks have 128x128 pixels, not 64x64.
        filter_intra, intra_edge_filter, cdef, restoration: coding tools that frames may use.
        colour: the samples.
        reduced: it is a reduced_still_picture_header: of one frame, which has no size of its own.
        width_bits, height_bits: of a frame's own size, where it has one.
        frame_id_bits: of a frame's id; 0 without ids.
        order_hint_bits: of a frame's order hint; 0 without hints.
        screen_content_tools, integer_mv: 0, 1 or `SELECT`.
        superres: frames may be coded at a smaller width.
        film_grain: frames may have grain synthesised.
    """

    profile: int
    width: int
    height: int
    superblock_128: bool
    filter_intra: bool
    intra_edge_filter: bool
    cdef: bool
    restoration: bool
    colour: ColourConfig
    reduced: bool = True
    width_bits: int = field(default=16, compare=False)
    height_bits: int = field(default=16, compare=False)
    frame_id_bits: int = 0
    order_hint_bits: int = 0
    screen_content_tools: int = SELECT
    integer_mv: int = SELECT
    superres: bool = False
    film_grain: bool = False

    @classmethod
    def parse(cls, payload: bytes) -> SequenceHeader:
        """Read the payload of an OBU.

        Raises:
            IndexError: it is cut off.
            ValueError: it is of a reserved kind, or of a film: it has timing information.
        """
        bits = Bits(payload)
        profile = bits.f(3)
        still_picture = bits.flag()
        reduced = bits.flag()
        if profile > 2 or (reduced and not still_picture):
            raise ValueError("it has a sequence header of a reserved kind")
        if reduced:
            bits.f(5)  # seq_level_idx
        else:
            _skip_operating_points(bits)
        width_bits = bits.f(4) + 1
        height_bits = bits.f(4) + 1
        width = bits.f(width_bits) + 1
        height = bits.f(height_bits) + 1
        frame_id_bits = 0 if reduced else _frame_id_bits(bits)
        superblock_128 = bits.flag()
        filter_intra = bits.flag()
        intra_edge_filter = bits.flag()
        order_hint_bits, screen_content_tools, integer_mv = _inter_tools(bits, reduced)
        return cls(
            profile=profile,
            width=width,
            height=height,
            superblock_128=superblock_128,
            filter_intra=filter_intra,
            intra_edge_filter=intra_edge_filter,
            superres=bits.flag(),  # from here on the arguments are in the order of the bits
            cdef=bits.flag(),
            restoration=bits.flag(),
            colour=ColourConfig.read(bits, profile),
            film_grain=bits.flag(),
            reduced=reduced,
            width_bits=width_bits,
            height_bits=height_bits,
            frame_id_bits=frame_id_bits,
            order_hint_bits=order_hint_bits,
            screen_content_tools=screen_content_tools,
            integer_mv=integer_mv,
        )

    def to_bytes(self) -> bytes:
        """Write the payload of an OBU, at any level. The fields with defaults must have them.

        The profile must be 0 or 1.
        """
        width_bits = max(1, (self.width - 1).bit_length())
        height_bits = max(1, (self.height - 1).bit_length())
        colour = self.colour
        fields = [
            (self.profile, 3),
            (1, 1),  # still_picture
            (1, 1),  # reduced_still_picture_header
            (ANY_LEVEL, 5),
            (width_bits - 1, 4),
            (height_bits - 1, 4),
            (self.width - 1, width_bits),
            (self.height - 1, height_bits),
            (self.superblock_128, 1),
            (self.filter_intra, 1),
            (self.intra_edge_filter, 1),
            (0, 1),  # enable_superres
            (self.cdef, 1),
            (self.restoration, 1),
            (0, 1),  # high_bitdepth
            *([] if self.profile else [(colour.mono, 1)]),
            (1, 1),  # color_description_present_flag
            *((value, 8) for value in colour.description),
            (1, 1),  # color_range: full
            *([] if colour.mono or self.profile else [(0, 2)]),  # chroma_sample_position: unknown
            *([] if colour.mono else [(colour.separate_uv_delta_q, 1)]),
            (0, 1),  # film_grain_params_present
            (1, 1),  # the trailing bit
        ]
        bits = "".join(format(int(value), f"0{count}b") for value, count in fields)
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _skip_operating_points(bits: Bits) -> None:
    if bits.flag():
        raise ValueError("it has timing information, as no still picture does")
    initial_display_delay = bits.flag()
    for _ in range(bits.f(5) + 1):
        bits.f(12)  # operating_point_idc
        if bits.f(5) > 7:  # seq_level_idx
            bits.f(1)  # seq_tier
        if initial_display_delay and bits.flag():
            bits.f(4)


def _frame_id_bits(bits: Bits) -> int:
    if not bits.flag():
        return 0
    delta_frame_id_bits = bits.f(4) + 2
    return delta_frame_id_bits + bits.f(3) + 1


def _inter_tools(bits: Bits, reduced: bool) -> tuple[int, int, int]:
    """Bits of order hints, seq_force_screen_content_tools and seq_force_integer_mv."""
    if reduced:
        return 0, SELECT, SELECT
    bits.f(4)  # interintra_compound, masked_compound, warped_motion, dual_filter
    order_hint = bits.flag()
    if order_hint:
        bits.f(2)  # jnt_comp, ref_frame_mvs
    screen_content_tools = SELECT if bits.flag() else bits.f(1)
    integer_mv = SELECT
    if screen_content_tools and not bits.flag():
        integer_mv = bits.f(1)
    order_hint_bits = bits.f(3) + 1 if order_hint else 0
    return order_hint_bits, screen_content_tools, integer_mv


def _subsampling(bits: Bits, profile: int, bit_depth: int, mono: bool) -> tuple[bool, bool]:
    if mono or profile == 0:
        return True, True
    if profile == 1:
        return False, False
    if bit_depth < 12:
        return True, False
    columns = bits.flag()
    return columns, columns and bits.flag()
