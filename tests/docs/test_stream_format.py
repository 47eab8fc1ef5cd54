"""docs/stream-format.md: its code blocks decode streams as the codec does."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models import Picture, Target
from models.avif.section import restore, strip
from models.bitstream import Bitstream
from models.entropy import context_model, scale_decoder, tables
from models.entropy.coder import SymbolCoder
from models.errors import DamagedStreamError, UnknownModelError
from models.hybrid import libaom
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.learned.model import CodecModel
from models.overlay.section import box, pack, unpack
from models.postprocess import model as post_model
from models.postprocess.postprocessor import FILES, PostProcessor
from models.postprocess.sources import Source
from models.weights import registry
from models.weights.registry import available
from tests.docs.agreement import SPEC, STREAMS, TINY, TINY_ARRAYS, assert_near, by_codec, by_page, noise
from tests.docs.spec_decoder import ALLOWED, imported, source
from tests.make_golden import symbols_digest

# The decoder on the page stands alone


def test_the_page_imports_nothing_of_the_codec() -> None:
    assert imported() <= ALLOWED
    assert "constriction" not in source()


# Symbols


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name)
def test_golden_streams_decode_to_the_symbols_promised(tiny: LearnedCodec, path: Path) -> None:
    data = path.read_bytes()
    assert by_page(TINY, data) == by_codec(tiny, data)
    _, z, residuals = SPEC.decode_symbols(data, TINY)
    assert SPEC.symbols_digest(z, residuals) == symbols_digest(tiny, data)


@pytest.mark.parametrize("size", [(1, 1), (17, 1), (1, 40), (16, 16), (63, 65), (129, 90)])
@pytest.mark.parametrize("quality", [10.0, 90.0])
def test_pictures_of_any_size_decode_alike(tiny: LearnedCodec, size: tuple[int, int], quality: float) -> None:
    data = tiny.encode([Picture.from_array(noise(*size, seed=1))], [Target(quality=quality)])[0].data
    assert by_page(TINY, data) == by_codec(tiny, data)
    assert_pixels_agree(tiny, TINY, data)


@settings(max_examples=25)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0.3, 2, 40, 9000]),
)
def test_any_symbols_decode_alike_escapes_included(rows: int, columns: int, seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    read = tables.Tables.from_arrays(TINY_ARRAYS)
    context = context_model.ContextModel.from_arrays(TINY_ARRAYS)
    coder = SymbolCoder(read, context)
    z_size = (-(-rows // 4), -(-columns // 4))
    limits = (read.z_low[:, None, None], read.z_high[:, None, None])
    z = rng.normal(0, 4, (len(read.z), *z_size)).round().clip(*limits).astype(np.int8)
    found = SPEC.decode_z(coder.encode_z(z), TINY_ARRAYS, *z_size)
    assert np.array_equal(found, z)

    indices = SPEC.scale_indices(found, TINY_ARRAYS, rows, columns)
    expected = scale_decoder.IntegerScaleDecoder.from_arrays(TINY_ARRAYS)(z)[:, :rows, :columns]
    assert np.array_equal(indices, expected)
    indices = np.where(rng.random(indices.shape) < 0.2, 0, indices)
    largest = tables.LARGEST_RESIDUAL
    residuals = rng.laplace(0, spread, indices.shape).round().clip(-largest, largest)
    residuals = np.where(indices > 0, residuals, 0).astype(np.int16)
    corrected = context.all_corrected(indices.astype(np.uint8), residuals)
    section = coder.encode_residuals(residuals, corrected)
    assert np.array_equal(SPEC.decode_residuals(section, TINY_ARRAYS, indices), residuals)


@pytest.mark.parametrize("name", available())
def test_a_fresh_stream_of_a_shipped_model_decodes_alike(name: str, photo: Image.Image) -> None:
    codec = LearnedCodec(CodecModel.load(registry.weights(name)), registry.card(name), bfloat16=False)
    file = registry.weights(name).read_bytes()
    for quality in (35.0, 100.0):
        data = codec.encode([Picture.from_image(photo)], [Target(quality=quality)])[0].data
        assert by_page(file, data) == by_codec(codec, data)
        assert_pixels_agree(codec, file, data)


@pytest.mark.parametrize("name", available())
def test_model_ids_are_what_the_page_computes(name: str) -> None:
    topology, arrays = SPEC.read_model(registry.weights(name).read_bytes())
    assert SPEC.model_id(topology, arrays) == registry.card(name).model_id


def test_hyper_latents_beyond_the_limit_are_clipped() -> None:
    z = np.random.default_rng(0).integers(-999, 999, (len(TINY_ARRAYS["tables.z_low"]), 3, 2))
    expected = scale_decoder.IntegerScaleDecoder.from_arrays(TINY_ARRAYS)(z)
    assert np.array_equal(SPEC.scale_indices(z, TINY_ARRAYS, 12, 8), expected)


# Pixels


def assert_pixels_agree(codec: LearnedCodec, file: bytes, data: bytes) -> None:
    """In 32-bit floats, as section 11 has it: within 1, and hardly anywhere."""
    fields, z, residuals = SPEC.decode_symbols(data, file)
    pixels = SPEC.reconstruct(fields, z, residuals, *SPEC.read_model(file))
    assert_near(pixels, codec.decode([data], postprocess="off")[0].rgb)


def test_a_grey_picture_with_alpha_decodes_alike(tiny: LearnedCodec, photo: Image.Image) -> None:
    grey = photo.convert("L")
    grey.putalpha(grey.rotate(180))
    data = tiny.encode([Picture.from_image(grey)], [Target(quality=70)])[0].data
    assert by_page(TINY, data) == by_codec(tiny, data)
    assert_pixels_agree(tiny, TINY, data)
    with Image.open(io.BytesIO(SPEC.parse(data)["alpha"])) as alpha:
        assert np.array_equal(np.asarray(alpha), np.asarray(grey.getchannel("A")))


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
def test_an_avif_file_is_rebuilt(frame: bytes, tools: int, width: int, height: int, grey: bool) -> None:
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
        assert np.array_equal(np.asarray(image.convert("RGB")), codec.decode(data).rgb)
    assert by_page(TINY, data) == (UnknownModelError,)
    with pytest.raises(SPEC.Refused, match="unknown model"):
        SPEC.hybrid_file(STREAMS[0].read_bytes())


# Overlays


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_overlay_is_blended_alike(tiny: LearnedCodec, photo: Image.Image, mode: str) -> None:
    picture = Picture.from_image(photo.convert(mode).resize((201, 150)))
    blocks = np.random.default_rng(5).random((10, 13)) < 0.15
    part = picture.rgb[box(blocks, picture.height, picture.width)]
    samples = np.ascontiguousarray(part[..., 0] if picture.greyscale else part)
    height, width = samples.shape[:2]
    av1 = strip(libaom.encode(samples, "psnr", 1500, 9), width=width, height=height, mono=picture.greyscale)
    learned = tiny.encode([picture], [Target(quality=40)])[0].data
    data = replace(Bitstream.parse(learned), overlay=pack(blocks, av1)).to_bytes()

    assert by_page(TINY, data) == by_page(TINY, learned) == by_codec(tiny, data)
    fields, z, residuals = SPEC.decode_symbols(data, TINY)
    assert np.array_equal(SPEC.overlay_blocks(fields)[0], blocks)
    with Image.open(io.BytesIO(SPEC.overlay_file(fields)), formats=["AVIF"]) as image:
        overlay = np.asarray(image.convert("RGB"))
    pixels = SPEC.reconstruct(fields, z, residuals, *SPEC.read_model(TINY))
    assert_near(SPEC.blend(pixels, overlay, fields), tiny.decode([data], postprocess="off")[0].rgb)


BITS = st.sampled_from([b"\0", b"\1", b"\x80", b"\x88", b"\xff"])


@given(
    section=st.binary(max_size=8) | st.lists(BITS, max_size=8).map(b"".join),
    width=st.integers(1, 200),
    height=st.integers(1, 200),
)
def test_an_overlay_is_refused_alike(section: bytes, width: int, height: int) -> None:
    """But for what AV1 has to say."""
    fields = {"overlay": section, "width": width, "height": height, "greyscale": False}
    with pytest.raises(DamagedStreamError) as refused:
        unpack(section, width=width, height=height, mono=False)
    if "cannot be decoded" in str(refused.value):
        SPEC.overlay_file(fields)
        return
    with pytest.raises(SPEC.Refused, match="damaged"):
        SPEC.overlay_file(fields)
