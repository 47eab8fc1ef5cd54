"""AVIF: the properties of its primary item, and its samples.

Pillow, or libavif below it, decodes items and puts grids together. What the properties say of
cropping, turning and colour is read here. EXIF and XMP say nothing of that in AVIF, and the decoder
does not see them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from models.avif import obu
from models.avif.isobmff import Fields, boxes, coded_item, item_types, metadata_items
from models.metadata import Metadata

from .colour import Colour, described
from .errors import AnimatedImageError, DamagedImageError, UnsupportedVariantError
from .facts import Coded, Facts, Header
from .orientation import of_turn
from .pillow import loaded

_BROKEN = (ValueError, IndexError, KeyError)
_NOT_COLOUR = (b"Exif", b"mime", b"uri ")
# Matrices that libavif does not know: BT.2020 with constant luminance, and others with transfer
# functions of their own.
_UNKNOWN_MATRICES = (10, 11, 13, 14)

_MAX_ASSOCIATIONS = 100_000  # of all items with properties; cells of the largest grid have a half

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class _Primary:
    """Properties of the primary item.

    Attributes:
        width, height: of the decoded item, in pixels.
        crop: what is shown of it, before it is turned; None for all.
        quarters: turns anticlockwise.
        mirror: 0 for top and bottom, 1 for left and right, after turning; None for neither.
        profile: an ICC profile.
        coding: primaries, transfer and matrix of H.273, of the item's property.
    """

    width: int
    height: int
    crop: Box | None = None
    quarters: int = 0
    mirror: int | None = None
    profile: bytes | None = None
    coding: tuple[int, int, int] | None = None


def read(file: bytes) -> Facts:
    """The facts of an AVIF file.

    Raises:
        AnimatedImageError: it is a sequence.
        DamagedImageError: its boxes are broken.
        UnsupportedVariantError: HDR, or matrices that libavif does not know.
    """
    try:
        top = dict(reversed(list(boxes(file))))
        if (file[8:12] == b"avis" or b"meta" not in top) and b"moov" in top:
            _refuse_sequence(top[b"moov"])
        meta = dict(boxes(top[b"meta"][4:]))
        primary = _primary(meta)
    except _BROKEN as error:
        raise DamagedImageError(f"the AVIF image is truncated or corrupt in its header: {error}") from error
    left, upper, right, lower = primary.crop or (0, 0, primary.width, primary.height)
    return Facts(
        Header("AVIF", right - left, lower - upper),
        lambda: _decode(file, meta[b"iinf"], primary),
        orientation=of_turn(primary.quarters, primary.mirror),
        colour=_colour(file, primary),
        metadata=_metadata(file),
    )


def _refuse_sequence(moov: bytes) -> None:
    """Refuse a film of several frames. Raises `_BROKEN` too."""
    frames = 0
    for name, track in boxes(moov):
        if name == b"trak":
            media = dict(boxes(dict(boxes(track))[b"mdia"]))
            table = dict(boxes(dict(boxes(media[b"minf"]))[b"stbl"]))
            frames = max(frames, int.from_bytes(table[b"stsz"][8:12], "big"))
    if frames > 1:
        raise AnimatedImageError(frames)


def _primary(meta: dict[bytes, bytes]) -> _Primary:
    pitm = Fields(meta[b"pitm"])
    item = pitm.number(2 if pitm.version() == 0 else 4)
    properties = dict(boxes(meta[b"iprp"]))
    known = list(boxes(properties[b"ipco"]))
    primary = _Primary(0, 0)
    for number in _associations(properties[b"ipma"], item):
        if not 1 <= number <= len(known):
            continue
        name, content = known[number - 1]
        fields = Fields(content)
        if name == b"ispe":
            fields.version()
            primary = replace(primary, width=fields.number(4), height=fields.number(4))
        elif name == b"irot":
            primary = replace(primary, quarters=fields.number(1) & 3)
        elif name == b"imir":
            primary = replace(primary, mirror=fields.number(1) & 1)
        elif name == b"clap":
            primary = replace(primary, crop=_crop(primary, [fields.number(4) for _ in range(8)]))
        elif name == b"colr" and content[:4] in (b"prof", b"rICC"):
            primary = replace(primary, profile=content[4:])
        elif name == b"colr" and content[:4] == b"nclx" and len(content) >= 10:
            fields.number(4)
            coding = (fields.number(2), fields.number(2), fields.number(2))
            primary = replace(primary, coding=coding)
    if not (primary.width and primary.height):
        raise ValueError("its primary item has no size")
    return primary


def _associations(ipma: bytes, wanted: int) -> Iterator[int]:
    """Numbers of an item's properties, in their order."""
    fields = Fields(ipma)
    version = fields.number(1)
    long_numbers = fields.number(3) & 1
    left = _MAX_ASSOCIATIONS
    for _ in range(fields.number(4)):
        item = fields.number(2 if version < 1 else 4)
        count = fields.number(1)
        left -= 1 + count
        if left < 0:
            raise ValueError("it has too many properties")
        for _ in range(count):
            number = fields.number(2) & 0x7FFF if long_numbers else fields.number(1) & 0x7F
            if item == wanted:
                yield number


