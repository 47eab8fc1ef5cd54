"""TIFF 6.0 and BigTIFF: directories and their tags. What the samples are is in `tiff_samples`.

Only the tags that say something of the picture are read. Of several directories the full-size ones
are pages; thumbnails and masks are none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from models.metadata import Metadata, exif

from . import tiff_samples
from .colour import Colour
from .errors import AnimatedImageError, DamagedImageError, UnsupportedImageError, UnsupportedVariantError
from .facts import Facts, Header
from .tiff_samples import Layout

MAX_DIRECTORIES = 1_000  # that are looked at to count the pages
MAX_ENTRIES = 50_000  # of all directories
_MAX_VALUES = 1 << 20  # of a tag: of a picture's strips or tiles, and a palette has 200,000
_MAX_BYTES = 1 << 24  # of an ICC profile
_MAX_OF_KIND = 16  # of a tag that says what a directory is for; DNGVersion has 4

# Tags
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES = 273, 274, 277, 278, 279
_PLANAR, _T4_OPTIONS, _T6_OPTIONS, _PREDICTOR, _COLOUR_MAP = 284, 292, 293, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_INK_SET, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES = 332, 338, 339, 347
_SUBSAMPLING, _REFERENCE, _ICC_PROFILE, _DNG_VERSION = 530, 532, 34675, 50706
_XMP, _IPTC = 700, 33723
_KNOWN = {
    _NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER,
    _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES, _PLANAR, _T4_OPTIONS,
    _T6_OPTIONS, _PREDICTOR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES, _INK_SET,
    _EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES, _SUBSAMPLING, _REFERENCE, _ICC_PROFILE, _DNG_VERSION,
    _XMP, _IPTC,
}  # fmt: skip

_OF_KIND = {_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _DNG_VERSION}

_KINDS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_RATIONAL = 5
_REDUCED, _PAGE_OF_MANY, _MASK = 1, 2, 4  # bits of NewSubfileType

_Tags = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class _Form:
    """Byte order, and the sizes of numbers in classic TIFF or BigTIFF."""

    order: str
    big: bool

    def unpack(self, kind: str, file: bytes, at: int) -> int:
        """One number. Raises struct.error beyond the end of the file."""
        if at > len(file):  # 64-bit offsets may be too large for struct itself
            raise struct.error("an offset is beyond the end of the file")
        return int(struct.unpack_from(self.order + kind, file, at)[0])


def read(file: bytes) -> Facts:
    """The facts of a TIFF file.

    Raises:
        AnimatedImageError: it has several pages.
        DamagedImageError: its directories are broken.
        UnsupportedImageError: a camera's raw file.
        UnsupportedVariantError: other samples or compressions than those on the list.
    """
    try:
        tags, at = _page(file)
        layout = _layout(tags, big_endian=file[:2] == b"MM")
    except (struct.error, IndexError) as error:
        raise DamagedImageError("the TIFF image is truncated or corrupt in its header") from error
    orientation = _number(tags, _ORIENTATION, 1)
    profile, xmp = tags.get(_ICC_PROFILE), tags.get(_XMP)
    return Facts(
        Header("TIFF", layout.width, layout.height),
        lambda: tiff_samples.decode(file, layout),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        colour=Colour(profile if isinstance(profile, bytes) else None),
        on_screen=layout.photometric in (0, 1, 2, 3, 6),
        metadata=Metadata(
            file if exif.is_telling(file, at) else None, xmp if isinstance(xmp, bytes) else None
        ),
        exif_at=at,
        iptc=_IPTC in tags,
    )


def _page(file: bytes) -> tuple[_Tags, int]:
    """The tags of the only full-size page, and where its directory is."""
    form, first = _form(file)
    found: int | None = None
    pages = 0
    for number, (at, kind) in enumerate(_directories(file, form, first)):
        if number == MAX_DIRECTORIES:
            raise AnimatedImageError(None)
        if _DNG_VERSION in kind:
            raise UnsupportedImageError("the file is a camera's raw file (DNG), which is not read")
        if _is_page(kind):
            pages += 1
            found = at if found is None else found
    if found is None:
        raise UnsupportedVariantError("TIFF", "no full-size picture, as in cameras' raw files,")
    if pages > 1:
        raise AnimatedImageError(pages)
    return _directory(file, found, form, _KNOWN)[0], found


def _is_page(kind: _Tags) -> bool:
    if _NEW_SUBFILE_TYPE in kind:
        return not kind[_NEW_SUBFILE_TYPE][0] & (_REDUCED | _MASK)
    return _number(kind, _SUBFILE_TYPE, 1) != 2  # reduced, in older files


def _form(file: bytes) -> tuple[_Form, int]:
    """Byte order and sizes, and where the first directory is."""
    form = _Form("<" if file[:2] == b"II" else ">", big=b"+" in file[2:4])
    return form, form.unpack("Q" if form.big else "I", file, 8 if form.big else 4)


def _directories(file: bytes, form: _Form, at: int) -> Iterator[tuple[int, _Tags]]:
    """Where each directory is, and the tags of its kind; the chain ends where it bites its tail."""
    seen = set()
    entries = 0
    while at and at not in seen:
        seen.add(at)
        try:
            entries += form.unpack("Q" if form.big else "H", file, at)
            if entries > MAX_ENTRIES:
                raise DamagedImageError("the TIFF image has too many tags")
            kind, following = _directory(file, at, form, _OF_KIND)
        except struct.error:
            if len(seen) > 1:  # the first is whole, and what follows it is a broken pointer
                return
            raise
        yield at, kind
        at = following


def _directory(file: bytes, at: int, form: _Form, wanted: Set[int]) -> tuple[_Tags, int]:
    """Tags of one directory, and where the next one is; 0 at the end."""
    count = form.unpack("Q" if form.big else "H", file, at)
    at += 8 if form.big else 2
    size = 20 if form.big else 12
    tags: dict[int, Sequence[int]] = {}
    for entry in range(at, at + count * size, size):
        tag = form.unpack("H", file, entry)
        # Of several with the same number the first counts. The others, which may be large, are
        # not read.
        if tag in wanted and tag not in tags and (values := _values(file, entry, form)):
            tags[tag] = values
    after = at + count * size
    next_size = 8 if form.big else 4
    # Some writers leave the last pointer out.
    return tags, form.unpack("Q" if form.big else "I", file, after) if after + next_size <= len(file) else 0


def _values(file: bytes, entry: int, form: _Form) -> Sequence[int]:
    """The values of a tag; none where they are cut off, or of a kind that makes no sense."""
    kind = form.unpack("H", file, entry + 2)
    count = form.unpack("Q" if form.big else "I", file, entry + 4)
    inline = 8 if form.big else 4
    at = entry + 4 + inline
    pairs = 2 if kind == _RATIONAL else 1
    code = "I" if kind == _RATIONAL else _KINDS.get(kind, "")
    size = struct.calcsize("=" + code) * count * pairs
    most = _MAX_BYTES if code == "B" else _MAX_VALUES
    if form.unpack("H", file, entry) in _OF_KIND:  # these are read in every directory
        most = _MAX_OF_KIND
    if not code or not count or size > len(file) or count > most:
        return ()
    if size > inline:
        at = form.unpack("Q" if form.big else "I", file, at)
    if at + size > len(file):
        return ()
    if code == "B":
        return file[at : at + size]
    values = struct.unpack_from(f"{form.order}{count * pairs}{code}", file, at)
    if pairs == 2:
        values = tuple(
            top // bottom if bottom else 0 for top, bottom in zip(values[::2], values[1::2], strict=True)
        )
    return values


def _number(tags: _Tags, tag: int, default: int) -> int:
    return tags[tag][0] if tag in tags else default


def _layout(tags: _Tags, *, big_endian: bool) -> Layout:
    width, height = _number(tags, _WIDTH, 0), _number(tags, _HEIGHT, 0)
    if width < 1 or height < 1:
        raise DamagedImageError("the TIFF image has no size")
    samples = _number(tags, _SAMPLES, 1)
    compression = _number(tags, _COMPRESSION, 1)
    photometric = _number(tags, _PHOTOMETRIC, -1)
    if photometric == -1:
        photometric = 2 if samples >= 3 else 1
    tiled = _TILE_OFFSETS in tags
    # As in libtiff, no rows in a strip are all rows.
    part_height = _number(tags, _TILE_HEIGHT, 0) if tiled else _number(tags, _ROWS_PER_STRIP, 0) or height
    part_width = _number(tags, _TILE_WIDTH, 0) if tiled else width
    offsets = tags.get(_TILE_OFFSETS if tiled else _STRIP_OFFSETS, ())
    sizes = tags.get(_TILE_SIZES if tiled else _STRIP_SIZES, ())
    if not offsets or part_width < 1 or part_height < 1:
        raise DamagedImageError("the TIFF image says not where its samples are")
    tables = tags.get(_JPEG_TABLES)
    layout = Layout(
        width=width,
        height=height,
        bits=tuple(tags.get(_BITS, (1,))),
        samples=samples,
        formats=tuple(tags.get(_SAMPLE_FORMAT, (1,))),
        extra=tuple(tags[_EXTRA_SAMPLES]) if _EXTRA_SAMPLES in tags else None,
        photometric=photometric,
        compression=compression,
        predictor=_number(tags, _PREDICTOR, 1),
        planar=_number(tags, _PLANAR, 1) == 2 and samples > 1,
        reversed_bits=_number(tags, _FILL_ORDER, 1) == 2,
        big_endian=big_endian,
        tiled=tiled,
        part_width=part_width,
        part_height=part_height if tiled else min(part_height, height),
        offsets=tuple(offsets),
        sizes=tuple(sizes),
        colour_map=tuple(tags.get(_COLOUR_MAP, ())),
        ink_set=_number(tags, _INK_SET, 1),
        subsampling=tuple(tags.get(_SUBSAMPLING, (2, 2))),
        reference=tuple(tags.get(_REFERENCE, (0, 255, 128, 255, 128, 255))),
        jpeg_tables=tables if isinstance(tables, bytes) else b"",
        fax_options=_number(tags, _T4_OPTIONS if compression == 3 else _T6_OPTIONS, 0),
    )
    tiff_samples.check(layout)
    return layout
