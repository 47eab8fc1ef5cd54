"""ISOBMFF: the boxes of an AVIF file, read and written (ISO/IEC 14496-12 and 23008-12; AVIF 1.1).

What is read may be any AVIF file. What is written holds one AV1 still picture.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence

MAX_BOXES = 10_000  # on one level, and of items; an honest file of the largest grid has a tenth

_BRANDS = {b"avif", b"avis"}


def is_avif(file: bytes) -> bool:
    """Tell from the first box whether this may be an AVIF file."""
    if file[4:8] != b"ftyp":
        return False
    brands = file[8 : min(int.from_bytes(file[:4], "big"), 4096)]
    versions_at = 4  # of the first brand
    return any(brands[at : at + 4] in _BRANDS for at in range(0, len(brands), 4) if at != versions_at)


# Reading


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each box; the content of the last may be cut off.

    Raises:
        ValueError: a box is smaller than its head, or there are more than `MAX_BOXES`.
    """
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(content):
            return
        size = int.from_bytes(content[at : at + 4], "big")
        head = 8
        if size == 1:
            size = int.from_bytes(content[at + 8 : at + 16], "big")
            head = 16
        size = size or len(content) - at
        if size < head:
            raise ValueError("a box is smaller than its head")
        yield content[at + 4 : at + 8], content[at + head : at + size]
        at += size
    raise ValueError("it has too many boxes")


def coded_item(file: bytes) -> bytes:
    """OBUs of the primary item; of a grid, those of its first cell. Only the first extent is read.

    Raises:
        IndexError: a box is cut off.
        KeyError: a box or an item is missing.
        ValueError: the boxes contradict each other, or the item is not AV1.
    """
    meta = dict(boxes(dict(boxes(file))[b"meta"][4:]))
    pitm = Fields(meta[b"pitm"])
    item = pitm.number(2 if pitm.version() == 0 else 4)
    kinds = dict(item_types(meta[b"iinf"]))
    if kinds[item] == b"grid":
        item = _first_cell(item, meta[b"iref"])
    if kinds[item] != b"av01":
        raise ValueError("its primary item is not coded with AV1")
    return _first_extent(item, meta[b"iloc"], file, meta.get(b"idat", b""))


class Fields(io.BytesIO):
    """Big-endian numbers, one after the other."""

    def number(self, size: int) -> int:
        """A number of `size` bytes. Raises IndexError at the end."""
        content = self.read(size)
        if len(content) < size:
            raise IndexError("a box is cut off")
        return int.from_bytes(content, "big")

    def version(self) -> int:
        """The version of a full box; skips its flags."""
        version = self.number(1)
        self.number(3)
        return version


def metadata_items(file: bytes) -> tuple[bytes | None, bytes | None]:
    """EXIF, without "Exif" before it, and XMP; None for what there is not, of several the first.

    Raises as `coded_item` does.
    """
    meta = dict(boxes(dict(boxes(file))[b"meta"][4:]))
    found: dict[bytes, bytes] = {}
    for item, kind, rest in _entries(meta[b"iinf"]):
        _name, _, described = rest.partition(b"\0")
        is_xmp = kind == b"mime" and described.startswith(b"application/rdf+xml\0")
        if (is_xmp or kind == b"Exif") and kind not in found:
            found[kind] = _first_extent(item, meta[b"iloc"], file, meta.get(b"idat", b""))
    exif = found.get(b"Exif")
    if exif is not None:
        exif = exif[4 + int.from_bytes(exif[:4], "big") :].removeprefix(b"Exif\0\0")
    return exif, found.get(b"mime")


def item_types(iinf: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and type of each item. Raises as `coded_item` does."""
    return ((item, kind) for item, kind, _ in _entries(iinf))


def _entries(iinf: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number and type of each item, and the rest of its entry."""
    fields = Fields(iinf)
    fields.number(2 if fields.version() == 0 else 4)
    for name, content in boxes(fields.read()):
        if name == b"infe":
            entry = Fields(content)
            item = entry.number(2 if entry.version() == 2 else 4)
            entry.number(2)  # protection
            yield item, entry.read(4), entry.read()


def _first_cell(grid: int, iref: bytes) -> int:
    """The first item that a grid is made of."""
    fields = Fields(iref)
    size = 2 if fields.version() == 0 else 4
    for name, content in boxes(fields.read()):
        reference = Fields(content)
        if name == b"dimg" and reference.number(size) == grid and reference.number(2):
            return reference.number(size)
    raise ValueError("its grid has no cells")


def _first_extent(wanted: int, iloc: bytes, file: bytes, idat: bytes) -> bytes:
    fields = Fields(iloc)
    version = fields.version()
    sizes = fields.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    if version == 0:
        index_size = 0
    item_size = 2 if version < 2 else 4
    for _ in range(min(fields.number(item_size), MAX_BOXES)):
        item = fields.number(item_size)
        in_idat = version > 0 and fields.number(2) & 15 == 1
        fields.number(2)  # data reference
        base = fields.number(base_size)
        extents = fields.number(2)
        fields.number(index_size)
        start = base + fields.number(offset_size)
        length = fields.number(length_size)
        if item == wanted:
            return (idat if in_idat else file)[start : start + length if length else None]
        fields.seek((extents - 1) * (index_size + offset_size + length_size), io.SEEK_CUR)
    raise ValueError("the primary item is nowhere")


# Writing


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of this type, of four letters."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, *parts: bytes, version: int = 0) -> bytes:
    """A box that begins with a version and, here, no flags."""
    return box(kind, bytes([version, 0, 0, 0]), *parts)


def still_picture(properties: Sequence[bytes], media: bytes) -> bytes:
    """An AVIF file of one item: its property boxes, and its OBUs."""
    ftyp = box(b"ftyp", b"avif", bytes(4), b"avif", b"mif1", b"miaf")
    essential = 0x80  # readers must know the decoder's configuration; the others tell what it tells
    associations = bytes(
        number | essential * (content[4:8] == b"av1C") for number, content in enumerate(properties, 1)
    )
    iprp = box(
        b"iprp",
        box(b"ipco", *properties),
        full_box(b"ipma", struct.pack(">IHB", 1, 1, len(properties)), associations),
    )

    def meta(offset: int) -> bytes:
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", struct.pack(">H", 1)),
            full_box(b"iloc", struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, offset, len(media))),
            full_box(
                b"iinf",
                struct.pack(">H", 1),
                full_box(b"infe", struct.pack(">HH", 1, 0), b"av01", bytes(1), version=2),
            ),
            iprp,
        )

    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + box(b"mdat", media)