def _crop(primary: _Primary, terms: list[int]) -> Box:
    """The clean aperture (ISO/IEC 14496-12, 12.1.4), whose offset is from centre to centre."""
    signed = [
        term - (1 << 32) if index >= 4 and index % 2 == 0 and term >> 31 else term
        for index, term in enumerate(terms)
    ]
    if not all(signed[1::2]):
        raise ValueError("its clean aperture is divided by 0")
    width, height, right, down = (Fraction(signed[at], signed[at + 1]) for at in (0, 2, 4, 6))
    left = (primary.width - width) / 2 + right
    top = (primary.height - height) / 2 + down
    edges = (left, top, left + width, top + height)
    if any(edge.denominator != 1 for edge in edges):
        raise UnsupportedVariantError("AVIF", "a clean aperture of fractions of pixels")
    box = (int(edges[0]), int(edges[1]), int(edges[2]), int(edges[3]))
    if not (0 <= box[0] < box[2] <= primary.width and 0 <= box[1] < box[3] <= primary.height):
        raise ValueError("its clean aperture is outside of the picture")
    return box


def _colour(file: bytes, primary: _Primary) -> Colour:
    coding = primary.coding or _coding_of_stream(file)
    if coding[2] in _UNKNOWN_MATRICES:
        raise UnsupportedVariantError("AVIF", f"matrix coefficients {coding[2]}")
    if primary.profile:
        return Colour(primary.profile)
    return described(coding[0], coding[1], "AVIF") or Colour()


def _coding_of_stream(file: bytes) -> tuple[int, int, int]:
    """Read the colour from the AV1 stream, where the file has none; (2, 2, 2) is unspecified."""
    try:
        for unit in obu.units(coded_item(file)):
            if unit.kind == obu.SEQUENCE_HEADER:
                return obu.SequenceHeader.parse(unit.payload).colour.description
    except _BROKEN:
        pass
    return 2, 2, 2


def _metadata(file: bytes) -> Metadata:
    """EXIF and XMP; what is broken is there with no bytes, which is told as dropped."""
    try:
        return Metadata(*metadata_items(file))
    except _BROKEN:
        return Metadata()


def _decode(file: bytes, iinf: bytes, primary: _Primary) -> Coded:
    stripped = bytearray(iinf)
    at = 0
    for _, kind in item_types(iinf):
        at = stripped.index(kind, at)
        if kind in _NOT_COLOUR:
            stripped[at : at + 4] = b"skip"
        at += 4
    # Of a file that is a film and a picture, libavif takes what its major brand says.
    brands = file[:16].replace(b"avis", b"avif")
    image = loaded(brands + file[16:].replace(iinf, bytes(stripped), 1), "AVIF")
    if image.size != (primary.width, primary.height):
        raise DamagedImageError("the AVIF image is of another size than it says")
    return Coded(image if primary.crop is None else image.crop(primary.crop))
