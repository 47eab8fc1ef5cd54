"""AV1: base_q_idx of the first frame of a still picture. Parses what lies before it in the headers, as the specification lists it.

Names of fields and the numbers of sections are the specification's (AV1 Bitstream & Decoding Process, version 1.0.0 with errata 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY_FRAME = 0
_SELECT = 2  # SELECT_SCREEN_CONTENT_TOOLS, SELECT_INTEGER_MV
_MAX_TILE_WIDTH, _MAX_TILE_AREA, _MAX_TILES = 4096, 4096 * 2304, 64


class _Bits:
    """f(n) and su, section 4.10. Raises IndexError at the end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def f(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._content[self._at >> 3] >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def ns(self, n: int) -> int:
        """A number below n."""
        w = n.bit_length()
        m = (1 << w) - n
        value = self.f(w - 1)
        return value if value < m else (value << 1) - m + self.f(1)


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a frame header needs to know of the sequence header (section 5.5)."""

    reduced: bool
    width_bits: int
    height_bits: int
    width: int
    height: int
    frame_id_bits: int
    use_128x128: bool
    screen_content_tools: int
    integer_mv: int
    order_hint_bits: int
    superres: bool


def base_q_idx(stream: bytes) -> int:
    """Of the first frame in the stream's OBUs. Raises ValueError or IndexError."""
    sequence = None
    for kind, content in _obus(stream):
        if kind == _SEQUENCE_HEADER:
            sequence = _sequence(_Bits(content))
        elif kind in (_FRAME, _FRAME_HEADER) and sequence is not None:
            return _base_q_idx(_Bits(content), sequence)
    raise ValueError("it has no AV1 frame")


def _obus(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content, section 5.3."""
    at = 0
    while at < len(stream):
        header = stream[at]
        at += 2 if header & 4 else 1  # obu_extension_flag
        size = len(stream) - at
        if header & 2:  # obu_has_size_field: leb128
            size = shift = 0
            while True:
                byte = stream[at]
                at += 1
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
        yield header >> 3 & 15, stream[at : at + size]
        at += size


def _sequence(bits: _Bits) -> _Sequence:
    bits.f(3 + 1)  # seq_profile, still_picture
    reduced = bool(bits.f(1))
    if reduced:
        bits.f(5)  # seq_level_idx
    else:
        if bits.f(1):
            raise ValueError("it has timing information, as no still picture does")
        display_delay = bits.f(1)
        for _ in range(bits.f(5) + 1):
            bits.f(12)  # operating_point_idc
            if bits.f(5) > 7:
                bits.f(1)  # seq_tier
            if display_delay and bits.f(1):
                bits.f(4)
    width_bits, height_bits = bits.f(4) + 1, bits.f(4) + 1
    width, height = bits.f(width_bits) + 1, bits.f(height_bits) + 1
    frame_id_bits = 0
    if not reduced and bits.f(1):
        delta = bits.f(4) + 2
        frame_id_bits = delta + bits.f(3) + 1
    use_128x128 = bool(bits.f(1))
    bits.f(2)  # enable_filter_intra, enable_intra_edge_filter
    screen_content_tools = integer_mv = _SELECT
    order_hint_bits = 0
    if not reduced:
        bits.f(4)  # interintra_compound, masked_compound, warped_motion, dual_filter
        order_hint = bits.f(1)
        if order_hint:
            bits.f(2)  # jnt_comp, ref_frame_mvs
        if not bits.f(1):
            screen_content_tools = bits.f(1)
        if screen_content_tools and not bits.f(1):
            integer_mv = bits.f(1)
        if order_hint:
            order_hint_bits = bits.f(3) + 1
    superres = bool(bits.f(1))
    return _Sequence(
        reduced,
        width_bits,
        height_bits,
        width,
        height,
        frame_id_bits,
        use_128x128,
        screen_content_tools,
        integer_mv,
        order_hint_bits,
        superres,
    )


def _base_q_idx(bits: _Bits, sequence: _Sequence) -> int:
    """Section 5.9.2, for a key frame that is shown."""
    # show_existing_frame, frame_type, show_frame
    if not sequence.reduced and (bits.f(1) or bits.f(2) != _KEY_FRAME or not bits.f(1)):
        raise ValueError("its first AV1 frame is no key frame that is shown")
    disable_cdf_update = bits.f(1)
    screen_content_tools = bits.f(1) if sequence.screen_content_tools == _SELECT else sequence.screen_content_tools
    if screen_content_tools and sequence.integer_mv == _SELECT:
        bits.f(1)  # force_integer_mv
    bits.f(sequence.frame_id_bits)
    size_override = 0 if sequence.reduced else bits.f(1)
    bits.f(sequence.order_hint_bits)
    width, height = sequence.width, sequence.height
    if size_override:
        width, height = bits.f(sequence.width_bits) + 1, bits.f(sequence.height_bits) + 1
    coded_width = width
    if sequence.superres and bits.f(1):
        denominator = bits.f(3) + 9
        coded_width = (width * 8 + denominator // 2) // denominator
    if bits.f(1):
        bits.f(16 + 16)  # render size
    if screen_content_tools and coded_width == width:
        bits.f(1)  # allow_intrabc
    if not (sequence.reduced or disable_cdf_update):
        bits.f(1)  # disable_frame_end_update_cdf
    _skip_tile_info(bits, sequence, coded_width, height)
    return bits.f(8)


def _skip_tile_info(bits: _Bits, sequence: _Sequence, width: int, height: int) -> None:
    """Section 5.9.15."""
    superblock = 128 if sequence.use_128x128 else 64
    columns, rows = -(-(width + 7 & ~7) // superblock), -(-(height + 7 & ~7) // superblock)
    widest, largest = _MAX_TILE_WIDTH // superblock, _MAX_TILE_AREA // superblock**2
    least_columns = _log2(widest, columns)
    least = max(least_columns, _log2(largest, rows * columns))
    if bits.f(1):  # uniform_tile_spacing_flag
        columns_log2 = _increments(bits, least_columns, _log2(1, min(columns, _MAX_TILES)))
        rows_log2 = _increments(bits, max(least - columns_log2, 0), _log2(1, min(rows, _MAX_TILES)))
    else:
        widths = _spans(bits, columns, widest)
        area = rows * columns >> (least + 1) if least else rows * columns
        columns_log2, rows_log2 = _log2(1, len(widths)), _log2(1, len(_spans(bits, rows, max(area // max(widths), 1))))
    if columns_log2 or rows_log2:
        bits.f(columns_log2 + rows_log2 + 2)  # context_update_tile_id, tile_size_bytes


def _log2(block: int, target: int) -> int:
    """Smallest k with block << k at least target, section 5.9.16."""
    k = 0
    while block << k < target:
        k += 1
    return k


def _increments(bits: _Bits, value: int, most: int) -> int:
    while value < most and bits.f(1):
        value += 1
    return value


def _spans(bits: _Bits, length: int, longest: int) -> list[int]:
    spans = []
    while length > 0:
        spans.append(bits.ns(min(length, longest)) + 1)
        length -= spans[-1]
    return spans
