"""The quantiser of an AV1 still picture: base_q_idx of its first frame.

It is read from the frame header, with all that lies before it. Sections and names of fields are
those of the AV1 Bitstream & Decoding Process Specification, version 1.0.0 with errata 1.
"""

from __future__ import annotations

from models.avif import obu
from models.avif.obu import Bits, SequenceHeader

MAX_INDEX = 255  # of base_q_idx, the coarsest

_KEY_FRAME = 0  # frame_type
_MAX_TILE_WIDTH = 4096  # MAX_TILE_WIDTH, in pixels
_MAX_TILE_AREA = 4096 * 2304  # MAX_TILE_AREA, in pixels
_MAX_TILES = 64  # MAX_TILE_COLS and MAX_TILE_ROWS


def base_q_idx(stream: bytes) -> int:
    """Quantiser index of the first frame in the OBUs, 0 (lossless) to `MAX_INDEX`.

    Raises:
        IndexError: the stream is cut off within a header.
        ValueError: there is no frame, or the first is none of a still picture.
    """
    sequence = None
    for unit in obu.units(stream):
        if unit.kind == obu.SEQUENCE_HEADER:
            sequence = SequenceHeader.parse(unit.payload)
        elif unit.kind in (obu.FRAME, obu.FRAME_HEADER) and sequence is not None:
            return _base_q_idx(Bits(unit.payload), sequence)
    raise ValueError("it has no AV1 frame")


def _base_q_idx(bits: Bits, sequence: SequenceHeader) -> int:
    """Read a frame header (5.9.2), for a key frame that is shown."""
    # show_existing_frame, frame_type, show_frame
    if not sequence.reduced and (bits.flag() or bits.f(2) != _KEY_FRAME or not bits.flag()):
        raise ValueError("its first AV1 frame is no key frame that is shown")
    disable_cdf_update = bits.flag()
    screen_content_tools = sequence.screen_content_tools
    if screen_content_tools == obu.SELECT:
        screen_content_tools = bits.f(1)
    if screen_content_tools and sequence.integer_mv == obu.SELECT:
        bits.f(1)  # force_integer_mv
    bits.f(sequence.frame_id_bits)
    size_override = not sequence.reduced and bits.flag()
    bits.f(sequence.order_hint_bits)
    width = sequence.width
    height = sequence.height
    if size_override:
        width = bits.f(sequence.width_bits) + 1
        height = bits.f(sequence.height_bits) + 1
    coded_width = width
    if sequence.superres and bits.flag():
        denominator = bits.f(3) + 9
        coded_width = (width * 8 + denominator // 2) // denominator
    if bits.flag():
        bits.f(16 + 16)  # render size
    if screen_content_tools and coded_width == width:
        bits.f(1)  # allow_intrabc
    if not (sequence.reduced or disable_cdf_update):
        bits.f(1)  # disable_frame_end_update_cdf
    _skip_tile_info(bits, coded_width, height, superblock=128 if sequence.superblock_128 else 64)
    return bits.f(8)


def _skip_tile_info(bits: Bits, width: int, height: int, superblock: int) -> None:
    """Read over tile_info (5.9.15). All sides are in pixels."""
    columns = _superblocks(width, superblock)
    rows = _superblocks(height, superblock)
    max_tile_columns = _MAX_TILE_WIDTH // superblock
    min_columns_log2 = _log2(max_tile_columns, columns)
    min_tiles_log2 = max(min_columns_log2, _log2(_MAX_TILE_AREA // superblock**2, rows * columns))
    if bits.flag():  # uniform_tile_spacing_flag
        columns_log2 = _increments(bits, min_columns_log2, _log2(1, min(columns, _MAX_TILES)))
        min_rows_log2 = max(min_tiles_log2 - columns_log2, 0)
        rows_log2 = _increments(bits, min_rows_log2, _log2(1, min(rows, _MAX_TILES)))
    else:
        widths = _spans(bits, columns, max_tile_columns)
        area = rows * columns
        if min_tiles_log2:
            area >>= min_tiles_log2 + 1
        heights = _spans(bits, rows, max(area // max(widths), 1))
        columns_log2 = _log2(1, len(widths))
        rows_log2 = _log2(1, len(heights))
    if columns_log2 or rows_log2:
        bits.f(columns_log2 + rows_log2 + 2)  # context_update_tile_id, tile_size_bytes


def _superblocks(side: int, superblock: int) -> int:
    """Superblocks along a side, which is rounded up to blocks of 8 pixels."""
    return -(-(side + 7 & ~7) // superblock)


def _log2(block: int, target: int) -> int:
    """Smallest k with block << k at least target (tile_log2, 5.9.16)."""
    k = 0
    while block << k < target:
        k += 1
    return k


def _increments(bits: Bits, value: int, most: int) -> int:
    """The value that a run of increment flags leads to."""
    while value < most and bits.flag():
        value += 1
    return value


def _spans(bits: Bits, length: int, longest: int) -> list[int]:
    """Sides of the tiles that a length is split into."""
    spans: list[int] = []
    while length > 0:
        spans.append(bits.ns(min(length, longest)) + 1)
        length -= spans[-1]
    return spans
