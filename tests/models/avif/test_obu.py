"""models.avif.obu"""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.avif import obu
from models.avif.isobmff import coded_item
from models.avif.obu import Bits, ColourConfig, Obu, SequenceHeader


@st.composite
def headers(draw: st.DrawFn) -> SequenceHeader:
    """Any that the hybrid codec writes."""
    profile = draw(st.integers(0, 1))
    mono = profile == 0 and draw(st.booleans())
    return SequenceHeader(
        profile=profile,
        width=draw(st.integers(1, 65536)),
        height=draw(st.integers(1, 65536)),
        superblock_128=draw(st.booleans()),
        filter_intra=draw(st.booleans()),
        intra_edge_filter=draw(st.booleans()),
        cdef=draw(st.booleans()),
        restoration=draw(st.booleans()),
        colour=ColourConfig(
            mono=mono,
            subsampling=(profile == 0, profile == 0),
            separate_uv_delta_q=not mono and draw(st.booleans()),
        ),
    )


def header_of(image: Image.Image, **options: object) -> SequenceHeader:
    file = io.BytesIO()
    image.save(file, "AVIF", **{"quality": 40, "speed": 9, **options})
    units = obu.units(coded_item(file.getvalue()))
    return next(SequenceHeader.parse(unit.payload) for unit in units if unit.kind == obu.SEQUENCE_HEADER)


@given(headers())
def test_what_is_written_is_read(header: SequenceHeader) -> None:
    assert SequenceHeader.parse(header.to_bytes()) == header


@pytest.mark.parametrize(
    ("subsampling", "profile", "halved"),
    [("4:4:4", 1, (False, False)), ("4:2:2", 2, (True, False)), ("4:2:0", 0, (True, True))],
)
def test_real_headers_tell_size_and_subsampling(
    photo: Image.Image, subsampling: str, profile: int, halved: tuple[bool, bool]
) -> None:
    header = header_of(photo, subsampling=subsampling)
    assert (header.width, header.height, header.profile) == (128, 96, profile)
    assert header.colour.subsampling == halved
    assert not header.colour.mono
    assert header.reduced


def test_real_headers_tell_grey_and_range(photo: Image.Image) -> None:
    grey = header_of(photo.convert("L"), subsampling="4:0:0", range="limited")
    assert grey.colour.mono
    assert not grey.colour.full_range
    assert header_of(photo).colour.full_range


def test_the_header_of_a_film_is_read(photo: Image.Image) -> None:
    film = header_of(photo, save_all=True, append_images=[photo.rotate(180)])
    assert not film.reduced
    assert (film.width, film.height) == (128, 96)
    assert film.order_hint_bits > 0


@pytest.mark.parametrize("header", [b"\x60", b"\x08"])
def test_reserved_headers_are_refused(header: bytes) -> None:
    """Profile 3, and a reduced header that is not of a still picture."""
    with pytest.raises(ValueError, match="reserved"):
        SequenceHeader.parse(header)


@given(headers(), st.data())
def test_a_header_that_is_cut_off_is_told(header: SequenceHeader, data: st.DataObject) -> None:
    written = header.to_bytes()
    with pytest.raises(IndexError):
        SequenceHeader.parse(written[: data.draw(st.integers(0, len(written) - 2))])


@given(st.lists(st.tuples(st.integers(0, 15), st.binary(max_size=200)), max_size=5))
def test_units_come_back(content: list[tuple[int, bytes]]) -> None:
    written = b"".join(obu.unit(kind, payload) for kind, payload in content)
    assert list(obu.units(written)) == [Obu(kind, True, len(payload), payload) for kind, payload in content]


def test_units_with_an_extension_or_without_a_size_are_not_plain() -> None:
    extended = bytes([obu.FRAME << 3 | 0b110, 0, 2]) + b"ab"
    sizeless = bytes([obu.FRAME << 3]) + b"cde"
    assert list(obu.units(extended + sizeless)) == [
        Obu(obu.FRAME, False, 2, b"ab"),
        Obu(obu.FRAME, False, 3, b"cde"),
    ]


def test_a_unit_that_is_cut_off_tells_its_size() -> None:
    assert list(obu.units(obu.unit(obu.FRAME, b"abcd")[:-1])) == [Obu(obu.FRAME, True, 4, b"abc")]
    with pytest.raises(ValueError, match="more than 8 bytes"):
        list(obu.units(bytes([obu.FRAME << 3 | 2]) + b"\x80" * 20))


def test_bits_are_read_from_the_highest() -> None:
    bits = Bits(b"\xa5\x0f")
    assert [bits.f(3), bits.flag(), bits.f(8)] == [0b101, False, 0b01010000]
    assert [
        Bits(bytes([code])).ns(5) for code in (0b00000000, 0b01000000, 0b10000000, 0b11000000, 0b11100000)
    ] == [0, 1, 2, 3, 4]
    with pytest.raises(IndexError):
        bits.f(5)


def test_units_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match="too many units"):
        list(obu.units(obu.unit(obu.TEMPORAL_DELIMITER, b"") * (obu.MAX_UNITS + 1)))
