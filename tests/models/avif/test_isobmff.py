"""models.avif.isobmff"""

from __future__ import annotations

import io
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.avif import isobmff, obu
from models.avif.isobmff import box, boxes, coded_item, full_box, is_avif, still_picture
from tests.models.metadata import samples


def avif(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "AVIF", **{"quality": 40, "speed": 9, **options})
    return file.getvalue()


def file_with(meta: bytes, media: bytes = b"frame") -> bytes:
    return box(b"ftyp", b"avif", bytes(4)) + full_box(b"meta", meta) + box(b"mdat", media)


def item_types(*entries: tuple[int, bytes]) -> bytes:
    infes = (
        full_box(b"infe", struct.pack(">HH", item, 0), kind, bytes(1), version=2) for item, kind in entries
    )
    return full_box(b"iinf", struct.pack(">H", len(entries)), *infes)


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.binary(max_size=20)), max_size=9))
def test_boxes_come_back(content: list[tuple[bytes, bytes]]) -> None:
    assert list(boxes(b"".join(box(kind, inner) for kind, inner in content))) == content


def test_boxes_of_large_and_of_open_size_are_read() -> None:
    large = struct.pack(">I4sQ", 1, b"mdat", 19) + b"abc"
    open_ended = struct.pack(">I4s", 0, b"free") + b"defg"
    assert list(boxes(large + open_ended)) == [(b"mdat", b"abc"), (b"free", b"defg")]


@pytest.mark.parametrize("content", [struct.pack(">I4s", 7, b"free"), box(b"free") * (isobmff.MAX_BOXES + 1)])
def test_boxes_too_small_or_too_many_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"smaller|too many"):
        list(boxes(content))


def test_the_item_of_what_is_written_is_the_media() -> None:
    file = still_picture([full_box(b"ispe", struct.pack(">II", 3, 2))], b"the OBUs")
    assert is_avif(file)
    assert coded_item(file) == b"the OBUs"


def test_a_real_file_gives_its_colours_and_not_its_alpha(photo: Image.Image) -> None:
    translucent = photo.copy()
    translucent.putalpha(photo.convert("L"))
    assert coded_item(avif(translucent)) == coded_item(avif(photo))
    assert {unit.kind for unit in obu.units(coded_item(avif(photo)))} >= {obu.SEQUENCE_HEADER, obu.FRAME}


def test_a_grid_gives_its_first_cell() -> None:
    location = struct.pack(">BBHHHHII", 0x44, 0, 1, 5, 0, 1, 0, 4)  # item 5 is the file's first 4 bytes
    meta = (
        full_box(b"pitm", struct.pack(">H", 9))
        + item_types((5, b"av01"), (6, b"av01"), (9, b"grid"))
        + full_box(b"iref", box(b"dimg", struct.pack(">4H", 9, 2, 5, 6)))
        + full_box(b"iloc", location)
    )
    file = file_with(meta)
    assert coded_item(file) == file[:4]


@pytest.mark.parametrize(
    "references", [b"", box(b"dimg", struct.pack(">2H", 9, 0)), box(b"dimg", struct.pack(">3H", 8, 1, 5))]
)
def test_a_grid_without_cells_is_refused(references: bytes) -> None:
    meta = (
        full_box(b"pitm", struct.pack(">H", 9))
        + item_types((5, b"av01"), (9, b"grid"))
        + full_box(b"iref", references)
    )
    with pytest.raises(ValueError, match="no cells"):
        coded_item(file_with(meta))


def test_an_item_that_is_not_av1_or_lies_nowhere_is_refused() -> None:
    primary = full_box(b"pitm", struct.pack(">H", 1))
    with pytest.raises(ValueError, match="not coded with AV1"):
        coded_item(file_with(primary + item_types((1, b"hvc1"))))
    with pytest.raises(ValueError, match="nowhere"):
        coded_item(
            file_with(primary + item_types((1, b"av01")) + full_box(b"iloc", struct.pack(">BBH", 0x44, 0, 0)))
        )


def test_a_file_of_a_million_items_takes_no_time() -> None:
    locations = struct.pack(">BBI", 0, 0, 1 << 20) + struct.pack(">IHHH", 7, 0, 0, 1) * (1 << 20)
    meta = (
        full_box(b"pitm", struct.pack(">H", 1))
        + item_types((1, b"av01"))
        + full_box(b"iloc", locations, version=2)
    )
    file = file_with(meta)
    start = time.perf_counter()
    with pytest.raises(ValueError, match="nowhere"):
        coded_item(file)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("file", "expected"),
    [(box(b"ftyp", b"mif1", bytes(4), b"avif"), True), (box(b"ftyp", b"heic", b"avif"), False)],
)
def test_brands_tell_an_avif_file_and_versions_do_not(file: bytes, expected: bool) -> None:
    assert is_avif(file) == expected


def test_metadata_of_a_real_file_is_found(photo: Image.Image) -> None:
    exif = samples.exif(orientation=1)
    file = avif(photo, exif=exif, xmp=samples.XMP)
    found, xmp = isobmff.metadata_items(file)
    assert xmp == samples.XMP
    assert found is not None
    assert found[:4] == exif[:4]
    assert isobmff.metadata_items(avif(photo)) == (None, None)


def test_metadata_items_are_those_of_the_right_kind() -> None:
    def entry(item: int, kind: bytes, rest: bytes) -> bytes:
        return full_box(b"infe", struct.pack(">HH", item, 0), kind, rest, version=2)

    entries = [
        entry(1, b"mime", b"name\0text/plain\0"),
        entry(2, b"mime", b"\0application/rdf+xml\0"),
        entry(3, b"Exif", b"\0"),
    ]
    iinf = full_box(b"iinf", struct.pack(">H", 3), *entries)
    contents = [b"words", b"<x/>", b"\0\0\0\x06Exif\0\0II*\0"]

    def locations(start: int) -> bytes:
        located = b""
        for item, content in enumerate(contents, 1):
            located += struct.pack(">HHHII", item, 0, 1, start, len(content))
            start += len(content)
        return full_box(b"iloc", struct.pack(">BBH", 0x44, 0, 3), located)

    start = len(file_with(locations(0) + iinf, b""))
    assert isobmff.metadata_items(file_with(locations(start) + iinf, b"".join(contents))) == (
        b"II*\0",
        b"<x/>",
    )
