"""EXIF (CIPA DC-008) of a picture that was turned upright and converted to sRGB.

Directories are taken apart and put together again, with the tags that still hold. Values are moved
as bytes, in their own type and byte order, and none is interpreted that need not be changed:
Pillow's `Image.Exif` would guess their types anew, and make an exposure bias of 0 unsigned.

Only tags of the standard are kept. Others may hold anything, the original picture and its place
included: maker notes, thumbnails, editors' notes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from models.bitstream.metadata import MAX_EXIF_BYTES

MAX_ENTRIES = 1_000  # of a directory; an honest one has some dozens

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}  # by type
_SHORT, _LONG = 3, 4

_ORIENTATION, _EXIF_POINTER, _GPS_POINTER, _MAKER_NOTE = 274, 34665, 34853, 37500
_COLOUR_SPACE, _WIDTH, _HEIGHT = 40961, 40962, 40963
_DESCRIPTIVE = {
    270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432,  # description, make, model ... copyright
    40091, 40092, 40093, 40094, 40095,  # the same in UTF-16, by Windows
}  # fmt: skip
_IMAGE = _DESCRIPTIVE | {_ORIENTATION, 282, 283, 296}  # resolution
# Numbers of the standard, but for what describes the file's own coding (37121, 37122), a recording
# beside it (40964), interoperability (40965), how its colours were filtered (41730) or its gamma.
_PHOTO = {
    *(33434, 33437, 34850, 34852, 34855, 34856, *range(34864, 34870), 36864, 36867, 36868),
    *(36880, 36881, 36882, *range(37377, 37387), 37396, 37510, 37520, 37521, 37522),
    *(*range(37888, 37894), 40960, _COLOUR_SPACE, _WIDTH, _HEIGHT, 41483, 41484, 41486, 41487, 41488),
    *(41492, 41493, 41495, 41728, 41729, *range(41985, 41997), 42016, *range(42032, 42042)),
    *(42080, 42081, 42082),
}
_GPS = set(range(32))
_PLACES_IN_PICTURE = {37396, 41492}  # which another orientation would move
_ACROSS_AND_DOWN = ((282, 283), (41486, 41487))  # resolutions, which turns by a quarter exchange


@dataclass(frozen=True, slots=True)
class _Value:
    """The value of a tag, as it lies in the file."""

    kind: int
    count: int
    content: bytes


_Directory = dict[int, _Value]


def is_telling(block: bytes, at: int) -> bool:
    """Say whether the directory at an offset of a TIFF file has more than the picture's coding."""
    try:
        directory, _ = _read(block, at)
    except (KeyError, ValueError, struct.error):  # BigTIFF, or broken
        return False
    return not directory.keys().isdisjoint(_DESCRIPTIVE | {_EXIF_POINTER, _GPS_POINTER})


def cleaned(
    block: bytes,
    width: int,
    height: int,
    *,
    turned: int = 1,
    gps: bool = False,
    orientation: bool = True,
    at: int | None = None,
) -> tuple[bytes | None, frozenset[str]]:
    """Make EXIF that holds for a picture as a stream has it.

    Args:
        block: a TIFF file, with or without "Exif" before it.
        width, height: of the upright picture.
        turned: the orientation, 1 to 8, that it had before it was turned upright.
        gps: keep where it was taken.
        orientation: keep the tag, as 1; False leaves it out, which means the same.
        at: where the first directory is; None for where the block says.

    Returns:
        The new block, and what was left out of it: "gps", "maker-note", "thumbnail". None where
        nothing is left, or nothing could be read: then it is "exif" that was left out.
    """
    block = block.removeprefix(b"Exif\0\0").removeprefix(b"Exif\0\0")
    order = _ORDERS.get(block[:4])
    removed: set[str] = set()
    try:
        if order is None:
            raise ValueError("not a TIFF file")
        first, following = _read(block, _number(order, block[4:8]) if at is None else at)
        photo = _linked(block, order, first, _EXIF_POINTER)
        place = _linked(block, order, first, _GPS_POINTER)
        if following and at is None:
            removed.add("thumbnail")
        if _MAKER_NOTE in photo:
            removed.add("maker-note")
        if place and not gps:
            removed.add("gps")
        image = _only(first, _IMAGE)
        photo = _only(photo, _PHOTO)
        image.pop(_ORIENTATION if not orientation else -1, None)
        for directory in (image, photo):
            _hold_for_upright(directory, order, width, height, turned)
        new = _written(order, image, photo, _only(place, _GPS) if gps else {})
    except (ValueError, struct.error):
        return None, frozenset({"exif"})
    if len(new) > MAX_EXIF_BYTES:
        return None, frozenset({"exif"})
    return (new if image or photo or (place and gps) else None), frozenset(removed)


