"""models.bitstream.metadata: what is packed comes back, and a hostile section costs nothing."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bitstream.metadata import (
    MAX_BYTES,
    MAX_EXIF_BYTES,
    MAX_SECTION_BYTES,
    MAX_XMP_BYTES,
    Metadata,
    pack,
    unpack,
)
from models.errors import DamagedStreamError

some = st.none() | st.binary(max_size=300)


def deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(content) + deflater.flush()


@given(some, some)
def test_what_is_packed_comes_back(exif: bytes | None, xmp: bytes | None) -> None:
    metadata = Metadata(exif, xmp)
    section = pack(metadata)
    assert (section is None) == (not metadata) == (metadata.names == ())
    if section is not None:
        assert unpack(section) == metadata


def test_the_longest_comes_back() -> None:
    noise = zlib.compress(bytes(range(256)) * 600, 0)
    metadata = Metadata(noise[:MAX_EXIF_BYTES], noise[-MAX_XMP_BYTES:])
    section = pack(metadata)
    assert section is not None
    assert len(section) <= MAX_SECTION_BYTES
    assert unpack(section) == metadata
    with pytest.raises(ValueError, match="room"):
        pack(Metadata(exif=bytes(MAX_EXIF_BYTES + 1)))


def test_a_kind_that_is_not_known_is_passed_over() -> None:
    assert unpack(deflated(b"\0\1e\1\1x\x07\2??")) == Metadata(b"e", b"x")
    assert unpack(deflated(b"")) == Metadata()


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (b"", "end where it should"),
        (b"?", "inflated"),
        (deflated(b"\0\1e") + b"?", "end where it should"),
        (deflated(b"\0\1e")[:-1], "end where it should"),
        (deflated(b"\1\1x\0\1e"), "order"),
        (deflated(b"\0\1e\0\1e"), "order"),
        (deflated(b"\0\2e"), "cut off"),
        (deflated(b"\0"), "no length"),
        (deflated(b"\0\x81\0e"), "shortest form"),
        (deflated(b"\0\x80\x80\x80\x80\0"), "no length"),
        (deflated(b"\0\xf8\xff\3" + bytes(MAX_EXIF_BYTES + 1)), "longer than the format allows"),
        (deflated(bytes(MAX_BYTES + 1)), "inflates to over"),
        (deflated(bytes(1 << 27)), "inflates to over|too long"),
        (bytes(MAX_SECTION_BYTES + 1), "too long"),
    ],
)
def test_what_no_encoder_writes_is_refused(section: bytes, says: str) -> None:
    with pytest.raises(DamagedStreamError, match=says):
        unpack(section)


@given(st.binary(max_size=60))
def test_any_items_are_read_or_refused(content: bytes) -> None:
    try:
        metadata = unpack(deflated(content))
    except DamagedStreamError:
        return
    assert len(metadata.exif or b"") + len(metadata.xmp or b"") <= len(content)
