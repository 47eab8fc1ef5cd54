"""JPEG (ITU-T T.81): the quality that the IJG's encoder would have needed for a luma quantisation table like the file's."""

from __future__ import annotations

import statistics
import struct

# Annex K, table K.1, in zigzag order as files hold it: what quality scales.
_LUMA = (
    *(16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51),
    *(
        56,
        55,
        64,
        72,
        92,
        78,
        64,
        68,
        87,
        69,
        55,
        56,
        80,
        109,
        81,
        87,
        95,
        98,
        103,
        104,
        103,
        62,
        77,
        113,
        121,
        112,
        100,
        120,
        92,
        101,
        103,
        99,
    ),
)
_SOI, _EOI, _SOS, _DQT = 0xD8, 0xD9, 0xDA, 0xDB
_MARKERS = 100_000  # and fill bytes between them
_LARGEST = 255  # entry of a baseline table; those that were cut off there say nothing of the scale


def is_jpeg(file: bytes) -> bool:
    """Whether the file begins like one."""
    return file[:3] == b"\xff\xd8\xff"


def coarseness(file: bytes) -> float:
    """1 - quality / 100. Raises ValueError or IndexError when there is no table of luma (number 0) before the first scan."""
    table = _tables(file)[0]
    known = [(entry, luma) for entry, luma in zip(table, _LUMA, strict=True) if 1 < entry < _LARGEST]
    scale = 100 * (sum(entry for entry, _ in known) / sum(luma for _, luma in known)) if known else 100 * statistics.fmean(table) / 57.6
    quality = 5000 / scale if scale > 100 else (200 - scale) / 2
    return 1 - min(max(quality, 0.0), 100.0) / 100


def _tables(file: bytes) -> dict[int, tuple[int, ...]]:
    tables: dict[int, tuple[int, ...]] = {}
    at = 2
    for _ in range(_MARKERS):
        if file[at] == file[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        marker, length = file[at + 1], int.from_bytes(file[at + 2 : at + 4], "big")
        if file[at] != 0xFF or length < 2:
            raise ValueError("no marker where one belongs")
        if marker in (_SOS, _EOI):
            if 0 not in tables:
                raise ValueError("it has no quantisation table 0")
            return tables
        if marker == _DQT:
            tables |= _quantisation(file[at + 4 : at + 2 + length])
        at += 2 + length
    raise ValueError("it has too many markers")


def _quantisation(segment: bytes) -> dict[int, tuple[int, ...]]:
    tables = {}
    while segment:
        wide, number = segment[0] >> 4, segment[0] & 15
        size = 128 if wide else 64
        if len(segment) < 1 + size:
            raise ValueError("a quantisation table is cut off")
        tables[number] = struct.unpack(">64H" if wide else ">64B", segment[1 : 1 + size])
        segment = segment[1 + size :]
    return tables
