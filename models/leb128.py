"""LEB128: unsigned integers of any size, 7 bits a byte, the lowest first.

The top bit is set on all bytes but the last.
The container and AV1 (specification 4.10.5) hold their lengths so.
"""

from __future__ import annotations

MAX_BYTES = 8  # of one integer in AV1, 56 bits


def encode(value: int) -> bytes:
    """The shortest encoding of a value from 0 on."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode(data: bytes, offset: int, *, max_bytes: int = MAX_BYTES) -> tuple[int, int]:
    """The value at `offset`, and the offset after it. An encoding need not be the shortest.

    Raises:
        IndexError: the data end within the value.
        ValueError: it takes more than `max_bytes`.
    """
    value = 0
    for index in range(max_bytes):
        byte = data[offset + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, offset + index + 1
    raise ValueError(f"an integer has more than {max_bytes} bytes")
