"""WebP: the quantiser index in the header of the VP8 key frame (RFC 6386, sections 7 and 9), over the segments that it splits into."""

from __future__ import annotations

LARGEST_INDEX = 127
_CHUNKS = 100  # before the picture; an honest file has three


def is_webp(file: bytes) -> bool:
    """Whether the file begins like one."""
    return file[:4] == b"RIFF" and file[8:12] == b"WEBP"


def coarseness(file: bytes) -> float:
    """Mean quantiser index / 127. Raises ValueError for a lossless file or a broken one."""
    header = _BoolDecoder(_first_partition(file))
    header.literal(2)  # colour space, clamping
    weights, indices, absolute = _segments(header) if header.literal(1) else ([1.0], [0], False)
    header.literal(1 + 6 + 3)  # the loop filter's type, level, sharpness
    if header.literal(1) and header.literal(1):  # its adjustments, and new ones
        for _ in range(8):
            header.optional(6)
    header.literal(2)  # number of further partitions
    index = header.literal(7)
    found = [one if absolute else index + one for one in indices]
    mean = sum(weight * min(max(one, 0), LARGEST_INDEX) for weight, one in zip(weights, found, strict=True))
    return mean / LARGEST_INDEX


def _first_partition(file: bytes) -> bytes:
    at = 12
    for _ in range(_CHUNKS):
        name, size = file[at : at + 4], int.from_bytes(file[at + 4 : at + 8], "little")
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
    """Share of the macroblocks, index and whether that is no difference to the frame's, of the four segments."""
    new_map, new_values = header.literal(1), header.literal(1)
    absolute, indices = False, [0, 0, 0, 0]
    if new_values:
        absolute = bool(header.literal(1))
        indices = [header.optional(7) for _ in range(4)]
        for _ in range(4):
            header.optional(6)  # of the loop filter
    # A macroblock's segment is coded by a tree of two bits; each probability is that of a zero, as the encoder counted it.
    zero = [(header.literal(8) if header.literal(1) else 255) / 256 for _ in range(3)] if new_map else [1.0, 1.0, 1.0]
    weights = [zero[0] * zero[1], zero[0] * (1 - zero[1]), (1 - zero[0]) * zero[2], (1 - zero[0]) * (1 - zero[2])]
    return weights, indices, absolute


class _BoolDecoder:
    """RFC 6386, section 7, for bits of probability one half: all that a frame's header has."""

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
        """A flag, and if it is set a number and its sign; else 0."""
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
