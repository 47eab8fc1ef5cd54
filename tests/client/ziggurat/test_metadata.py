"""ziggurat.metadata: the section is read as the codec reads it."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ziggurat import metadata
from ziggurat.errors import DamagedStreamError

from models import errors
from models.bitstream.metadata import MAX_BYTES, MAX_EXIF_BYTES, PRESET, Metadata, pack, unpack
from tests.models.metadata import samples


def test_the_preset_is_the_codecs() -> None:
    assert metadata.PRESET == PRESET


def test_what_the_codec_packs_is_read() -> None:
    section = pack(Metadata(samples.exif(), samples.XMP))
    assert section is not None
    assert metadata.read(section) == {"exif": b"Exif\0\0" + samples.exif(), "xmp": samples.XMP}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(MAX_BYTES + 1),
        b"\0\xf8\xff\3" + bytes(MAX_EXIF_BYTES + 1),
        b"\0\x81\0e",
        b"\7\1e",
        b"\0\x80\x80\x80\x80\1",
    ],
)
def test_limits_are_the_codecs(content: bytes) -> None:
    assert_read_alike(content, b"")


@given(st.binary(max_size=40), st.binary(max_size=2))
def test_any_section_is_read_or_refused_as_by_the_codec(content: bytes, behind: bytes) -> None:
    assert_read_alike(content, behind)


def assert_read_alike(content: bytes, behind: bytes) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    section = deflater.compress(content) + deflater.flush() + behind
    try:
        expected = unpack(section)
    except errors.DamagedStreamError:
        with pytest.raises(DamagedStreamError):
            metadata.read(section)
        return
    found = metadata.read(section)
    exif = found.get("exif")
    assert Metadata(None if exif is None else exif.removeprefix(b"Exif\0\0"), found.get("xmp")) == expected
