"""WebP: the quantiser index of the VP8 key frame, over the segments that the frame is split into.

It is in the frame header: RFC 6386, sections 7 and 9, whose names the comments use.
"""

from __future__ import annotations

MAX_INDEX = 127  # the coarsest

_MAX_CHUNKS = 100  # before the picture; an honest file has three
_SEGMENTS = 4


def is_webp(file: bytes) -> bool:
    """Tell from the first bytes whether this may be a WebP file."""
    return file[:4] == b"RIFF" and file[8:12] == b"WEBP"


def coarseness(file: bytes) -> float:
    """Mean quantiser index / 127, in [0, 1]. Raises ValueError for a lossless or broken file."""
    header = _BoolDecoder(_first_partition(file))
    header.literal(2)  # color_space, clamping_type
    weights, indices, absolute = _segments(header)
    header.literal(1 + 6 + 3)  # filter_type, loop_filter_level, sharpness_level
    if header.literal(1) and header.literal(1):  # loop_filter_adj_enable, mode_ref_lf_delta_update
        for _ in range(8):
            header.optional(6)
    header.literal(2)  # log2_nbr_of_dct_partitions
    frame_index = header.literal(7)
    mean = 0.0
    for weight, segment_index in zip(weights, indices, strict=True):
        index = segment_index if absolute else frame_index + segment_index
        mean += weight * min(max(index, 0), MAX_INDEX)
    return mean / MAX_INDEX


def _first_partition(file: bytes) -> bytes:
    """The VP8 frame after its uncompressed header."""
    at = 12
    for _ in range(_MAX_CHUNKS):
        name = file[at : at + 4]
        size = int.from_bytes(file[at + 4 : at + 8], "little")
        if name == b"VP8L":
            raise ValueError("it is lossless")
        if name == b"VP8 ":
            frame = file[at + 8 : at + 8 + size]
            if len(frame) < 10 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
                raise ValueError("its VP8 frame is no key frame")
            return frame[10:]
        at += 8 + size + size % 2
    raise ValueError("it has no VP8 frame")


def _segments(header: _BoolDecoder) -> tuple[list[float], list[int], bool]:
    """Share of the macroblocks and quantiser index of each segment.

    The last is False when the indices are differences to the frame's.
    """
    if not header.literal(1):  # segmentation_enabled
        return [1.0], [0], False
    new_map = header.literal(1)
    new_values = header.literal(1)
    absolute = False
    indices = [0] * _SEGMENTS
    if new_values:
        absolute = bool(header.literal(1))
        indices = [header.optional(7) for _ in range(_SEGMENTS)]
        for _ in range(_SEGMENTS):
            header.optional(6)  # of the loop filter
    if not new_map:
        return [1.0, 0.0, 0.0, 0.0], indices, absolute
    # A macroblock's segment is coded by a tree of two bits. Each probability is that of a zero, as
    # the encoder counted it.
    first, low, high = ((header.literal(8) if header.literal(1) else 255) / 256 for _ in range(3))
    weights = [first * low, first * (1 - low), (1 - first) * high, (1 - first) * (1 - high)]
    return weights, indices, absolute


class _BoolDecoder:
    """The decoder of RFC 6386, section 7, for bits of probability one half, as all are here."""

    def __init__(self, coded: bytes) -> None:
        self._coded = coded
        self._value = int.from_bytes(coded[:2], "big")
        self._at = 2
        self._range = 255
        self._shifted = 0

    def literal(self, bits: int) -> int:
        """An unsigned number. Raises ValueError at the end of the data."""
        value = 0
        for _ in range(bits):
            value = 2 * value + self._bit()
        return value

    def optional(self, bits: int) -> int:
        """A flag, and if it is set a number and its sign; else 0. Raises as `literal` does."""
        if not self.literal(1):
            return 0
        value = self.literal(bits)
        return -value if self.literal(1) else value

    def _bit(self) -> int:
        split = 1 + (((self._range - 1) * 128) >> 8)
        bit = int(self._value >= split << 8)
        if bit:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._value <<= 1
            self._range <<= 1
            self._shifted += 1
            if self._shifted == 8:
                self._shifted = 0
                if self._at >= len(self._coded):
                    raise ValueError("its VP8 frame is cut off")
                self._value |= self._coded[self._at]
                self._at += 1
        return bit
