"""models.bitstream.container: what goes in comes out, and only a stream that an encoder wrote is
read.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bitstream import (
    MAGIC,
    METADATA_VERSION,
    PLAIN_VERSION,
    VERSION,
    Bitstream,
    CodecKind,
    Metadata,
    header_bytes,
)
from models.bitstream.metadata import pack
from models.errors import (
    BitstreamError,
    DamagedStreamError,
    NewerVersionError,
    NotAStreamError,
    OlderVersionError,
    StreamTooLargeError,
    TruncatedStreamError,
)
from models.grid import MAX_SIDE
from models.rate_control import Position

GOLDEN = Bitstream(
    codec=CodecKind.LEARNED,
    model_id=bytes.fromhex("0badcafe"),
    width=768,
    height=512,
    position=Position(21845),
    greyscale=False,
    postprocess=True,
    z=b"hyper",
    y=bytes(range(200)),
    alpha=b"png",
)
GOLDEN_BYTES = bytes.fromhex(
    "5a47540300050badcafe00030002555505c801036879706572" + bytes(range(200)).hex() + "706e67db38d8eb"
)
WITH_METADATA = replace(GOLDEN, metadata=pack(Metadata(exif=b"MM\0*\0\0\0\x08\0\0\0\0\0\0", xmp=b"<x/>")))


@st.composite
def bitstreams(draw: st.DrawFn) -> Bitstream:
    codec = draw(st.sampled_from(CodecKind))
    some = st.none() | st.binary(max_size=300)
    return Bitstream(
        codec=codec,
        model_id=draw(st.binary(min_size=4, max_size=4)),
        width=draw(st.integers(1, MAX_SIDE)),
        height=draw(st.integers(1, MAX_SIDE)),
        position=Position(draw(st.integers(0, 0xFFFF))),
        greyscale=draw(st.booleans()),
        postprocess=draw(st.booleans()),
        z=b"" if codec is CodecKind.HYBRID else draw(st.binary(max_size=300)),
        y=draw(st.binary(max_size=300)),
        alpha=draw(some),
        metadata=pack(Metadata(draw(some), draw(some))),
        overlay=None if codec is CodecKind.HYBRID else draw(some),
    )


def sealed(body: bytes) -> bytes:
    """`body` with a right checksum, so that only its fields can be what is refused."""
    return body + zlib.crc32(body).to_bytes(4, "little")


@given(bitstreams())
def test_every_field_comes_back(stream: Bitstream) -> None:
    assert Bitstream.parse(stream.to_bytes()) == stream


@given(bitstreams())
def test_header_bytes_counts_exactly(stream: Bitstream) -> None:
    sections = (stream.z, stream.y, stream.alpha, stream.metadata, stream.overlay)
    lengths = [None if section is None else len(section) for section in sections]
    payload = sum(length or 0 for length in lengths)
    assert len(stream.to_bytes()) == stream.size == header_bytes(*lengths) + payload


@pytest.mark.parametrize(
    ("length", "varint"),
    [(0, 1), (127, 1), (128, 2), (16383, 2), (16384, 3), (2**21 - 1, 3), (2**21, 4), (2**28 - 1, 4)],
)
def test_header_bytes_at_the_steps_of_a_varint(length: int, varint: int) -> None:
    assert header_bytes(0, length) == 16 + 1 + varint + 4


def test_an_ordinary_header_fits_28_bytes() -> None:
    assert header_bytes(2**28 - 1, 2**28 - 1) == 28


def test_a_stream_is_of_the_oldest_version_that_holds_it() -> None:
    """So that what knows no metadata and no overlay reads every stream without."""
    assert GOLDEN.to_bytes()[3] == GOLDEN.version == PLAIN_VERSION == 3
    assert WITH_METADATA.to_bytes()[3] == WITH_METADATA.version == METADATA_VERSION == 4
    assert Bitstream.parse(WITH_METADATA.to_bytes()) == WITH_METADATA
    for stream in (GOLDEN, WITH_METADATA):
        covered = replace(stream, overlay=b"\x80av1")
        assert covered.to_bytes()[3] == covered.version == VERSION == 5
        assert Bitstream.parse(covered.to_bytes()) == covered


def test_only_a_learned_stream_has_an_overlay() -> None:
    data = bytearray(replace(GOLDEN, overlay=b"\x80av1", z=b"").to_bytes())
    data[4] = CodecKind.HYBRID
    with pytest.raises(DamagedStreamError, match="overlay"):
        Bitstream.parse(sealed(bytes(data[:-4])))


def test_golden_bytes() -> None:
    assert GOLDEN.to_bytes() == GOLDEN_BYTES
    assert Bitstream.parse(GOLDEN_BYTES) == GOLDEN


@given(
    st.binary(max_size=64)
    | st.binary(max_size=64).map(lambda tail: MAGIC + bytes([PLAIN_VERSION]) + tail)
    | st.binary(max_size=64).map(sealed)
)
def test_any_bytes_are_a_stream_or_a_typed_error(data: bytes) -> None:
    try:
        stream = Bitstream.parse(data)
    except BitstreamError:
        return
    assert stream.to_bytes() == data


@given(
    st.sampled_from([PLAIN_VERSION, METADATA_VERSION, VERSION]),
    st.binary(max_size=40),
)
def test_a_sealed_header_is_a_stream_in_its_only_spelling_or_a_typed_error(version: int, tail: bytes) -> None:
    data = sealed(MAGIC + bytes([version]) + tail)
    try:
        stream = Bitstream.parse(data)
    except BitstreamError:
        return
    assert stream.to_bytes() == data


def test_every_single_byte_change_is_refused() -> None:
    for position in range(len(GOLDEN_BYTES)):
        for change in range(1, 256):
            changed = bytearray(GOLDEN_BYTES)
            changed[position] ^= change
            with pytest.raises(BitstreamError):
                Bitstream.parse(bytes(changed))


@given(bitstreams(), st.data())
def test_a_changed_byte_of_any_stream_is_refused(stream: Bitstream, data: st.DataObject) -> None:
    changed = bytearray(stream.to_bytes())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BitstreamError):
        Bitstream.parse(bytes(changed))


@given(bitstreams())
def test_every_truncation_is_refused_as_such(stream: Bitstream) -> None:
    data = stream.to_bytes()
    for length in range(1, len(data)):
        with pytest.raises(TruncatedStreamError):
            Bitstream.parse(data[:length])


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", NotAStreamError, "not a Ziggurat stream"),
        (b"\x89PNG\r\n\x1a\n", NotAStreamError, "not a Ziggurat stream"),
        (b"ZGT\x06", NewerVersionError, "version 6"),
        (b"ZGT\x02" + GOLDEN_BYTES[4:], OlderVersionError, "no longer read"),
        (b"ZGT\x00" + GOLDEN_BYTES[4:], DamagedStreamError, "version 0"),
        (b"ZG", TruncatedStreamError, "header"),
        (GOLDEN_BYTES[:-1], TruncatedStreamError, "1 bytes short"),
        (GOLDEN_BYTES + b"\0", DamagedStreamError, "1 bytes follow"),
        (GOLDEN_BYTES[:-1] + b"\0", DamagedStreamError, "checksum"),
        (sealed(b"ZGT\3\2\0idid\1\0\1\0\0\0\0\0"), DamagedStreamError, "codec 2"),
        (sealed(b"ZGT\3\0\x08idid\1\0\1\0\0\0\0\0"), DamagedStreamError, "flags 0x08"),
        (sealed(b"ZGT\3\0\0idid\0\0\1\0\0\0\0\0"), DamagedStreamError, "0x1 pixels"),
        (sealed(b"ZGT\3\0\0idid\1\0\1\x40\0\0\0\0"), DamagedStreamError, "1x16385 pixels"),
        (sealed(b"ZGT\3\1\0idid\1\0\1\0\0\0\1\0z"), DamagedStreamError, "no z section"),
        (sealed(b"ZGT\3\0\0idid\1\0\1\0\0\0\x80\0\0"), DamagedStreamError, "shortest form"),
        (sealed(b"ZGT\3\0\0idid\1\0\1\0\0\0\x80\x80\x80\x80\1\0"), DamagedStreamError, "more than 4 bytes"),
        (sealed(b"ZGT\4\0\0idid\1\0\1\0\0\0\0\0\1?"), DamagedStreamError, "inflated"),
        (sealed(b"ZGT\4\0\x08idid\1\0\1\0\0\0\0\0\2\3\0"), DamagedStreamError, "flags 0x08"),
        (sealed(b"ZGT\5\0\0idid\1\0\1\0\0\0\0\0\1?"), DamagedStreamError, "flags 0x00"),
        (
            sealed(b"ZGT\3\0\0idid\1\0\1\0\0\0\0\xff\xff\xff\x7f"),
            TruncatedStreamError,
            "268435455 bytes short",
        ),
    ],
)
def test_each_cause_has_its_error(data: bytes, error: type[BitstreamError], says: str) -> None:
    with pytest.raises(error, match=says):
        Bitstream.parse(data)


def test_a_picture_over_the_limit_is_refused_and_one_at_it_is_not() -> None:
    assert Bitstream.parse(GOLDEN_BYTES, max_pixels=768 * 512) == GOLDEN
    with pytest.raises(StreamTooLargeError, match="768x512"):
        Bitstream.parse(GOLDEN_BYTES, max_pixels=768 * 512 - 1)


@pytest.mark.parametrize(
    "field", [{"width": 0}, {"height": MAX_SIDE + 1}, {"position": Position(1 << 16)}, {"model_id": b"abc"}]
)
def test_what_the_format_cannot_hold_is_not_written(field: dict[str, object]) -> None:
    fields = {name: getattr(GOLDEN, name) for name in Bitstream.__slots__} | field
    with pytest.raises(ValueError, match=r"pixels|16 bits|4 bytes"):
        Bitstream(**fields).to_bytes()


def test_a_stream_is_shown_without_its_sections() -> None:
    shown = repr(replace(GOLDEN, y=bytes(1_000_000)))
    assert GOLDEN.model_id.hex() in shown
    assert len(shown) < 100
