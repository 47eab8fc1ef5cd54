"""docs/stream-format.md: its code blocks decode every stream as the codec does, and its numbers are the codec's."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models import Codec, Picture, Target, bitstream, hybrid, post_model, registry
from models.alpha import encode_alpha
from models.avif import restore
from models.bitstream import Bitstream, CodecKind
from models.entropy import integer, neighbours, tables
from models.entropy.coder import SymbolCoder
from models.errors import (
    BitstreamError,
    DamagedStreamError,
    NewerVersionError,
    NotAStreamError,
    OlderVersionError,
    StreamTooLargeError,
    TruncatedStreamError,
    UnknownModelError,
)
from models.grid import PASSES, STRIDE
from models.hybrid import HybridCodec
from models.model import ENCODER_ONLY, CodecModel
from models.network.context import SEEN, TOLD
from models.postprocessor import FILES, PostProcessor
from models.rate_control import FINEST
from models.registry import available
from models.sources import Source
from tests.docs.spec_decoder import ALLOWED, PAGE, imported, load
from tests.make_golden import FIXTURES, GOLDEN, golden_picture, symbols_digest, tiny_card

SPEC = load()
TEXT = PAGE.read_text()
PROSE = re.sub(r"^```python\n.*?^```\n", "", TEXT, flags=re.DOTALL | re.MULTILINE)
TINY = (FIXTURES / "tiny.safetensors").read_bytes()
TINY_ARRAYS = SPEC.read_model(TINY)[1]
STREAMS = sorted(GOLDEN.glob("*.zgt"))
CAUSES: dict[str, type[BitstreamError]] = {
    "not a stream": NotAStreamError,
    "newer version": NewerVersionError,
    "older version": OlderVersionError,
    "truncated": TruncatedStreamError,
    "damaged": DamagedStreamError,
    "too large": StreamTooLargeError,
    "unknown model": UnknownModelError,
}


@pytest.fixture(scope="module")
def tiny() -> Codec:
    """The codec of the golden streams, in float32."""
    model = CodecModel.load(FIXTURES / "tiny.safetensors")
    return Codec(model, tiny_card(model.model_id), bfloat16=False)


def by_codec(codec: Codec, data: bytes, max_pixels: int | None = None) -> tuple[object, ...]:
    """Symbols of a stream as the codec reads them, or the class of its error."""
    try:
        symbols = codec.symbol_codec.read(data, max_pixels=max_pixels)
    except BitstreamError as error:
        return (type(error),)
    fields = (symbols.width, symbols.height, symbols.quality, symbols.greyscale, symbols.postprocess)
    return (*fields, symbols.z.tolist(), symbols.residuals.tolist())


def by_page(file: bytes, data: bytes, max_pixels: int | None = None) -> tuple[object, ...]:
    """Symbols of a stream as the page reads them, or the class of the error that its cause stands for."""
    try:
        fields, z, residuals = SPEC.decode_symbols(data, file, max_pixels)
    except SPEC.Refused as refused:
        return (CAUSES[refused.args[0]],)
    names = ("width", "height", "quality", "greyscale", "postprocess")
    return (*(fields[name] for name in names), z.tolist(), residuals.tolist())


def sealed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def noise(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.asarray(Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).resize((width, height)))


# The decoder on the page stands alone


def test_the_page_imports_nothing_of_the_codec() -> None:
    assert imported() <= ALLOWED
    assert "constriction" not in TEXT.replace("[constriction](https://github.com/bamler-lab/constriction)", "")


def test_prose_is_within_100_columns_and_names_files_only_at_the_end() -> None:
    code = [line for line in TEXT.splitlines() if not line.startswith("|")]
    assert max(map(len, code)) <= 100
    before_the_last_section = PROSE.partition("## 16.")[0]
    assert not re.findall(r"[\w/]+\.py\b", before_the_last_section)


# Symbols


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name)
def test_golden_streams_decode_to_the_symbols_promised(tiny: Codec, path: object) -> None:
    data = (GOLDEN / getattr(path, "name")).read_bytes()  # noqa: B009
    assert by_page(TINY, data) == by_codec(tiny, data)
    _, z, residuals = SPEC.decode_symbols(data, TINY)
    assert SPEC.symbols_digest(z, residuals) == symbols_digest(tiny, data)


def test_the_conformance_table_is_that_of_the_fixtures() -> None:
    promised = json.loads((GOLDEN / "symbols.json").read_text())
    rows = re.findall(r"^\| `(tiny-\d+\.zgt)` \| (\d+) \| `([0-9a-f]{64})` \|$", TEXT, re.MULTILINE)
    assert {name: digest for name, _, digest in rows} == promised["symbols"]
    assert all((GOLDEN / name).stat().st_size == int(size) for name, size, _ in rows)
    assert f"id `{promised['model_id']}`" in PROSE.replace("\n", " ")


@pytest.mark.parametrize("size", [(1, 1), (17, 1), (1, 40), (16, 16), (63, 65), (129, 90)])
@pytest.mark.parametrize("quality", [10.0, 90.0])
def test_pictures_of_any_size_decode_alike(tiny: Codec, size: tuple[int, int], quality: float) -> None:
    data = tiny.encode([Picture.from_array(noise(*size, seed=1))], [Target(quality=quality)])[0].data
    assert by_page(TINY, data) == by_codec(tiny, data)
    assert_pixels_agree(tiny, TINY, data)


@settings(max_examples=25)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0.3, 2, 40, 9000]))
def test_any_symbols_decode_alike_escapes_included(rows: int, columns: int, seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    read = tables.Tables.from_arrays(TINY_ARRAYS)
    coder = SymbolCoder(read, neighbours.Neighbours.from_arrays(TINY_ARRAYS))
    z_size = (-(-rows // 4), -(-columns // 4))
    limits = (read.z_low[:, None, None], read.z_high[:, None, None])
    z = rng.normal(0, 4, (len(read.z), *z_size)).round().clip(*limits).astype(np.int8)
    found = SPEC.decode_z(coder.encode_z(z), TINY_ARRAYS, *z_size)
    assert np.array_equal(found, z)

    indices = SPEC.scale_indices(found, TINY_ARRAYS, rows, columns)
    assert np.array_equal(indices, integer.IntegerScaleDecoder.from_arrays(TINY_ARRAYS)(z)[:, :rows, :columns])
    indices = np.where(rng.random(indices.shape) < 0.2, 0, indices)
    residuals = rng.laplace(0, spread, indices.shape).round().clip(-tables.LARGEST_RESIDUAL, tables.LARGEST_RESIDUAL)
    residuals = np.where(indices > 0, residuals, 0).astype(np.int16)
    section = coder.encode_residuals(residuals, indices.astype(np.uint8))
    assert np.array_equal(SPEC.decode_residuals(section, TINY_ARRAYS, indices), residuals)


@pytest.mark.parametrize("name", available())
def test_a_fresh_stream_of_a_shipped_model_decodes_alike(name: str, photo: Image.Image) -> None:
    codec = Codec(CodecModel.load(registry.weights(name)), registry.card(name), bfloat16=False)
    file = registry.weights(name).read_bytes()
    for quality in (35.0, 100.0):
        data = codec.encode([Picture.from_image(photo)], [Target(quality=quality)])[0].data
        assert by_page(file, data) == by_codec(codec, data)
        assert_pixels_agree(codec, file, data)


@pytest.mark.parametrize("name", available())
def test_model_ids_are_what_the_page_computes(name: str) -> None:
    assert SPEC.model_id(*SPEC.read_model(registry.weights(name).read_bytes())) == registry.card(name).model_id


# Pixels


def assert_pixels_agree(codec: Codec, file: bytes, data: bytes) -> None:
    """In 32-bit floats, as section 11 has it: within 1, and hardly anywhere."""
    fields, z, residuals = SPEC.decode_symbols(data, file)
    pixels = SPEC.reconstruct(fields, z, residuals, *SPEC.read_model(file))
    assert_near(pixels, codec.decode([data], postprocess="off")[0].rgb)


def assert_near(pixels: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    assert pixels.shape == expected.shape
    difference = np.abs(pixels.astype(int) - expected)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 3 + difference.size // 1000


def test_a_grey_picture_with_alpha_decodes_alike(tiny: Codec, photo: Image.Image) -> None:
    grey = photo.convert("L")
    grey.putalpha(grey.rotate(180))
    data = tiny.encode([Picture.from_image(grey)], [Target(quality=70)])[0].data
    assert by_page(TINY, data) == by_codec(tiny, data)
    assert_pixels_agree(tiny, TINY, data)
    with Image.open(io.BytesIO(SPEC.parse(data)["alpha"])) as alpha:
        assert np.array_equal(alpha, grey.getchannel("A"))


@pytest.mark.parametrize("size", [(128, 96), (61, 34), (1, 1)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_post_processing_agrees(photo: Image.Image, size: tuple[int, int], mode: str) -> None:
    picture = Picture.from_image(photo.resize(size).convert(mode))
    post = PostProcessor.load(FILES, bfloat16=False)
    expected = post.improve([picture], [Source("avif", 0.6)])[0]
    topology, arrays = SPEC.read_model(post_model.weights(FILES).read_bytes())
    assert_near(SPEC.improve(picture.rgb, picture.greyscale, "avif", 0.6, topology, arrays), expected.rgb)


# Hybrid streams


@given(
    frame=st.binary(max_size=300),
    tools=st.integers(0, 255),
    width=st.integers(1, 16384),
    height=st.integers(1, 16384),
    grey=st.booleans(),
)
def test_an_avif_file_is_rebuilt_byte_for_byte(frame: bytes, tools: int, width: int, height: int, grey: bool) -> None:
    section = bytes([tools]) + frame
    try:
        expected = restore(section, width=width, height=height, mono=grey)
    except DamagedStreamError:
        with pytest.raises(SPEC.Refused, match="damaged"):
            SPEC.avif_file(section, width, height, grey)
    else:
        assert SPEC.avif_file(section, width, height, grey) == expected


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_hybrid_stream_decodes_as_any_avif_file(photo: Image.Image, mode: str) -> None:
    picture = Picture.from_image(photo.convert(mode))
    codec = HybridCodec()
    data = codec.encode(picture, Target(quality=40)).data
    with Image.open(io.BytesIO(SPEC.hybrid_file(data)), formats=["AVIF"]) as image:
        assert np.array_equal(image.convert("RGB"), codec.decode(data).rgb)
    assert by_page(TINY, data) == (UnknownModelError,)
    with pytest.raises(SPEC.Refused, match="unknown model"):
        SPEC.hybrid_file(STREAMS[0].read_bytes())


# Damage


@given(st.binary(max_size=40).map(lambda tail: sealed(b"ZGT\x03" + tail)) | st.binary(max_size=40) | st.binary(max_size=40).map(sealed))
def test_any_bytes_are_refused_for_the_same_cause(data: bytes) -> None:
    assert_parsed_alike(data)


def assert_parsed_alike(data: bytes, max_pixels: int | None = None) -> None:
    try:
        stream = Bitstream.parse(data, max_pixels=max_pixels)
    except BitstreamError as error:
        with pytest.raises(SPEC.Refused) as refused:
            SPEC.parse(data, max_pixels)
        assert CAUSES[refused.value.args[0]] is type(error)
    else:
        fields = SPEC.parse(data, max_pixels)
        assert bytes.fromhex(fields.pop("model_id")) == stream.model_id
        assert all(getattr(stream, name) == value for name, value in fields.items())


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


@pytest.mark.parametrize("header", [b"ZGT\x03", b"ZGT\x04", b"ZGT\x02", b"ZGT\x00", b"ZGT", b"ZG", b"", b"ZIP\x03"])
def test_beginnings_are_refused_for_the_same_cause(header: bytes) -> None:
    assert_parsed_alike(header)
    assert_parsed_alike(sealed(header + bytes(30)))


@settings(max_examples=150)
@given(st.sampled_from(["z", "y"]), st.sampled_from(["change", "cut", "append"]), st.integers(0, 10**6), st.binary(min_size=1, max_size=9))
def test_damage_under_a_right_checksum_is_read_alike(tiny: Codec, section: str, how: str, place: int, put: bytes) -> None:
    stream = Bitstream.parse((GOLDEN / "tiny-50.zgt").read_bytes())
    content = getattr(stream, section)
    at = place % len(content)
    changed = {"change": content[:at] + put + content[at + len(put) :], "cut": content[:at], "append": content + put}[how]
    data = replace(stream, **{section: changed}).to_bytes()
    assert by_page(TINY, data) == by_codec(tiny, data)


def _png(mode: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 3).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "alpha",
    [b"", b"not a PNG", _png("RGB", (192, 144)), _png("1", (192, 144)), _png("L", (144, 192)), _png("I;16", (192, 144))],
    ids=["empty", "foreign", "RGB", "1 bit", "turned", "16 bits"],
)
def test_another_alpha_section_is_refused(tiny: Codec, alpha: bytes) -> None:
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


# Numbers


def test_constants_are_the_codecs() -> None:
    assert SPEC.MAGIC == bitstream.MAGIC
    assert SPEC.VERSION == bitstream.VERSION
    assert [SPEC.LEARNED, SPEC.HYBRID] == list(CodecKind)
    assert SPEC.MAX_SIDE == bitstream.MAX_SIDE
    assert SPEC.MAX_QUALITY == FINEST
    assert SPEC.VARINT_BYTES == bitstream._VARINT_BYTES
    assert SPEC.TOTAL == tables.TOTAL == integer.EXACT == 1 << integer.SHIFT
    assert SPEC.TABLES == tables.LAPLACE_TABLES
    assert SPEC.LARGEST_RESIDUAL == tables.LARGEST_RESIDUAL
    assert (SPEC.Z_INPUT, SPEC.ACTIVATION, SPEC.RAW) == (integer.INPUT_LIMIT, integer.ACTIVATION_LIMIT, integer.RAW_LIMIT)
    assert SPEC.MOST_SHIFT == neighbours.MOST_SHIFT
    assert SPEC.LOUDNESS == neighbours.LOUDNESS
    assert SPEC.HYPER_REACH == neighbours.HYPER_REACH
    assert (SPEC.SEEN, SPEC.TOLD) == (SEEN, TOLD)
    assert SPEC.ENCODER_ONLY == ENCODER_ONLY
    assert hybrid.MODEL_ID == SPEC.HYBRID_ID
    passes = {phase: number for number, phases in enumerate(PASSES) for phase in phases}
    assert {phase: number for phase, (number, _) in SPEC.PHASES.items()} == passes
    assert list(SPEC.PHASES) == list(neighbours.PHASES)
    assert {phase: taps for phase, (_, taps) in SPEC.PHASES.items()} == neighbours.TAPS


@pytest.mark.parametrize(
    "sentence",
    [
        f"width in pixels, 1 to {bitstream.MAX_SIDE}",
        f"height in pixels, 1 to {bitstream.MAX_SIDE}",
        f"quality q, 0 to {FINEST}",
        f"It has at most {bitstream._VARINT_BYTES} bytes",
        f"`ceil(height / {STRIDE})` rows and `ceil(width / {STRIDE})` columns",
        f"counts of the {tables.LAPLACE_TABLES} residual tables",
        f"its {neighbours.HYPER_CONTEXTS} contexts",
        f"`scale.lookup` | U8 ({integer.RAW_LIMIT + 1})",
        f"{neighbours.INPUT_LIMIT // 4} for each neighbour inside y",
        f"All inputs are 0 to {neighbours.INPUT_LIMIT}",
        f"limited to 0 .. {integer.ACTIVATION_LIMIT}, the last to -{neighbours.MOST_SHIFT} .. {neighbours.MOST_SHIFT}",
        f"limited to 1 .. {tables.LAPLACE_TABLES - 1}",
        f"`LOUDNESS[min(|r|, {len(neighbours.LOUDNESS) - 1})]`",
        f"0 .. {(1 << tables.ESCAPE_BITS) - 1}, of a uniform table, `left[e] = {tables.TOTAL >> tables.ESCAPE_BITS} e`",
        f"at most {tables.LARGEST_RESIDUAL}",
        f"in the {TOLD} lowest channels",
        f"of the {SEEN} lowest channels",
        f"coarseness `1 - q / {FINEST}`",
    ],
)
def test_numbers_in_prose_are_the_codecs(sentence: str) -> None:
    assert sentence in " ".join(PROSE.split())


def test_the_header_table_lies_where_the_codec_writes() -> None:
    stream = Bitstream.parse((GOLDEN / "tiny-100.zgt").read_bytes())
    data = stream.to_bytes()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([a-z ]+)", PROSE.partition("## 2.")[2].partition("## 3.")[0], re.MULTILINE)
    fields = {name.strip().split(" in ")[0]: data[int(at) : int(at) + int(size)] for at, size, name in rows}
    flags = 4 * stream.postprocess + 2 * stream.greyscale + (stream.alpha is not None)
    number: Callable[[str], int] = lambda name: int.from_bytes(fields[name], "little")  # noqa: E731
    assert fields["magic"] == b"ZGT"
    assert fields["model id"] == stream.model_id
    assert (number("format version"), number("codec"), number("flags")) == (bitstream.VERSION, stream.codec, flags)
    assert (number("width"), number("height"), number("quality q")) == (stream.width, stream.height, stream.quality)
    assert sum(int(size) for _, size, _ in rows) == 16


def test_golden_pictures_have_the_size_that_the_page_says() -> None:
    picture = golden_picture()
    assert f"a picture of {picture.width}x{picture.height} pixels" in " ".join(PROSE.split())
