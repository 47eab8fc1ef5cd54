"""docs/stream-format.md: its code blocks refuse what the codec refuses, for the same cause."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models import Picture
from models.bitstream import Bitstream, Metadata
from models.bitstream.alpha import encode_alpha
from models.bitstream.metadata import pack, unpack
from models.entropy import context_model, tables
from models.entropy.coder import SymbolCoder
from models.errors import BitstreamError, DamagedStreamError
from models.grid import MAX_SIDE
from models.learned.codec import LearnedCodec
from tests.docs.agreement import CAUSES, SPEC, STREAMS, TINY, TINY_ARRAYS, by_codec, by_page, noise, sealed
from tests.make_golden import GOLDEN


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_for_the_same_cause(data: bytes) -> None:
    assert_parsed_alike(data)
    assert_parsed_alike(sealed(data))
    assert_parsed_alike(sealed(b"ZGT\x03" + data))
    assert_parsed_alike(sealed(b"ZGT\x04" + data))
    assert_parsed_alike(sealed(b"ZGT\x05" + data))


def assert_parsed_alike(data: bytes, max_pixels: int | None = None) -> None:
    cause = None
    expected: type[BitstreamError] | None = None
    fields = {}
    try:
        fields = SPEC.parse(data, max_pixels)
    except SPEC.Refused as refused:
        cause = CAUSES[refused.args[0]]
    try:
        stream = Bitstream.parse(data, max_pixels=max_pixels)
    except BitstreamError as error:
        expected = type(error)
    else:
        assert bytes.fromhex(fields.pop("model_id")) == stream.model_id
        assert fields.pop("quality") == stream.position.index
        assert all(getattr(stream, name) == value for name, value in fields.items())
    assert cause is expected


def test_every_changed_byte_and_every_cut_is_refused_for_the_same_cause() -> None:
    data = STREAMS[0].read_bytes()
    for position in range(len(data)):
        assert_parsed_alike(data[:position])
        for change in (1, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= change
            assert_parsed_alike(bytes(damaged))
            with pytest.raises(SPEC.Refused):
                SPEC.parse(bytes(damaged))
    assert_parsed_alike(data + b"\0")
    assert_parsed_alike(data, max_pixels=192 * 144 - 1)
    assert_parsed_alike(data, max_pixels=192 * 144)


@given(st.binary(max_size=40), st.binary(max_size=3), st.booleans())
def test_metadata_is_read_or_refused_alike(content: bytes, behind: bytes, whole: bool) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    section = deflater.compress(content) + (deflater.flush() if whole else b"") + behind
    stream = replace(Bitstream.parse(STREAMS[0].read_bytes()), metadata=section)
    assert_parsed_alike(stream.to_bytes())


@pytest.mark.parametrize("metadata", [Metadata(b"exif"), Metadata(None, b"xmp"), Metadata(b"e", b"x")])
def test_metadata_comes_out_alike(metadata: Metadata) -> None:
    section = pack(metadata)
    assert section is not None
    stream = replace(Bitstream.parse(STREAMS[0].read_bytes()), metadata=section)
    items = SPEC.read_metadata(SPEC.parse(stream.to_bytes())["metadata"])
    assert Metadata(items.get(0), items.get(1)) == unpack(section) == metadata
    assert by_page(TINY, stream.to_bytes()) == by_page(TINY, STREAMS[0].read_bytes())


BEGINNINGS = [
    b"ZGT\x03",
    b"ZGT\x04",
    b"ZGT\x05",
    b"ZGT\x06",
    b"ZGT\x02",
    b"ZGT\x00",
    b"ZGT",
    b"ZG",
    b"",
    b"ZIP\x03",
]


@pytest.mark.parametrize("header", BEGINNINGS)
def test_beginnings_are_refused_for_the_same_cause(header: bytes) -> None:
    assert_parsed_alike(header)
    assert_parsed_alike(sealed(header + bytes(30)))


@settings(max_examples=150)
@given(
    st.sampled_from(["z", "y"]),
    st.sampled_from(["change", "cut", "append"]),
    st.integers(0, 10**6),
    st.binary(min_size=1, max_size=9),
)
def test_damage_inside_is_read_alike(
    tiny: LearnedCodec, section: str, how: str, place: int, put: bytes
) -> None:
    """The checksum is right, so that only the range decoder can find the damage."""
    stream = Bitstream.parse((GOLDEN / "tiny-50.zgt").read_bytes())
    content = getattr(stream, section)
    at = place % len(content)
    changed = {
        "change": content[:at] + put + content[at + len(put) :],
        "cut": content[:at],
        "append": content + put,
    }[how]
    data = replace(stream, **{section: changed}).to_bytes()
    assert by_page(TINY, data) == by_codec(tiny, data)


LAST = (1 << 32) - 1
WORDS = st.sampled_from([0, 1, 2, 3, 4, 1 << 31, LAST - 1, LAST]) | st.integers(0, LAST)


@given(st.lists(WORDS, max_size=4), st.integers(0, 6))
def test_messages_end_where_constriction_says(words: list[int], symbols: int) -> None:
    counts = TINY_ARRAYS["tables.z"][: TINY_ARRAYS["tables.z_length"][0]]
    decoder = constriction.stream.queue.RangeDecoder(np.array(words, np.uint32))
    model = constriction.stream.model.Categorical(counts / tables.TOTAL, perfect=False)
    by_the_page = SPEC.RangeDecoder(np.array(words, "<u4").tobytes())
    left = SPEC.left_cumulatives(counts)
    for _ in range(symbols):
        try:
            expected = decoder.decode(model)
        except AssertionError:
            with pytest.raises(SPEC.Refused, match="damaged"):
                by_the_page.decode(left)
            return
        assert by_the_page.decode(left) == expected
    if decoder.maybe_exhausted():
        by_the_page.finish()
    else:
        with pytest.raises(SPEC.Refused, match="damaged"):
            by_the_page.finish()


def test_an_escape_beyond_the_largest_residual_is_damage() -> None:
    shape = (len(TINY_ARRAYS["scale.2.bias"]), 2, 3)
    context = context_model.ContextModel.from_arrays(TINY_ARRAYS)
    coder = SymbolCoder(tables.Tables.from_arrays(TINY_ARRAYS), context)
    indices = np.full(shape, 20, np.uint8)
    residuals = np.zeros(shape, np.int16)
    for value in (-tables.LARGEST_RESIDUAL, tables.LARGEST_RESIDUAL):
        residuals[-1, 0, 1] = value
        section = coder.encode_residuals(residuals, context.all_corrected(indices, residuals))
        assert np.array_equal(SPEC.decode_residuals(section, TINY_ARRAYS, indices.astype(int)), residuals)
    residuals[-1, 0, 1] = -tables.LARGEST_RESIDUAL - 1
    section = coder.encode_residuals(residuals, context.all_corrected(indices, residuals))
    with pytest.raises(DamagedStreamError):
        coder.decode_residuals(section, indices)
    with pytest.raises(SPEC.Refused, match="damaged"):
        SPEC.decode_residuals(section, TINY_ARRAYS, indices.astype(int))


def _header(codec: int = 0, flags: int = 0, width: int = 8, height: int = 8, version: int = 3) -> bytes:
    return (
        b"ZGT"
        + bytes([version])
        + bytes([codec, flags])
        + b"\0\0\0\0"
        + struct.pack("<HHH", width, height, 0)
    )


HEADERS = {
    "the least": _header() + b"\0\0",
    "three sections": _header(flags=7) + b"\1\1\1abc",
    "a long spelling": _header() + b"\x80\0\0",
    "a long spelling of 1": _header() + b"\x81\0\0a",
    "four bytes": _header() + b"\0\xff\xff\xff\x7f",
    "five bytes": _header() + b"\0\x80\x80\x80\x80\1",
    "hybrid with z": _header(codec=1) + b"\1\1ab",
    "hybrid": _header(codec=1) + b"\0\1a",
    "another codec": _header(codec=2) + b"\0\0",
    "another flag": _header(flags=8) + b"\0\0",
    "an overlay": _header(version=5, flags=8) + b"\0\0\1a",
    "all five sections": _header(version=5, flags=31) + b"\0\0\1\0\1ab",
    "no overlay": _header(version=5) + b"\0\0\1a",
    "another flag beside an overlay": _header(version=5, flags=40) + b"\0\0\1a",
    "hybrid with an overlay": _header(version=5, codec=1, flags=8) + b"\0\1a\1b",
    "no width": _header(width=0) + b"\0\0",
    "no height": _header(height=0) + b"\0\0",
    "largest": _header(width=MAX_SIDE, height=MAX_SIDE) + b"\0\0",
    "too wide": _header(width=MAX_SIDE + 1) + b"\0\0",
    "too high": _header(height=MAX_SIDE + 1) + b"\0\0",
}


@pytest.mark.parametrize("body", HEADERS.values(), ids=HEADERS.keys())
def test_headers_are_read_alike(body: bytes) -> None:
    for data in (sealed(body), body + b"\0\0\0\0", sealed(body)[:-1], sealed(body) + b"\0"):
        assert_parsed_alike(data)
        assert_parsed_alike(data, max_pixels=63)


def _shallow_png(bits: int) -> bytes:
    """A greyscale PNG of the golden streams' size with fewer than 8 bits a sample."""
    rows = bytes(144 * (1 + 192 * bits // 8))
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 192, 144, bits, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in parts.items():
        file += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return file


@pytest.mark.parametrize("bits", [2, 4])
def test_a_shallow_alpha_section_is_refused(tiny: LearnedCodec, bits: int) -> None:
    data = replace(Bitstream.parse(STREAMS[0].read_bytes()), alpha=_shallow_png(bits)).to_bytes()
    assert by_page(TINY, data) == (DamagedStreamError,)
    assert by_codec(tiny, data) == (DamagedStreamError,)


def _png(mode: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 3).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "alpha",
    [
        b"",
        b"not a PNG",
        _png("RGB", (192, 144)),
        _png("1", (192, 144)),
        _png("L", (144, 192)),
        _png("I;16", (192, 144)),
    ],
    ids=["empty", "foreign", "RGB", "1 bit", "turned", "16 bits"],
)
def test_another_alpha_section_is_refused(tiny: LearnedCodec, alpha: bytes) -> None:
    stream = Bitstream.parse(STREAMS[0].read_bytes())
    data = replace(stream, alpha=alpha).to_bytes()
    assert by_page(TINY, data) == by_codec(tiny, data) == (DamagedStreamError,)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (64, 64)])
def test_the_longest_honest_alpha_section_is_read(size: tuple[int, int]) -> None:
    width, height = size
    plane = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    alpha = encode_alpha(Picture(noise(width, height, seed=0), plane, False))
    SPEC.check_alpha({"alpha": alpha, "width": width, "height": height})
    assert alpha is not None
    longest = 1024 + (width + 1) * height * 5 // 4
    SPEC.check_alpha({"alpha": alpha.ljust(longest, b"\0"), "width": width, "height": height})
    with pytest.raises(SPEC.Refused, match="damaged"):
        SPEC.check_alpha({"alpha": alpha.ljust(longest + 1, b"\0"), "width": width, "height": height})