def _read(block: bytes, at: int) -> tuple[_Directory, int]:
    """The directory at an offset, and where the next one is. Values that are cut off are left out.

    Raises:
        ValueError, struct.error: it is broken, or its values are too large together.
    """
    order = _ORDERS[block[:4]]
    (count,) = struct.unpack_from(order + "H", block, at)
    if count > MAX_ENTRIES:
        raise ValueError("too many tags")
    directory: _Directory = {}
    total = 0
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(order + "HHI", block, entry)
        size = _SIZES.get(kind, 0) * length
        start = entry + 8 if size <= 4 else _number(order, block[entry + 8 : entry + 12])
        if not size or tag in directory or tag not in _READ or start + size > len(block):
            continue
        total += 0 if tag == _MAKER_NOTE else size
        if total > MAX_EXIF_BYTES:
            raise ValueError("its values are too large")
        directory[tag] = _Value(kind, length, b"" if tag == _MAKER_NOTE else block[start : start + size])
    after = block[at + 2 + 12 * count : at + 6 + 12 * count]
    return directory, _number(order, after) if len(after) == 4 else 0


_READ = _IMAGE | _PHOTO | _GPS | {_EXIF_POINTER, _GPS_POINTER, _MAKER_NOTE}


def _linked(block: bytes, order: str, directory: Mapping[int, _Value], pointer: int) -> _Directory:
    if pointer not in directory or directory[pointer].kind not in (_LONG, 13):
        return {}
    return _read(block, _number(order, directory[pointer].content[:4]))[0]


def _only(directory: Mapping[int, _Value], tags: set[int]) -> _Directory:
    return {tag: value for tag, value in directory.items() if tag in tags}


def _hold_for_upright(directory: _Directory, order: str, width: int, height: int, turned: int) -> None:
    """Change what says how the picture lay in its file."""
    truths = {_ORIENTATION: 1, _COLOUR_SPACE: 1, _WIDTH: width, _HEIGHT: height}
    for tag, number in truths.items():
        if tag in directory:
            directory[tag] = _Value(_SHORT, 1, struct.pack(order + "H", number))
    if turned != 1:
        for tag in _PLACES_IN_PICTURE:
            directory.pop(tag, None)
    if turned >= 5:
        for across, down in _ACROSS_AND_DOWN:
            if across in directory and down in directory:
                directory[across], directory[down] = directory[down], directory[across]


def _written(order: str, image: _Directory, photo: _Directory, place: _Directory) -> bytes:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    linked = [(tag, made) for tag, made in ((_EXIF_POINTER, photo), (_GPS_POINTER, place)) if made]
    pointers = {tag: _Value(_LONG, 1, bytes(4)) for tag, _ in linked}
    at = 8 + len(_directory(order, image | pointers, 8))
    parts = []
    for tag, made in linked:
        pointers[tag] = _Value(_LONG, 1, struct.pack(order + "I", at))
        parts.append(_directory(order, made, at))
        at += len(parts[-1])
    return b"".join([head, _directory(order, image | pointers, 8), *parts])


def _directory(order: str, directory: Mapping[int, _Value], at: int) -> bytes:
    """A directory to lie at an offset, and its values behind it, each from an even offset on."""
    entries = struct.pack(order + "H", len(directory))
    values = b""
    behind = at + 6 + 12 * len(directory)
    for tag, value in sorted(directory.items()):
        content = value.content.ljust(4, b"\0")
        if len(content) > 4:
            content = struct.pack(order + "I", behind + len(values))
            values += value.content + bytes(len(value.content) % 2)
        entries += struct.pack(order + "HHI", tag, value.kind, value.count) + content
    return entries + bytes(4) + values


def _number(order: str, content: bytes) -> int:
    return int(struct.unpack(order + "I", content)[0])
