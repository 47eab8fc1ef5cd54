"""AVIF: base_q_idx in the AV1 frame header of the primary item (ISO/IEC 14496-12 and 23008-12; AV1 specification, sections 5.5 and 5.9).

Of a grid, the first cell speaks for all.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from ...avif import quantiser as av1

LARGEST_INDEX = 255
BOXES = 10_000  # on one level; an honest file of the largest grid has a tenth
_BRANDS = {b"avif", b"avis"}


def is_avif(file: bytes) -> bool:
    """Whether the file begins like one."""
    if file[4:8] != b"ftyp":
        return False
    brands = file[8 : min(int.from_bytes(file[:4], "big"), 4096)]
    return bool(_BRANDS & {brands[at : at + 4] for at in range(0, len(brands), 4) if at != 4})  # at 4 there is a version


def coarseness(file: bytes) -> float:
    """base_q_idx / 255. Raises ValueError, IndexError or KeyError for a lossless file or a broken one."""
    index = av1.base_q_idx(_coded_item(file))
    if index == 0:
        raise ValueError("it is lossless")
    return index / LARGEST_INDEX


def _coded_item(file: bytes) -> bytes:
    meta = dict(_boxes(dict(_boxes(file))[b"meta"][4:]))
    pitm = _Reader(meta[b"pitm"])
    item = pitm.number(2 if pitm.version() == 0 else 4)
    kinds = dict(_item_types(meta[b"iinf"]))
    if kinds[item] == b"grid":
        item = next(targets[0] for name, origin, targets in _references(meta[b"iref"]) if name == b"dimg" and origin == item)
    if kinds[item] != b"av01":
        raise ValueError("its primary item is not coded with AV1")
    return _content(item, meta[b"iloc"], file, meta.get(b"idat", b""))


class _Reader(io.BytesIO):
    """Big-endian numbers, one after the other. Raises IndexError at the end."""

    def number(self, size: int) -> int:
        content = self.read(size)
        if len(content) < size:
            raise IndexError("a box is cut off")
        return int.from_bytes(content, "big")

    def version(self) -> int:
        """Of a full box; skips its flags."""
        version = self.number(1)
        self.number(3)
        return version


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each box, of so many at most."""
    at = 0
    for _ in range(BOXES):
        if at + 8 > len(content):
            return
        size, head = int.from_bytes(content[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        size = size or len(content) - at
        if size < head:
            raise ValueError("a box is smaller than its head")
        yield content[at + 4 : at + 8], content[at + head : at + size]
        at += size
    raise ValueError("it has too many boxes")


def _item_types(iinf: bytes) -> Iterator[tuple[int, bytes]]:
    reader = _Reader(iinf)
    reader.number(2 if reader.version() == 0 else 4)
    for name, entry in _boxes(reader.read()):
        if name == b"infe":
            fields = _Reader(entry)
            version = fields.version()
            item = fields.number(2 if version == 2 else 4)
            fields.number(2)  # protection
            yield item, fields.read(4)


def _references(iref: bytes) -> Iterator[tuple[bytes, int, list[int]]]:
    """Type, origin and targets of each reference between items."""
    reader = _Reader(iref)
    size = 2 if reader.version() == 0 else 4
    for name, content in _boxes(reader.read()):
        fields = _Reader(content)
        origin, count = fields.number(size), fields.number(2)
        yield name, origin, [fields.number(size) for _ in range(count)]


def _content(wanted: int, iloc: bytes, file: bytes, idat: bytes) -> bytes:
    """The bytes of an item's first extent: where its headers are."""
    reader = _Reader(iloc)
    version = reader.version()
    sizes = reader.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(reader.number(2 if version < 2 else 4)):
        item = reader.number(2 if version < 2 else 4)
        in_idat = version > 0 and reader.number(2) & 15 == 1
        reader.number(2)  # data reference
        base = reader.number(base_size)
        extents = reader.number(2)
        index_size = index_size if version > 0 else 0
        reader.number(index_size)
        start, length = base + reader.number(offset_size), reader.number(length_size)
        if item == wanted:
            return (idat if in_idat else file)[start : start + length if length else None]
        reader.seek((extents - 1) * (index_size + offset_size + length_size), io.SEEK_CUR)
    raise ValueError("the primary item is nowhere")
