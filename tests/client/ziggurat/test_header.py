"""The header is read as the codec reads it, and its faults have the codec's names."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import ziggurat
from hypothesis import given
from hypothesis import strategies as st
from ziggurat import errors
from ziggurat.header import MAX_HEADER_BYTES, Header, checked

from models.bitstream import Bitstream, CodecKind, Metadata
from models.bitstream.metadata import pack
from models.errors import BitstreamError
from models.rate_control import Position
from service.facts import StreamFacts
from tests.make_golden import GOLDEN

STREAMS = sorted(GOLDEN.glob("*.zgt"))


METADATA = replace(
    Bitstream.parse(STREAMS[0].read_bytes()), metadata=pack(Metadata(b"exif", b"xmp"))
).to_bytes()
OVERLAY = replace(Bitstream.parse(METADATA), overlay=b"cells and AV1").to_bytes()


@pytest.mark.parametrize(("stream", "version"), [(METADATA, 4), (OVERLAY, 5)])
def test_the_facts_of_a_stream_with_more_sections(stream: bytes, version: int) -> None:
    ours, theirs = ziggurat.inspect(stream), StreamFacts.of(stream)
    assert (ours.format_version, ours.metadata_bytes) == (version, theirs.metadata_bytes)
    assert ours.overlay_bytes == theirs.overlay_bytes == (len(b"cells and AV1") if version == 5 else None)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_the_facts_are_those_of_the_service(path: Path) -> None:
    ours, theirs = ziggurat.inspect(path), StreamFacts.of(path.read_bytes())
    for name, value in theirs.model_dump().items():
        assert getattr(ours, name) == value


@given(
    codec=st.sampled_from(CodecKind),
    width=st.integers(1, 16384),
    height=st.integers(1, 16384),
    position=st.integers(0, 65535),
    greyscale=st.booleans(),
    alpha=st.none() | st.binary(max_size=200),
    y=st.binary(max_size=200),
    exif=st.none() | st.binary(max_size=200),
    overlay=st.none() | st.binary(max_size=200),
)
def test_every_header_is_read_right(
    codec: CodecKind,
    width: int,
    height: int,
    position: int,
    greyscale: bool,
    alpha: bytes | None,
    y: bytes,
    exif: bytes | None,
    overlay: bytes | None,
) -> None:
    metadata = pack(Metadata(exif))
    overlay = None if codec is CodecKind.HYBRID else overlay
    z = b"" if codec is CodecKind.HYBRID else b"z" * 130
    stream = Bitstream(
        codec,
        b"\1\2\3\xff",
        width,
        height,
        Position(position),
        greyscale,
        False,
        z,
        y,
        alpha,
        metadata,
        overlay,
    ).to_bytes()
    header = Header.read(stream[:MAX_HEADER_BYTES])
    assert (header.width, header.height, header.codec) == (width, height, codec.name.lower())
    assert header.mode == ("L" if greyscale else "RGB") + ("" if alpha is None else "A")
    assert header.size == len(stream)
    assert header.version == (5 if overlay is not None else 3 if metadata is None else 4)
    assert header.metadata_bytes == (None if metadata is None else len(metadata))
    assert stream[header.metadata_at : -4] == (metadata or b"") + (overlay or b"")
    assert header.overlay_bytes == (None if overlay is None else len(overlay))
    assert (header.z_bytes, header.y_bytes) == (len(z), len(y))
    assert header.quality == pytest.approx(Position(position).quality, abs=1e-3)


@given(data=st.data())
def test_what_the_codec_refuses_is_refused_by_the_same_name(data: st.DataObject) -> None:
    stream = bytearray(data.draw(st.sampled_from([STREAMS[0].read_bytes(), METADATA, OVERLAY])))
    for _ in range(data.draw(st.integers(0, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(stream[: data.draw(st.integers(0, len(stream)))])
    if data.draw(st.booleans()):  # a sound checksum, so that the fields are looked at
        damaged = damaged[:-4] + zlib.crc32(damaged[:-4]).to_bytes(4, "little")
    try:
        Bitstream.parse(damaged)
        expected = None
    except BitstreamError as error:
        expected = type(error).__name__
    try:
        checked(damaged)
        found = None
    except errors.BitstreamError as error:
        found = type(error).__name__
    assert found == expected
