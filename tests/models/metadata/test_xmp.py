"""models.metadata.xmp: properties that hold stay as they are written; others are set right or left
out.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bitstream.metadata import MAX_XMP_BYTES
from models.metadata.xmp import cleaned
from tests.models.metadata.samples import XMP


def text(packet: bytes | None) -> str:
    assert packet is not None
    return packet.decode()


def test_what_holds_is_kept_and_what_does_not_is_set_right() -> None:
    new, removed = cleaned(XMP, 3000, 4000)
    assert removed == {"gps", "thumbnail"}
    made = text(new)
    assert made.startswith('<?xpacket begin="\ufeff"')
    assert made.endswith('<?xpacket end="w"?>')
    for kept in ('xmp:Rating="5"', "Tour &amp; détour", 'photoshop:City="Paris"'):
        assert kept in made
    for right in (
        'tiff:Orientation="1"',
        'exif:PixelXDimension="3000"',
        "<tiff:ImageLength>4000</tiff:ImageLength>",
        'photoshop:ICCProfile="sRGB IEC61966-2.1"',
    ):
        assert right in made


def test_place_and_thumbnail_are_in_no_byte() -> None:
    made = text(cleaned(XMP, 3000, 4000)[0])
    for secret in ("48,51", "2,21", "+2.35", "b3JpZ2luYWw"):
        assert secret not in made
        assert secret in XMP.decode()


def test_the_place_is_kept_when_asked_for() -> None:
    new, removed = cleaned(XMP, 3000, 4000, gps=True)
    assert removed == {"thumbnail"}
    assert 'exif:GPSLatitude="48,51.4998N"' in text(new)


def test_what_lies_elsewhere_in_the_file_is_told() -> None:
    note = b'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="0123" xmp:Rating'
    new, removed = cleaned(XMP.replace(b"xmp:Rating", note), 3000, 4000)
    assert removed == {"gps", "thumbnail", "extended-xmp"}
    assert "0123" not in text(new)


@pytest.mark.parametrize("gps", [False, True])
def test_what_was_cleaned_comes_back_as_it_is(gps: bool) -> None:
    once, _ = cleaned(XMP, 3000, 4000, gps=gps)
    assert once is not None
    assert cleaned(once, 3000, 4000, gps=True) == (once, frozenset())


ENTITIES = b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 1000 + b'"><!ENTITY b "' + b"&a;" * 1000 + b'">]>'


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no XML",
        b"<x",
        b"<a:x/>",
        "<x>é</x>".encode("latin-1"),
        '<?xml version="1.0" encoding="utf-16"?><x/>'.encode("utf-16"),
        ENTITIES + b"<x>&b;</x>",
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        b"<x>" * 9_000 + b"</x>" * 9_000,
        b"<x>" + b" " * MAX_XMP_BYTES + b"</x>",
    ],
)
def test_what_cannot_be_read_is_told_as_dropped(packet: bytes) -> None:
    begun = time.process_time()
    assert cleaned(packet, 1, 1) == (None, frozenset({"xmp"}))
    assert time.process_time() - begun < 5


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6))
def test_hostile_packets_end_in_sound_ones_or_none(changes: list[tuple[int, int]]) -> None:
    packet = bytearray(XMP)
    for at, value in changes:
        packet[at % len(packet)] = value
    new, _ = cleaned(bytes(packet), 3000, 4000)
    if new is not None:
        assert cleaned(new, 3000, 4000, gps=True)[0] == new
